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

import socket

import ddt

from nova_vf_failover.guest import frames
from nova_vf_failover.guest import packetfilter
from tests.guest import cables

OURS, OTHER = 'fa:16:3e:00:00:01', 'fa:16:3e:00:00:02'
V4, V6 = socket.AF_INET, socket.AF_INET6


def to(mac, frame):
    return frames.mac_bytes(mac) + frame[6:]


def arp_answer(mac, address='192.0.2.1'):
    asked = frames.question(V4, OTHER, address, '192.0.2.9')
    return to(mac, asked[:20] + b'\0\2' + asked[22:])


def advertisement(mac):
    return to(mac, frames.announcement(V6, OTHER, 'fe80::9'))


def solicitation(mac):
    return to(mac, frames.question(V6, OTHER, 'fe80::9', 'fe80::1'))


def datagram(mac):
    return to(mac, b'\0' * 12 + b'\x08\0\x45' + b'\0' * 60)


# Behind each frame: it is kept by every filter.
MARKER = arp_answer(OURS, '192.0.2.99')


@ddt.ddt
class PacketFilterTestCase(cables.CableTestCase):
    """What the kernel keeps of frames that come in on a NIC."""

    def setUp(self):
        super().setUp()
        self.sender = self.socket(self.far)
        self.back = self.socket(self.near)
        ours = frames.mac_bytes(OURS)
        self.traffic = self.socket(self.near, packetfilter.to(ours))
        self.answers = self.socket(self.near, packetfilter.answers(ours))

    def socket(self, where, kept=()):
        made = where.inside(lambda: self.on_eth0(kept))
        self.addCleanup(made.close)
        made.settimeout(5)
        return made

    @staticmethod
    def on_eth0(kept):
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        packetfilter.load(made, packetfilter.incoming(kept))
        made.bind(('eth0', 0x0003))
        return made

    def kept(self, frame, sender):
        """Whether a frame is taken for traffic, and for an answer."""
        sender.send(frame)
        self.sender.send(MARKER)
        found = []
        for listening in (self.traffic, self.answers):
            found.append(False)
            while True:
                received = listening.recv(200)
                if received == MARKER:
                    break
                self.assertEqual(frame, received)
                found[-1] = True
        return tuple(found)

    @ddt.named_data(
        ['arp_answer', arp_answer, (True, True)],
        ['advertisement', advertisement, (True, True)],
        ['solicitation', solicitation, (True, False)],
        ['datagram', datagram, (True, False)],
        ['cut_off', lambda mac: advertisement(mac)[:20], (True, False)])
    def test_frame(self, make, expected):
        self.assertEqual(expected, self.kept(make(OURS), self.sender))
        self.assertEqual((False, False), self.kept(make(OTHER), self.sender))
        # What the guest sends is shown to raw sockets as well.
        self.assertEqual((False, False), self.kept(make(OURS), self.back))
