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


"""What is read from a stream, and what of the figures is not as wanted."""

from tests.agent import bench  # isort: skip

from oslotest import base

from tests.agent import stream


class StreamTestCase(base.BaseTestCase):

    def flow(self, pauses):
        """A chunk each hundredth of a second, but for pauses.

        What was held up comes at once when a pause is over.
        """
        its = stream.Stream.__new__(stream.Stream)
        its._arrivals = []
        for number in range(1000):
            due = number / 100
            its._arrivals.append((next(
                (end for start, end in pauses if start < due < end), due),
                1000))
        return its

    def test_a_pause_that_is_made_up_for_shows(self):
        its = self.flow([(4.8, 5.2)])

        self.assertAlmostEqual(0.4, its.stall([2.0, 5.0]))
        self.assertLess(its.dip([5.0]), 0.05)

    def test_a_pause_elsewhere_does_not_count(self):
        self.assertAlmostEqual(0.01, self.flow([(7.0, 7.4)]).stall([5.0]))

    def test_a_pause_that_begins_before_counts_whole(self):
        self.assertAlmostEqual(0.4, self.flow([(4.3, 4.7)]).stall([5.0]))

    def test_without_a_moment_there_is_none(self):
        self.assertEqual(0.0, self.flow([]).stall([]))


class WantedTestCase(base.BaseTestCase):

    def test_no_more_than_a_bound(self):
        self.assertTrue(bench.is_as_wanted(20.0, '<= 20'))
        self.assertFalse(bench.is_as_wanted(20.1, '<= 20'))
        self.assertFalse(bench.is_as_wanted(0.05, '< 0.05'))

    def test_no_less_than_one(self):
        self.assertTrue(bench.is_as_wanted(9999.9, '>= 9900'))
        self.assertFalse(bench.is_as_wanted(8000, '>= 9900'))

    def test_exactly_that(self):
        self.assertTrue(bench.is_as_wanted(0, '0'))
        self.assertFalse(bench.is_as_wanted(3, '0'))
        self.assertFalse(bench.is_as_wanted(True, 'False'))

    def test_where_nothing_is_wanted_everything_will_do(self):
        self.assertTrue(bench.is_as_wanted(1e9, ''))
