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


"""What is made of a recorded migration; the cloud is another one's."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.faults import trial as trials  # isort: skip

import itertools
from unittest import mock

from oslotest import base

from tests.faults import cloud as clouds
from tests.faults import scenes
from tests.functional import invariants


class RecordTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.asks = mock.Mock(spec=invariants.Invariants)
        self.asks.where.side_effect = ['alpha', 'beta'] * 2
        self.asks.degraded.return_value = set()
        self.asks.at_rest.return_value = []

    def record(self, plugin=True, over=True, scene=scenes.Scene.MOVE):
        stage = trials.Stage(1, plugin)
        stage._cloud = mock.Mock(spec=clouds.FaultyCloud,
                                 invariants=self.asks, look=mock.Mock(),
                                 clock=mock.Mock())
        stage._server = invariants.Server('its-uuid', {})
        with mock.patch.multiple(
                stage, _migrate=mock.Mock(return_value=over),
                _script=mock.Mock(side_effect=self.script)):
            return stage.record(scene)

    def script(self, point=None, fault=None):
        return mock.Mock(recorded=['another point' if point else 'a point'])

    def test_migrations_that_have_worked(self):
        self.assertEqual(['a point'], self.record())

    def test_recovery_after_an_accident(self):
        # After each of two migrations, and once recovery has looked.
        self.asks.degraded.side_effect = [
            {'port'}, {'port'}, set(), set()] * 2
        self.asks.at_rest.side_effect = lambda servers: []

        self.assertEqual(['a point'], self.record(
            scene=scenes.Scene.CRASHED))

    def test_accident_that_does_nothing(self):
        error = self.assertRaises(RuntimeError, self.record,
                                  scene=scenes.Scene.CRASHED)

        self.assertIn('crashed', str(error))
        self.assertIn(trials.PRIMARY, str(error))

    def test_one_that_is_not_over(self):
        self.assertRaisesRegex(RuntimeError, 'not over', self.record,
                               over=False)

    def test_one_that_goes_nowhere(self):
        self.asks.where.side_effect = ['alpha', 'alpha']

        error = self.assertRaises(RuntimeError, self.record)

        self.assertIn(trials.UNDONE, str(error))

    def test_one_of_plain_nova_that_goes_nowhere(self):
        self.asks.where.side_effect = ['alpha', 'alpha']

        self.assertRaises(RuntimeError, self.record, plugin=False)

    def test_one_that_stays_degraded(self):
        self.asks.degraded.return_value = {'port'}

        error = self.assertRaises(RuntimeError, self.record)

        self.assertIn(trials.STANDBY, str(error))

    def test_one_after_which_something_is_wrong(self):
        self.asks.at_rest.return_value = [invariants.Violation(
            invariants.LEAKS, 'alpha', 'its VFs are nobody\'s')]

        error = self.assertRaises(RuntimeError, self.record)

        self.assertIn('its VFs are nobody\'s', str(error))

    def test_nobody_asks_that_of_plain_nova(self):
        self.asks.at_rest.return_value = [invariants.Violation(
            invariants.LEAKS, 'alpha', 'its VFs are nobody\'s')]

        self.assertEqual(['a point'], self.record(plugin=False))


class EndlessTestCase(base.BaseTestCase):
    """A server that Nova has on its way for good."""

    ENDLESS = invariants.Violation(
        invariants.TRUTH, 'its-uuid', trials.ON_ITS_WAY)
    DEVICE = invariants.Violation(invariants.LEAKS, 'beta', 'vf42 is left')

    def left(self, found, afterwards):
        """What counts of what was found, with the API's calls for it."""
        stage = trials.Stage(1)
        stage._cloud = mock.Mock(
            spec=clouds.FaultyCloud, api=mock.Mock(), invariants=mock.Mock(),
            look=mock.Mock(), clock=mock.Mock())
        stage._cloud.invariants.at_rest.side_effect = (
            lambda servers: list(afterwards))
        stage._cloud.invariants.degraded.return_value = set()
        stage._server = invariants.Server('its-uuid', {})
        return (stage._without_its_task(found),
                stage._cloud.api.post_server_action.mock_calls)

    def test_what_waits_for_it_goes_with_its_task(self):
        left, asked = self.left([self.ENDLESS, self.DEVICE], [])

        self.assertEqual([self.ENDLESS], left)
        self.assertEqual([mock.call(
            'its-uuid', {'os-resetState': {'state': 'active'}})], asked)

    def test_what_stays_counts(self):
        left, _asked = self.left([self.ENDLESS, self.DEVICE], [self.DEVICE])

        self.assertEqual([self.ENDLESS, self.DEVICE], left)

    def test_no_other_server_is_touched(self):
        self.assertEqual(([self.DEVICE], []), self.left([self.DEVICE], []))


class BackTestCase(base.BaseTestCase):
    """How long recovery took, whatever else is not well for longer."""

    def setUp(self):
        super().setUp()
        self.asks = mock.Mock(spec=invariants.Invariants)
        self.asks.where.return_value = 'alpha'

    def play(self, degraded, wrong):
        """A run in which these are so at each time they are asked for."""
        self.asks.degraded.side_effect = degraded
        self.asks.at_rest.side_effect = lambda servers: list(wrong)
        stage = trials.Stage(1)
        stage._cloud = mock.Mock(
            spec=clouds.FaultyCloud, invariants=self.asks, api=mock.Mock(),
            watch=mock.Mock(), over=mock.Mock())
        stage._cloud.clock = clouds.Clock(mock.Mock(
            time=mock.Mock(return_value=1764000000.0)))
        stage._cloud.look.side_effect = (
            lambda: stage._cloud.clock.forward(60))
        stage._cloud.watch.end.return_value = []
        stage._server = invariants.Server('its-uuid', {})
        with mock.patch.multiple(
                stage, _migrate=mock.Mock(return_value=True),
                _script=mock.Mock()):
            return stage.play(trials.Trial(1)).recovery_s

    def test_the_look_after_which_it_is_back(self):
        # Once it is over, then before and after each look.
        away, back = {'port'}, set()

        self.assertEqual(120, self.play(
            [away] * 4 + [back] * 20, [invariants.Violation(
                invariants.TRUTH, 'its-uuid', trials.IN_ERROR)]))

    def test_one_that_is_never_back(self):
        self.assertIsNone(self.play(itertools.repeat({'port'}), []))

    def test_one_that_was_not_away(self):
        self.assertIsNone(self.play(itertools.repeat(set()), []))
