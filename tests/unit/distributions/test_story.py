#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.


"""What is counted as lost in which step; guest and echoes are others'."""

from unittest import mock

from oslotest import base

from tests.distributions import pulse
from tests.distributions import story
from tests.distributions import variants


class StepTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.now = 100.0
        patched = mock.patch.multiple(
            story.time, autospec=True, sleep=mock.DEFAULT,
            monotonic=mock.DEFAULT)
        clock = patched.start()
        self.addCleanup(patched.stop)
        clock['monotonic'].side_effect = lambda: self.now
        clock['sleep'].side_effect = self.wait
        self.told = []
        self.story = story.Story(
            None, variants.Variant('networkd', 'static'), 'agent',
            self.told.append)
        self.pulse = mock.Mock(spec=pulse.Pulse)
        self.story._pulses = {4: self.pulse}
        self.lost_at = 0.0
        self.pulse.lost.side_effect = (
            lambda start, end: int(start <= self.lost_at < end))
        self.story._log = mock.Mock(return_value='its log')

    def wait(self, seconds):
        self.now += seconds

    def step(self, name):
        return self.story._step(name, lambda: self.wait(2.0))

    def test_what_is_lost_between_two_steps_is_of_the_second(self):
        self.lost_at = 102.1

        self.assertTrue(self.step('standby attached'))
        self.assertFalse(self.step('failover'))

        self.assertEqual([0, 1], [step.lost_v4 for step in self.told])
        self.assertEqual('1 echoes of IPv4 lost', self.told[1].problem)

    def test_a_step_takes_as_long_as_what_is_done_in_it(self):
        self.step('standby attached')
        self.step('failover')

        self.assertEqual([2.0, 2.0], [step.seconds for step in self.told])

    def test_whoever_answers_late_has_its_time(self):
        self.step('failover')

        self.assertEqual(102.0 + pulse.PATIENCE, self.now)
