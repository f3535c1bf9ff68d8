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

"""What is heard on a NIC, and what is not worth a failure."""

import select
import socket

import ddt

from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import wire
from tests.guest import cables
from tests.guest import test_packetfilter as made

OWN = [(socket.AF_INET, '192.0.2.9')]
ASKED = [(socket.AF_INET, '192.0.2.1')]


@ddt.ddt
class WireTestCase(cables.CableTestCase):
    """Nobody on the far one answers by itself."""

    def setUp(self):
        super().setUp()
        self.wire = self.near.inside(self.open)
        self.addCleanup(self.wire.close)

    @staticmethod
    def open():
        with netlink.Netlink() as kernel:
            nic = links.Links(kernel, frozenset()).named('eth0')
        return wire.Wire(nic, made.OURS)

    def answer(self):
        """Somebody answers, and it has come in."""
        def send():
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
                sender.bind(('eth0', 0))
                sender.send(made.arp_answer(made.OURS, ASKED[0][1]))

        self.far.inside(send)
        self.assertTrue(select.select([self.wire.answers], [], [], 10)[0])

    def prove(self, *patience):
        return wire.prove(self.wire, None, OWN, ASKED,
                          lambda proof: proof.answered, *patience).answered

    def test_an_answer(self):
        self.far.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'eth0')
        self.near.set('eth0', address=made.OURS)

        self.assertTrue(self.prove())
        self.assertTrue(wire.answered_on(self.wire, OWN, ASKED))

    def test_an_answer_to_an_earlier_question_proves_nothing(self):
        self.answer()

        self.assertFalse(self.prove(wire.BRIEF))

    def test_what_has_come_before_tells_nothing_of_now(self):
        """The other NIC would be set down while frames come in on it."""
        self.answer()

        self.assertFalse(wire.answered_on(self.wire, OWN, ASKED))

    @ddt.named_data(['down', 'set', 'down'], ['gone', 'delete'])
    def test_a_nic_that_goes(self, what, *more):
        self.near.run('ip', 'link', what, 'eth0', *more)

        self.assertFalse(self.prove(wire.BRIEF))
        self.assertFalse(wire.answered_on(self.wire, OWN, ASKED))
