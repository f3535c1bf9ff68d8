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

"""The figures: what is counted as lost, as interruption, and in which step.
"""

import array

from oslotest import base

from tests.demo import measurement
from tests.simulation.fabric import traffic


def direction(sent, received):
    return traffic.Direction(array.array('d', sent), received)


class DirectionTestCase(base.BaseTestCase):

    def test_nothing_is_lost(self):
        whole = direction([0.0, 1.0, 2.0],
                          [(0, 0.1), (1, 1.1), (2, 2.1)])

        self.assertEqual((3, [], 0), (
            whole.sent, whole.lost_numbers, whole.duplicated))
        self.assertAlmostEqual(1.0, whole.interruption)
        self.assertEqual(0, whole.duplicated)

    def test_what_comes_twice_does_not_stand_for_what_is_lost(self):
        odd = direction([0.0, 1.0, 2.0, 3.0],
                        [(0, 0.1), (0, 0.2), (3, 3.1), (2, 3.2)])

        self.assertEqual(([1], 1), (odd.lost_numbers, odd.duplicated))
        self.assertAlmostEqual(2.9, odd.interruption)

    def test_loss_belongs_to_the_step_in_which_it_was_sent(self):
        partly = direction([0.0, 1.0, 2.0, 3.0, 4.0], [(0, 0.1), (4, 4.1)])
        steps = [traffic.Step('first', 0.5, 1.5),
                 traffic.Step('second', 1.5, 2.5)]

        self.assertEqual({'first': 1, 'second': 1},
                         partly.lost_by_step(steps))

    def test_what_the_sender_did_not_send_is_its_own_pause(self):
        late = direction([0.0, 1.0, 5.0], [(0, 0.1), (1, 1.1), (2, 5.1)])

        self.assertAlmostEqual(4.0, late.interruption)
        self.assertAlmostEqual(4.0, late.sender_pause)

    def test_an_interruption_may_have_no_end(self):
        self.assertEqual(2.0, direction([0.0, 1.0, 2.0], []).interruption)
        self.assertAlmostEqual(1.9, direction(
            [0.0, 1.0, 2.0], [(0, 0.1)]).interruption)


class DocumentTestCase(base.BaseTestCase):

    def test_document(self):
        start = 100.0
        sent = [start + number * 0.001 for number in range(3000)]
        received = [(number, at + 0.0001) for number, at in enumerate(sent)
                    if not 1000 <= number < 1020]
        towards = direction(sent, received)
        away = direction(sent, list(enumerate(sent)))
        measured = measurement.Measurement(
            start, start + 3, [traffic.Step('copy', 101.0, 101.01)],
            towards, away, {'rpc': 1, 'neutron': 2, 'db': 3}, [])

        document = measured.document()

        self.assertEqual({
            'sent': 3000, 'lost': 20, 'interruption_ms': 21.0,
            'lost_by_step': {'copy': 10, 'between steps': 10},
        }, document['in'])
        self.assertEqual(0, document['out']['lost'])
        self.assertEqual(
            [{'name': 'copy', 'start_s': 1.0, 'end_s': 1.01}],
            document['steps'])
        self.assertEqual({'rpc': 1, 'neutron': 2, 'db': 3},
                         document['calls'])

    def test_steps_of_a_period_in_their_order(self):
        timeline = measurement.Timeline()
        timeline.note('a', 'start')
        timeline.note('b', 'start')
        timeline.note('b', 'end')
        timeline.note('a', 'end')

        found = timeline.within(0, float('inf'))

        self.assertEqual(['a', 'b'], [step.name for step in found])
        self.assertEqual([], timeline.within(0, found[0].start))
