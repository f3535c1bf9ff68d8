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

"""Two hosts, a guest on one of them and a peer, all on one switch."""

import ipaddress
import socket

import fixtures

from tests.simulation import dataplane
from tests.simulation.fabric import host as hosts
from tests.simulation.fabric import namespace
from tests.simulation.fabric import nic as nics
from tests.simulation.fabric import traffic

# Seconds until a packet that has not come is lost.
_PATIENCE = 3.0


class Port:
    """A port of the guest: its MAC and its addresses.

    :param number: from 1; each port has networks of its own on the switch
    """

    def __init__(self, number: int, mac: str) -> None:
        self.mac = mac
        self.v4 = ipaddress.ip_interface(f'192.168.{number}.11/24')
        self.v6 = ipaddress.ip_interface(f'fd00:{number}::b/64')

    @property
    def peers(self) -> list[ipaddress.IPv4Interface
                            | ipaddress.IPv6Interface]:
        """The peer's addresses, which are the guest's gateways."""
        return [ipaddress.ip_interface(
            f'{own.network.network_address + 1}/{own.network.prefixlen}')
            for own in (self.v4, self.v6)]


class Network(fixtures.Fixture):
    """The whole fabric.

    :param vfs: the PCI addresses of the VFs, by host
    :param mode: how the NICs deliver, see :mod:`.nic`
    :param observe: is told what the hosts' data planes do
    """

    def __init__(self, vfs: dict[str, list[str]],
                 mode: str = nics.REPLICATING,
                 observe: hosts.Observer = lambda name, phase: None) -> None:
        self._vfs = vfs
        self._mode = mode
        self._observe = observe

    def _setUp(self) -> None:
        namespace.sweep()
        self.guest = hosts.Guest()
        self.addCleanup(self.guest.close)
        self.switch = self._namespace('switch')
        self.switch.netlink.link('add', ifname='switch', kind='bridge')
        self.switch.set('switch', state='up')
        self.peer = self._namespace('peer')
        self.switch.add_veth('peer', self.peer, 'eth0')
        self._plug('peer')
        self.hosts: dict[str, hosts.Host] = {}
        for name, vfs in self._vfs.items():
            self.add_host(name, f'{name}pf0', vfs)

    def add_host(self, name: str, pf: str, vfs: list[str]) -> hosts.Host:
        """A host whose NIC is plugged into the switch."""
        host = self.hosts[name] = hosts.Host(
            name, pf, vfs, self.guest, self._mode, self._observe)
        self.addCleanup(host.close)
        host.nic.connect(self.switch, name)
        self._plug(name)
        return host

    def _namespace(self, role: str) -> namespace.Namespace:
        made = namespace.Namespace(role)
        self.addCleanup(made.close)
        return made

    def _plug(self, port: str) -> None:
        self.switch.set(port, master=self.switch.index('switch'))

    def add_port(self, port: Port) -> None:
        """Give the peer its addresses for a port."""
        for address in port.peers:
            self.peer.run('ip', 'address', 'add', str(address), 'dev', 'eth0',
                          *['nodad'] * (address.version == 6))

    def boot_port(self, port: Port, nic: str, gateway: bool) -> None:
        """What the guest's operating system does with a NIC when it boots."""
        guest = self.guest.namespace
        # It would take seconds, and nobody else has these addresses.
        guest.run('sysctl', '-qw', f'net.ipv6.conf.{nic}.accept_dad=0')
        guest.set(nic, state='up')
        for own, peer in zip((port.v4, port.v6), port.peers):
            guest.run('ip', 'address', 'add', str(own), 'dev', nic,
                      *['nodad'] * (own.version == 6))
            if gateway:
                guest.run('ip', f'-{own.version}', 'route', 'add', 'default',
                          'via', str(peer.ip), 'dev', nic)

    def traffic(self, port: Port, version: int = 4,
                rate: float = 1000) -> traffic.Traffic:
        """Begin an exchange of packets between the guest and the peer."""
        own = port.v4 if version == 4 else port.v6
        peer = port.peers[0 if version == 4 else 1]
        return traffic.Traffic(self.guest.namespace, str(own.ip), self.peer,
                               str(peer.ip), rate)

    def reaches(self, port: Port, version: int) -> bool:
        """Whether a packet of the peer gets to the guest, and an answer back.
        """
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        own = port.v4 if version == 4 else port.v6
        with self._socket(self.peer, family) as asking, self._socket(
                self.guest.namespace, family) as answering:
            answering.bind((str(own.ip), 0))
            try:
                asking.sendto(b'?', (str(own.ip),
                                     answering.getsockname()[1]))
                _, whence = answering.recvfrom(1)
                answering.sendto(b'!', whence)
                return asking.recv(1) == b'!'
            except TimeoutError:
                return False

    @staticmethod
    def _socket(where: namespace.Namespace, family: int) -> socket.socket:
        made = where.inside(lambda: socket.socket(family, socket.SOCK_DGRAM))
        made.settimeout(_PATIENCE)
        return made


def hostdev(port: Port, vf: str) -> dataplane.Nic:
    """A VF as libvirt would give it to the guest of a port."""
    return dataplane.Nic(mac=port.mac, kind='hostdev', vf=vf)


def macvtap(port: Port, host: hosts.Host, target: str) -> dataplane.Nic:
    """A macvtap on the PF of a host."""
    return dataplane.Nic(mac=port.mac, kind='direct', source=host.nic.pf,
                         target=target)
