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

"""The network of the nested hosts: two switches and a peer of the guests.

One switch carries what the hosts say to each other and to this lab, the other
one what the guests say, through the PFs of the hosts. Both learn addresses, as
switches do.
"""

from collections.abc import Mapping
import os
import socket

import fixtures

from tests.lab.sriov import tagging
from tests.simulation.fabric import namespace
from tests.simulation.fabric import tap

HOSTS = ('a', 'b')
PF, MANAGEMENT = 'pf', 'management'
PEER = '10.77.0.1'
_PEER_MAC = '52:54:00:77:00:01'
_LAB = '10.9.0.1'


def address(host: str) -> str:
    """Where the other host and the lab reach a host."""
    return f'10.9.0.{11 + HOSTS.index(host)}'


class Fabric(fixtures.Fixture):
    """Namespaces and taps.

    :param vlan: that of the peer, or 0 for none
    :ivar peer: the namespace that the guests talk with
    :ivar taps: by host, the file descriptors of the taps by their name
    """

    def __init__(self, vlan: int = 0) -> None:
        super().__init__()
        self._vlan = vlan

    def _setUp(self) -> None:
        self._switch = self._namespace('switch')
        self.peer = self._namespace('peer')
        for bridge in ('fabric', 'office'):
            self._switch.netlink.link('add', ifname=bridge, kind='bridge')
            self._switch.set(bridge, state='up')
        self._switch.run('ip', 'address', 'add', f'{_LAB}/24', 'dev',
                         'office')
        self._plug_peer()
        self.peer.run('ip', 'address', 'add', f'{PEER}/24', 'dev', 'eth0')
        self.taps: Mapping[str, Mapping[str, int]] = {
            host: {PF: self._add_tap(f'{PF}-{host}', 'fabric'),
                   MANAGEMENT: self._add_tap(f'office-{host}', 'office')}
            for host in HOSTS}

    def _plug_peer(self) -> None:
        if not self._vlan:
            self._switch.add_veth('peer', self.peer, 'eth0')
            self._switch.set('peer', master=self._switch.index('fabric'))
            return
        trunk = self._add_tap('trunk', 'fabric')
        access = tap.add_tap(self.peer, 'eth0', _PEER_MAC)
        self.addCleanup(os.close, access)
        self.peer.set('eth0', state='up')
        self.addCleanup(
            tagging.AccessPort(access, trunk, self._vlan).close)

    def connect(self, host: str, port: int,
                timeout: float) -> socket.socket:
        """:raises OSError: nobody listens there"""
        return self._switch.inside(lambda: socket.create_connection(
            (address(host), port), timeout))

    def command(self, *argv: str) -> list[str]:
        """The argv of a program that is to reach the hosts."""
        return self._switch.command(*argv)

    def _namespace(self, role: str) -> namespace.Namespace:
        made = namespace.Namespace(role)
        self.addCleanup(made.close)
        return made

    def _add_tap(self, name: str, bridge: str) -> int:
        number = len(self._switch.names())
        descriptor = tap.add_tap(self._switch, name,
                                 f'fe:00:00:00:00:{number:02x}')
        self.addCleanup(os.close, descriptor)
        self._switch.set(name, state='up',
                         master=self._switch.index(bridge))
        return descriptor
