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

from oslotest import base

from tests.lab.compare import comparison
from tests.lab.compare import schemes as compare
from tests.lab.compare import table
from tests.lab.sriov import schemes as sriov
from tests.unit.lab import test_gaps

KEYS = {'in_ms', 'out_ms', 'gaps_ms', 'lost', 'duplicated', 'duplicated_in',
        'tcp_stall_ms', 'tcp_retransmissions', 'ratio_to_virtio'}
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
        self.document = json.loads(json.dumps(comparison.document(rounds)))

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
                      - {*BY_PHASE, 'ratio_to_virtio'})]:
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

    def test_the_floor_is_its_own_measure(self):
        ratio = self.document['schemes']['virtio']['ratio_to_virtio']

        self.assertEqual({'median': 1, 'min': 1, 'max': 1}, ratio)

    def test_without_a_floor_there_is_no_ratio(self):
        alone = comparison.document({'native': [test_gaps.round_of(1, 1)]})

        self.assertNotIn('ratio_to_virtio', alone['schemes']['native'])


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
