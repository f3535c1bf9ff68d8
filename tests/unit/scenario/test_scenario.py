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

"""How the scenario reads what ping has printed, and what it finds fault with.
"""

from oslotest import base

from tests.scenario import __main__ as scenario
from tests.scenario import pinging

OUTPUT = """\
PING 192.168.1.11 (192.168.1.11) 56(84) bytes of data.
[1700000000.000000] From 192.168.1.1 icmp_seq=1 Destination Host Unreachable
[1700000001.000000] 64 bytes from 192.168.1.11: icmp_seq=2 ttl=64 time=0.1 ms
[1700000001.050000] 64 bytes from 192.168.1.11: icmp_seq=3 ttl=64 time=0.1 ms
[1700000001.060000] 64 bytes from 192.168.1.11: icmp_seq=3 ttl=64 time=9 ms (DUP!)
[1700000001.450000] 64 bytes from 192.168.1.11: icmp_seq=6 ttl=64 time=0.1 ms
[1700000001.460000] 64 bytes from 192.168.1.11: icmp_seq=5 ttl=64 time=60 ms

--- 192.168.1.11 ping statistics ---
"""  # noqa: E501
WELL = {'compute_vf_failover': 'Success', 'compute_vf_failback': 'Success'}


class ReadTestCase(base.BaseTestCase):

    def test_gap_and_losses(self):
        answers = pinging.read(OUTPUT.splitlines())

        self.assertAlmostEqual(0.39, answers.longest_gap, 3)
        self.assertEqual(1, answers.lost)
        self.assertEqual(5, len(answers.times))

    def test_nothing_has_come(self):
        answers = pinging.read(['PING 192.168.1.11'])

        self.assertEqual((0.0, 0), (answers.longest_gap, answers.lost))

    def test_the_numbers_begin_anew(self):
        answers = pinging.read(
            f'[{second}.0] 64 bytes from x: icmp_seq={number} ttl=64'
            for second, number in enumerate((65533, 65534, 0, 65535, 2)))

        # Number 1 has not come.
        self.assertEqual(1, answers.lost)


class FaultsTestCase(base.BaseTestCase):

    def faults(self, gap, events):
        return list(scenario._faults(
            pinging.Answers((1.0, 1.0 + gap), 0), events, allowed=1.0))

    def test_none(self):
        self.assertEqual([], self.faults(0.9, WELL))

    def test_interruption(self):
        fault, = self.faults(1.5, WELL)
        self.assertIn('did not answer for 1.50 s', fault)

    def test_what_nova_does_by_itself(self):
        self.assertEqual(
            ['compute_vf_failover was not done',
             'compute_vf_failback was Error'],
            self.faults(0, {'compute_vf_failback': 'Error'}))
