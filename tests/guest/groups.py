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

"""A program of the guest that listens to a multicast group."""

import socket

import fixtures
import nova.privsep

from nova_vf_failover.standby import macvtap
from tests.simulation.fabric import host as hosts

_GROUP = '239.1.2.3'
_PORT = 9001


class Listening:
    """For guests of one port or more: the program uses the first one."""

    def join(self):
        self.member = self.guest.inside(lambda: socket.socket(
            socket.AF_INET, socket.SOCK_DGRAM))
        self.addCleanup(self.member.close)
        self.member.bind(('', _PORT))
        self.member.settimeout(5)
        self.member.setsockopt(
            socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
            socket.inet_aton(_GROUP) + self.ports[0].v4.ip.packed)

    def hear_groups(self, host):
        # As the plugin does when the standby has come to this host.
        self.useFixture(fixtures.MockPatchObject(
            nova.privsep.sys_admin_pctxt, 'client_mode', False))
        macvtap.MacvtapStandby(hosts.FabricLinks(
            self.net.hosts[host])).attached('macvtap0')

    def assertHeard(self):
        peer = self.ports[0].peers[0]
        with self.net.peer.inside(lambda: socket.socket(
                socket.AF_INET, socket.SOCK_DGRAM)) as sender:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF,
                              peer.ip.packed)
            sender.sendto(b'all', (_GROUP, _PORT))
            self.assertEqual(b'all', self.member.recv(8))
