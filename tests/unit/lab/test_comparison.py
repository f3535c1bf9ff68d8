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


"""The figures of a comparison as others read them, and who comes first."""

import json
from unittest import mock

import fixtures
from oslotest import base

from tests.lab.compare import comparison
from tests.lab.compare import fabric
from tests.lab.compare import schemes as compare
from tests.lab.compare import table
from tests.lab.compare import traffic
from tests.lab import image as images
from tests.lab.sriov import schemes as sriov
from tests.simulation.fabric import namespace
from tests.unit.lab import test_gaps

KEYS = {'in_ms', 'out_ms', 'gaps_ms', 'lost', 'duplicated', 'duplicated_in',
        'tcp_stall_ms', 'tcp_retransmissions', 'ratio_to_virtio',
        'discarded'}
BY_PHASE = ('gaps_ms', 'duplicated_in')


class DocumentTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        phases = {'failover': (9.0, 10.1), 'copy': (10.1, 10.2),
                  'failback': (10.2, 12.0)}
        rounds = {'virtio': [test_gaps.round_of(200, 300),
                             test_gaps.round_of(250, 250)],
                  'native': [test_gaps.round_of(1000, 1000, phases),
                             test_gaps.round_of(2000, 1000, phases)]}
        self.document = json.loads(json.dumps(comparison.document(
            rounds, {'native': 2})))

    def test_its_shape(self):
        self.assertEqual({'rounds', 'schemes'}, set(self.document))
        self.assertEqual(2, self.document['rounds'])
        self.assertEqual(['virtio', 'native'],
                         list(self.document['schemes']))
        for figures in self.document['schemes'].values():
            self.assertEqual(KEYS, set(figures))
            for key in BY_PHASE:
                self.assertEqual(['failover', 'copy', 'failback'],
                                 list(figures[key]))
            for values in [
                    *(values for key in BY_PHASE
                      for values in figures[key].values()),
                    *(figures[key] for key in KEYS
                      - {*BY_PHASE, 'ratio_to_virtio', 'discarded'})]:
                self.assertEqual(2, len(values))

    def test_its_figures(self):
        native = self.document['schemes']['native']

        self.assertEqual([1000, 2000], [round(value) for value
                                        in native['in_ms']])
        self.assertEqual([100, 100], [round(value) for value
                                      in native['gaps_ms']['failover']])
        self.assertEqual([800, 1800], [round(value) for value
                                       in native['gaps_ms']['failback']])
        self.assertEqual((4.0, 6.0), tuple(
            round(native['ratio_to_virtio'][key], 6)
            for key in ('min', 'max')))

    def test_moves_that_do_not_count_are_told(self):
        self.assertEqual([0, 2], [
            figures['discarded']
            for figures in self.document['schemes'].values()])

    def test_the_floor_is_its_own_measure(self):
        ratio = self.document['schemes']['virtio']['ratio_to_virtio']

        self.assertEqual({'median': 1, 'min': 1, 'max': 1}, ratio)

    def test_without_a_floor_there_is_no_ratio(self):
        alone = comparison.document({'native': [test_gaps.round_of(1, 1)]})

        self.assertNotIn('ratio_to_virtio', alone['schemes']['native'])


class FloorWithoutGapTestCase(base.BaseTestCase):

    def made(self, *floors):
        return comparison.document({
            'virtio': [test_gaps.round_of(length, length)
                       for length in floors],
            'native': [test_gaps.round_of(600, 600)] * len(floors)})

    def rows(self, document):
        """The ratios of the table, and what it says below it."""
        made = table.traffic(document)
        return list(made.columns[1].cells), made.caption

    def test_such_a_round_is_left_out_and_that_is_told(self):
        document = self.made(300, 0)

        ratio = document['schemes']['native']['ratio_to_virtio']
        self.assertEqual(2, round(ratio['max'], 6))
        ratios, caption = self.rows(document)
        self.assertEqual(['1.00 (1.00-1.00)', '2.00 (2.00-2.00)'], ratios)
        self.assertIn('1 of 2 rounds', caption)

    def test_without_any_other_there_is_no_ratio(self):
        document = json.loads(json.dumps(self.made(0)))

        self.assertIsNone(document['schemes']['native']['ratio_to_virtio'])
        ratios, caption = self.rows(document)
        self.assertEqual(['', ''], ratios)
        self.assertIn('1 of 1 rounds', caption)

    def test_nothing_is_told_where_none_is_left_out(self):
        self.assertIsNone(self.rows(self.made(300, 200))[1])


class RunTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        for module, name in ((namespace, 'sweep'), (fabric, 'Fabric')):
            self.useFixture(fixtures.MockPatchObject(module, name))
        self.told = []

    def scheme(self, name, *outcomes):
        """:param outcomes: a round, or the phase in which its kernel dies"""
        made = mock.Mock(spec=compare.Scheme, guest=mock.Mock(panicked=True),
                         timeline=compare.Timeline())
        made.name = name

        def run(left=iter(outcomes)):
            its = next(left)
            if isinstance(its, str):
                made.timeline.enter(its)
                raise traffic.NoTraffic(its)
            return its
        made.run.side_effect = run
        kind = mock.Mock(return_value=made)
        kind.name = name
        return kind

    def run_rounds(self, count, *kinds):
        comparison.run(None, kinds, count, lambda said: None,
                       lambda rounds, discarded: self.told.append((
                           {name: list(its) for name, its in rounds.items()},
                           dict(discarded))))

    def test_it_is_told_after_each_whole_round(self):
        self.run_rounds(2, self.scheme('virtio', 1, 2),
                        self.scheme('native', 3, 4))

        self.assertEqual([({'virtio': [1], 'native': [3]}, {}),
                          ({'virtio': [1, 2], 'native': [3, 4]}, {})],
                         self.told)

    def test_a_kernel_that_dies_of_the_copy_does_not_count(self):
        self.run_rounds(1, self.scheme('native', 'copy', 'copy', 3))

        self.assertEqual([({'native': [3]}, {'native': 2})], self.told)

    def test_one_that_dies_of_something_else_does(self):
        self.assertRaises(traffic.NoTraffic, self.run_rounds, 1,
                          self.scheme('native', 'failback', 3))


class VersionsTestCase(base.BaseTestCase):

    def test_of_qemu_and_of_the_kernel(self):
        image = mock.Mock(spec=images.Image,
                          versions={'linux-image-amd64': '6.1.1'})
        with mock.patch.object(
                comparison.subprocess, 'run', autospec=True,
                return_value=mock.Mock(stdout='QEMU 7.2\nCopyright\n')):
            self.assertEqual({'qemu': 'QEMU 7.2', 'kernel': '6.1.1'},
                             comparison.versions(image))


class QuietTestCase(base.BaseTestCase):

    def test_it_lasts_as_long_as_that_of_the_lab(self):
        rounds = {'native': [test_gaps.round_of(1, 1)]}

        for schemes, seconds in ((compare, '2'), (sriov, '4')):
            title = table.quiet(rounds, schemes.QUIET).title
            self.assertIn(f'in the {seconds} seconds before', title)


class TurnsTestCase(base.BaseTestCase):

    def test_each_round_begins_with_another(self):
        turns = list(comparison.turns('abc', 4))

        self.assertEqual(['abc', 'bca', 'cab', 'abc'], [
            ''.join(scheme for number, scheme in turns if number == wanted)
            for wanted in (1, 2, 3, 4)])
