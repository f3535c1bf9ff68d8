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


"""What is counted as a gap, in which phase, and what is lost or comes twice.
"""

import array
import dataclasses

from oslotest import base

from tests.lab.compare import gaps

SENT = [number * 0.01 for number in range(100)]


def every(but=()):
    return [number for number in range(100) if number not in but]


def arriving(numbers, delay=0.003):
    return [(number, SENT[number] + delay) for number in numbers]


class InwardsTestCase(base.BaseTestCase):

    def test_nothing_is_missing(self):
        way = gaps.inwards(SENT, every(), 0.0, 1.0)

        self.assertEqual(([], 0, 0), (way.gaps, way.lost, way.duplicated))

    def test_a_gap_lasts_from_what_came_to_what_came_next(self):
        way = gaps.inwards(SENT, every(range(20, 30)), 0.0, 1.0)

        self.assertEqual([gaps.Gap(SENT[19], SENT[30])], way.gaps)
        self.assertEqual(10, way.lost)

    def test_single_losses_are_no_gap(self):
        way = gaps.inwards(SENT, every([20, 22, 24]), 0.0, 1.0)

        self.assertEqual(([], 3), (way.gaps, way.lost))

    def test_a_gap_is_longer_than_the_threshold(self):
        sent = [0.0, 0.02, gaps.THRESHOLD, 0.5, gaps.THRESHOLD + 0.501]

        way = gaps.inwards(sent, [0, 2, 4], 0.0, 9.0)

        self.assertEqual([gaps.Gap(sent[2], sent[4])], way.gaps)

    def test_a_slower_lab_has_another_threshold(self):
        missing = every(range(20, 30))

        for threshold, count in ((0.1, 1), (0.12, 0)):
            self.assertEqual(count, len(gaps.inwards(
                SENT, missing, 0.0, 1.0, threshold).gaps))
            self.assertEqual(count, len(gaps.outwards(
                arriving(missing), SENT, 0.0, 2.0, threshold).gaps))

    def test_a_pause_of_the_sender_is_no_gap(self):
        sent = [*SENT[:50], *(at + 0.5 for at in SENT[50:])]

        way = gaps.inwards(sent, every(), 0.0, 2.0)

        self.assertEqual([], way.gaps)
        self.assertAlmostEqual(0.51, way.longest_pause)

    def test_another_order_makes_no_gap(self):
        numbers = every()
        numbers[10:30] = reversed(numbers[10:30])

        way = gaps.inwards(SENT, numbers, 0.0, 1.0)

        self.assertEqual(([], 0, 0), (way.gaps, way.lost, way.duplicated))

    def test_what_comes_twice_stands_for_nothing_that_is_lost(self):
        way = gaps.inwards(SENT, [*every([40]), 39, 41], 0.0, 1.0)

        self.assertEqual((1, 2), (way.lost, way.duplicated))

    def test_what_was_sent_at_other_times_does_not_count(self):
        way = gaps.inwards(SENT, every([*range(5), *range(90, 97), 50]),
                           SENT[10], SENT[80])

        self.assertEqual(([], 1), (way.gaps, way.lost))
        self.assertEqual((SENT[10], SENT[80]),
                         (way.moments[0], way.moments[-1]))


class OutwardsTestCase(base.BaseTestCase):

    def test_a_gap_lasts_until_something_arrives(self):
        way = gaps.outwards(arriving(every(range(20, 30))), SENT,
                            0.0, 2.0)

        self.assertEqual(10, way.lost)
        gap, = way.gaps
        self.assertAlmostEqual(SENT[19] + 0.003, gap.start)
        self.assertAlmostEqual(SENT[30] + 0.003, gap.end)

    def test_a_guest_that_stands_still_is_a_gap_without_a_loss(self):
        arrivals = [(number, at + 0.3 * (number >= 50))
                    for number, at in arriving(every())]

        way = gaps.outwards(arrivals, SENT, 0.0, 2.0)

        self.assertEqual((1, 0), (len(way.gaps), way.lost))
        self.assertAlmostEqual(0.31, way.interruption(0.0, 2.0))
        self.assertEqual(0.0, way.idle)

    def test_a_guest_that_does_not_come_to_send_is_idle(self):
        sent = [at + 0.3 * (number >= 50) for number, at in enumerate(SENT)]
        arrivals = [(number, at + 0.003) for number, at in enumerate(sent)]

        way = gaps.outwards(arrivals, sent, 0.0, 2.0)

        self.assertAlmostEqual(0.31, way.interruption(0.0, 2.0))
        self.assertAlmostEqual(0.31, way.idle)

    def test_when_what_comes_twice_does(self):
        way = gaps.inwards(SENT, every([]) + [30, 40, 40], 0.0, 1.0)

        self.assertEqual([SENT[30], SENT[40], SENT[40]], list(way.again))
        self.assertEqual(2, way.duplicated_within(SENT[40], 1.0))

    def test_what_comes_twice(self):
        way = gaps.outwards(arriving([*every(), 99]), SENT, 0.0, 2.0)

        self.assertEqual((0, 1), (way.lost, way.duplicated))

    def test_nothing_at_all(self):
        way = gaps.outwards([], SENT, 0.0, 2.0)

        self.assertEqual(([], 0, 0), (way.gaps, way.lost, way.duplicated))


