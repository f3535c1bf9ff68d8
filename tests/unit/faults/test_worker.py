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

"""What a worker answers; the stage is another one's."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.faults import cloud as clouds  # isort: skip

from unittest import mock

import ddt
from oslotest import base

from tests.faults import trial as trials
from tests.faults import worker
from tests.unit.faults import test_campaign

ASKED = {'vfs': 1, 'plugin': True, 'scene': 'crashed',
         'point': test_campaign.ATTACH, 'fault': 'lost'}


@ddt.ddt
class WorkerTestCase(base.BaseTestCase):

    def answer(self, *outcomes):
        stage = mock.create_autospec(trials.Stage, instance=True)
        stage.play.side_effect = outcomes
        with mock.patch.object(trials, 'Stage', autospec=True,
                               return_value=stage):
            answer = worker.Worker().answer(ASKED)
        return trials.from_document(answer), stage.play.mock_calls

    def test_what_is_played(self):
        outcome = test_campaign.outcome()

        answer, plays = self.answer(outcome)

        self.assertEqual(outcome, answer)
        self.assertEqual([mock.call(trials.Trial(
            1, test_campaign.point(test_campaign.ATTACH),
            test_campaign.Fault.LOST, trials.scenes.Scene.CRASHED))], plays)

    @ddt.data(('crashed', clouds.FaultyCloud),
              ('steered', clouds.SteeredCloud),
              ('metadata', clouds.MetadataCloud))
    @ddt.unpack
    def test_each_scene_has_its_cloud(self, name, cloud):
        with mock.patch.object(trials, 'Stage', autospec=True) as stage:
            stage.return_value.record.return_value = []
            worker.Worker().answer(
                {'vfs': 1, 'plugin': True, 'scene': name})

        self.assertEqual(mock.call(1, True, cloud), stage.mock_calls[0])

    @ddt.data(True, False)
    def test_once_more_where_the_call_did_not_come(self, hit):
        second = test_campaign.outcome(hit=hit)

        answer, plays = self.answer(
            test_campaign.outcome(hit=False), second)

        self.assertEqual((second, 2), (answer, len(plays)))

    def test_not_where_it_has_violated_something(self):
        first = test_campaign.outcome(
            test_campaign.ATTACH, test_campaign.Fault.LOST,
            test_campaign.NETWORK, hit=False)

        self.assertEqual(first, self.answer(first)[0])
