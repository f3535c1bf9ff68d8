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

"""A story in its process, told by others than guests."""

import os
import signal
from unittest import mock

from oslotest import base

from tests.distributions import story
from tests.distributions import teller


def _tell_all(image, variant, program, first, last, there):
    there.send(story.Step('boot'))
    there.send(story.Step('failover'))


def _raise(image, variant, program, first, last, there):
    there.send(story.Step('boot'))
    raise KeyError('nobody has foreseen this')


def _be_killed(image, variant, program, first, last, there):
    there.send(story.Step('boot'))
    os.kill(os.getpid(), signal.SIGKILL)


class ListeningTestCase(base.BaseTestCase):

    def told(self, tell):
        with mock.patch.object(teller, '_tell_story', tell), (
                teller.listening(None, None, 'agent', 'failover',
                                 'failover')) as steps:
            return [(step.name, step.problem) for step in steps]

    def test_a_story_that_is_told_to_its_end(self):
        self.assertEqual([('boot', ''), ('failover', '')],
                         self.told(_tell_all))

    def test_an_error_that_ends_its_process_went_wrong(self):
        boot, last = self.told(_raise)

        self.assertEqual(('boot', ''), boot)
        self.assertIn('exit code 1', last[1])

    def test_a_process_that_is_killed_went_wrong(self):
        boot, last = self.told(_be_killed)

        self.assertEqual(('boot', ''), boot)
        self.assertIn('exit code -9', last[1])
