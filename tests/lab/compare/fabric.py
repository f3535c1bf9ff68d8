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


"""The network of one guest: two hosts with a NIC each, a switch, a peer.

The NIC of a host is a bridge that learns nothing, with one tap for the VF and
one for what stands on the PF. So it replicates, as igb does: what comes for
the guest's MAC goes to both, and neither hears what the other one sends. The
switch between the hosts is a bridge that learns, as switches do.
"""

from collections.abc import Mapping
import contextlib
import os

import fixtures

from tests.simulation.fabric import namespace
from tests.simulation.fabric import tap

MAC = '52:54:00:77:00:11'
GUEST, PEER = '10.77.0.11', '10.77.0.1'
HOSTS = ('a', 'b')
VF, PF = 'vf', 'pf'
# No frame is longer.
_FRAME = 65536


class Fabric(fixtures.Fixture):
    """Namespaces and taps.

    :ivar peer: the namespace that the guest talks with
    :ivar taps: by host, the file descriptors of the taps by their name
    """

    def _setUp(self) -> None:
        self._switch = self._namespace('switch')
        self.peer = self._namespace('peer')
        self._switch.netlink.link('add', ifname='fabric', kind='bridge')
        self._switch.set('fabric', state='up')
        self._switch.add_veth('peer', self.peer, 'eth0')
        self._plug(self._switch, 'peer', 'fabric')
        self.peer.run('ip', 'address', 'add', f'{PEER}/24', 'dev', 'eth0')
        self.taps: Mapping[str, Mapping[str, int]] = {
            host: self._add_host(host) for host in HOSTS}

    def forget(self, host: str) -> None:
        """Take out of a host's taps what came for a guest that had left.

        They outlive the QEMU that reads them, and the next one there would
        hand it to its guest.
        """
        for descriptor in self.taps[host].values():
            # As QEMU itself has them (net/tap.c).
            os.set_blocking(descriptor, False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.read(descriptor, _FRAME)

    def _add_host(self, name: str) -> Mapping[str, int]:
        host = self._namespace(name)
        host.netlink.link('add', ifname='nic', kind='bridge')
        host.set('nic', state='up')
        self._switch.add_veth(name, host, 'uplink')
        self._plug(self._switch, name, 'fabric')
        self._plug(host, 'uplink', 'nic', 'learning', 'off')
        taps = {function: self._add_tap(host, function)
                for function in (VF, PF)}
        for function in taps:
            self._plug(host, function, 'nic', 'learning', 'off',
                       'isolated', 'on')
        return taps

    def _namespace(self, role: str) -> namespace.Namespace:
        made = namespace.Namespace(role)
        self.addCleanup(made.close)
        return made

    def _add_tap(self, where: namespace.Namespace, name: str) -> int:
        mac = f'fe:00:00:00:00:{ord(name[0]):02x}'
        descriptor = tap.add_tap(where, name, mac)
        self.addCleanup(os.close, descriptor)
        where.set(name, state='up')
        return descriptor

    @staticmethod
    def _plug(where: namespace.Namespace, port: str, bridge: str,
              *settings: str) -> None:
        where.set(port, master=where.index(bridge))
        if settings:
            where.run('bridge', 'link', 'set', 'dev', port, *settings)