class InterruptionTestCase(base.BaseTestCase):

    def test_a_gap_is_cut_where_the_phase_ends(self):
        way = gaps.inwards(SENT, every(range(20, 30)), 0.0, 1.0)

        self.assertAlmostEqual(0.06, way.interruption(0.0, 0.25))
        self.assertAlmostEqual(0.05, way.interruption(0.25, 1.0))
        self.assertEqual(0.0, way.interruption(0.5, 1.0))

    def test_gaps_are_summed(self):
        way = gaps.inwards(SENT, every([*range(20, 30), *range(60, 65)]),
                           0.0, 1.0)

        self.assertAlmostEqual(0.11 + 0.06, way.interruption(0.0, 1.0))


class StreamTestCase(base.BaseTestCase):

    def test_progress(self):
        samples = array.array('d', [
            0.0, 0, 0, 0.1, 500, 0, 0.2, 1000, 0,
            0.5, 1000, 2, 0.9, 2000, 3, 1.0, 2500, 3])

        found = gaps.stream(samples, 0.05, 1.0)

        self.assertAlmostEqual(0.7, found.stall)
        self.assertEqual(3, found.again)

    def test_what_was_sent_again_before_does_not_count(self):
        samples = array.array('d', [0.0, 0, 4, 0.5, 1, 5, 0.8, 2, 7])

        self.assertEqual(3, gaps.stream(samples, 0.1, 1.0).again)
        self.assertEqual(1, gaps.stream(samples, 0.1, 0.6).again)


def round_of(inside, outside, phases=None):
    """A round with one gap in each direction, of so many milliseconds."""
    ways = [gaps.Way([], [gaps.Gap(10.0, 10.0 + length / 1000)], [], [])
            for length in (inside, outside)]
    return gaps.Round(phases or {'copy': (9.0, 20.0)}, *ways,
                      gaps.Stream([], 0), gaps.Quiet(0.0, 0.0, 0.0))


class RoundTestCase(base.BaseTestCase):

    def test_what_came_twice_by_phase(self):
        its = dataclasses.replace(
            round_of(0, 0, {'failover': (9.0, 10.0), 'copy': (10.0, 11.0)}),
            inwards=gaps.Way([], [], [], [9.5, 10.5]),
            outwards=gaps.Way([], [], [], [8.0, 9.0]))

        self.assertEqual([2, 1, 0], [its.duplicated(phase)
                                     for phase in gaps.PHASES])

    def test_interruptions_by_direction_and_phase(self):
        its = round_of(300, 400, {'failover': (9.0, 10.1),
                                  'copy': (10.1, 10.2),
                                  'failback': (10.2, 12.0)})

        for phase, expected in ((None, (300, 400)), ('failover', (100, 100)),
                                ('copy', (100, 100)),
                                ('failback', (100, 200))):
            for one, other in zip(expected, its.interruptions(phase)):
                self.assertAlmostEqual(one, other)

    def test_a_phase_that_it_has_not(self):
        self.assertEqual((0, 0), round_of(300, 400).interruptions('failback'))

    def test_ratios_are_those_of_the_same_round(self):
        its = [round_of(200, 200), round_of(900, 300)]
        floor = [round_of(100, 100), round_of(300, 300)]

        found = gaps.ratios(its, floor)

        self.assertAlmostEqual(2.0, found[0])
        self.assertAlmostEqual(2.0, found[1])

    def test_a_floor_without_a_gap_is_no_measure(self):
        its = [round_of(200, 200), round_of(900, 300)]

        self.assertEqual([1.0], [round(ratio, 6) for ratio in gaps.ratios(
            its, [round_of(0, 0), round_of(600, 600)])])
        self.assertEqual([], gaps.ratios(its, [round_of(0, 0)] * 2))

    def test_ratios_need_both(self):
        self.assertRaises(ValueError, gaps.ratios,
                          [round_of(1, 1)], [round_of(1, 1)] * 2)

    def test_spread(self):
        self.assertEqual({'median': 2, 'min': 1, 'max': 9},
                         gaps.spread([9, 1, 2]))
