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

"""Puts the simulated hypervisor below Nova's libvirt driver in this process.

What Nova reads from sysfs or does with privileges to a host's interfaces is
answered by the data plane of the host that has the interface: the names and
the PCI addresses of PFs differ from host to host, so that a process with
several compute services can tell them apart.
"""

import typing

import fixtures
from nova import exception
from nova.tests.fixtures import libvirt as fakelibvirt

from nova_vf_failover.standby import links
from nova_vf_failover.standby import macvtap  # noqa: F401
from nova_vf_failover.steering import base as steering  # noqa: F401
from nova_vf_failover.steering import functions
from tests.simulation import dataplane
from tests.simulation import guest_agent
from tests.simulation import hypervisor
from tests.simulation import modules
from tests.simulation import paper
from tests.simulation import paper_agent
from tests.simulation import world as worlds


class PaperLinks(links.HostLinks):
    """The links of a host that exists on paper."""

    def __init__(self, plane: paper.PaperDataPlane) -> None:
        self._plane = plane

    def _all(self) -> list[links.Link]:
        return [links.Link(
            name=link.name, index=0, up=link.up,
            carrier=link.up and link.carrier, mtu=link.mtu,
            master=link.master, master_kind=link.master_kind,
            alias=link.alias, uppers=self._plane.uppers(link.name),
            kind='vlan' if link.lower else None, lower=link.lower,
            vlan=link.vlan)
            for link in self._plane.links.values()] + [links.Link(
                name=name, index=0, up=True, carrier=True, mtu=1500,
                alias=link.alias, kind='macvtap', lower=link.source)
                for name, link in self._plane.macvtaps.items()]

    def add_vlan(self, lower: str, name: str, vlan: int, alias: str) -> None:
        self._plane.add_vlan(lower, name, vlan)
        self._plane.links[name].alias = alias

    def mark(self, name: str, alias: str) -> None:
        self._plane.find(name).alias = alias

    def receive_all_groups(self, name: str) -> None:
        if name in self._plane.macvtaps:
            self._plane.macvtaps[name].all_groups = True

    def addresses(self, name: str) -> list[str]:
        """Hosts on paper have no IP stack."""
        return []

    def can_keep_host_off(self) -> bool:
        return True

    def keep_host_off(self, name: str) -> None:
        """Hosts on paper have no IP stack."""

    def remove(self, name: str) -> None:
        self._plane.remove_link(name)


class PaperFunctions(functions.Functions):
    """The VFs of a host that exists on paper."""

    def __init__(self, plane: paper.PaperDataPlane) -> None:
        self._plane = plane

    def find(self, address: str) -> functions.Function:
        vf = self._plane.vfs[address]
        siblings = [other for other, its in self._plane.vfs.items()
                    if its.pf == vf.pf]
        return functions.Function(address, vf.pf, siblings.index(address))

    def driver(self, function: functions.Function) -> str:
        return self._plane.driver

    def mac(self, function: functions.Function) -> str:
        return self._plane.vfs[function.address].mac or '00:00:00:00:00:00'

    def set_mac(self, function: functions.Function, mac: str) -> None:
        self._plane.set_vf_mac(function.address, mac)

    def renew_filter(self, device: str) -> None:
        self._plane.renew_filter(device)


class Functions:
    """The PCI functions of all hosts, by address.

    :ivar pfs: the name of the PF's interface, by the address of each VF and
        of the PF itself
    """

    def __init__(self) -> None:
        self.pfs: dict[str, str] = {}

    def add(self, pci_info: fakelibvirt.HostPCIDevicesInfo,
            name: typing.Callable[[int], str]) -> dict[str, list[str]]:
        """Name the PFs of a host.

        :returns: the addresses of the VFs, by the name of their PF
        """
        found: dict[str, list[str]] = {}
        current = ''
        # A PF stands before its VFs there.
        for device in pci_info.devices.values():
            address = device.address
            if 'phys_function' in device.pci_device:
                found[current].append(address)
            else:
                current = name(len(found))
                found[current] = []
            self.pfs[address] = current
        return found

    def interface(self, address: str, pf_interface: bool = False) -> str:
        """``nova.pci.utils.get_ifname_by_pci_address``."""
        if address not in self.pfs:
            raise exception.PciDeviceNotFoundById(id=address)
        if pf_interface:
            return self.pfs[address]
        return f'vf{address[-4:].replace(".", "")}'


class SimulatedHosts(fixtures.Fixture):
    """Everything of a simulated host that is global to the process."""

    def __init__(self) -> None:
        self.world = worlds.World()
        self.functions = Functions()
        self.guests: dict[str, paper.PaperGuest] = {}
        self.planes: dict[str, typing.Any] = {}
        #: the host whose compute service is being started
        self.newest = ''
        self.agents: dict[str, paper_agent.PaperAgent] = {}

    def _setUp(self) -> None:
        self.useFixture(modules.StandIn(
            'libvirt_qemu', guest_agent.libvirt_qemu()))
        self.useFixture(fixtures.MonkeyPatch(
            'nova.pci.utils.get_ifname_by_pci_address',
            self.functions.interface))
        for name, stand_in in (
                ('device_exists', self._exists),
                ('add_vlan', self._add_vlan),
                ('set_device_enabled', lambda device: None),
                ('set_device_mtu', lambda device, mtu: None)):
            self.useFixture(fixtures.MonkeyPatch(
                f'nova.privsep.linux_net.{name}', stand_in))
        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.standby.macvtap.links.HostLinks',
            lambda: self.links(self.newest)))
        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.steering.base.functions.Functions',
            lambda: self.vf_functions(self.newest)))

    def links(self, host: str) -> links.HostLinks:
        """The links of a host as the plugin sees them."""
        return PaperLinks(self.planes[host])

    def vf_functions(self, host: str) -> functions.Functions:
        """The VFs of a host as the plugin sees them."""
        return PaperFunctions(self.planes[host])

    def make_plane(self, host: str,
                   pfs: dict[str, list[str]]) -> dataplane.DataPlane:
        """The network of a new host.

        :param pfs: the PCI addresses of the VFs, by the name of their PF
        """
        plane = paper.PaperDataPlane(host, self.guests)
        for pf, vfs in pfs.items():
            plane.add_pf(pf, vfs)
        return plane

    def add_host(self, name: str, pci_info: fakelibvirt.HostPCIDevicesInfo,
                 **keywords: typing.Any) -> hypervisor.Connection:
        """A host with these PCI devices, its PFs up and named ``NAMEpfN``."""
        self.newest = name
        plane = self.planes[name] = self.make_plane(
            name, self.functions.add(
                pci_info, lambda index: f'{name}pf{index}'))
        return hypervisor.Connection(
            'qemu:///system', world=self.world, data_plane=plane,
            hostname=name, pci_info=pci_info, **keywords)

    def lose_vf(self, host: str, address: str) -> None:
        """Take a VF away from a host, as a PF that was reset does."""
        del self.functions.pfs[address]
        del self.planes[host].vfs[address]
        devices = self.world.connections[host].pci_info.devices
        for name, device in list(devices.items()):
            if device.address == address:
                del devices[name]

    def add_guest(self, uuid: str) -> paper_agent.PaperAgent:
        """A guest of this server with the agent in its image."""
        guest = self.guests.setdefault(uuid, paper.PaperGuest())
        agent = self.agents[uuid] = paper_agent.PaperAgent(guest)
        agent.hears = lambda mac: any(
            plane.delivers(uuid, mac, 'standby')
            for plane in self.planes.values())
        self.world.guest_agents[uuid] = guest_agent.QemuGuestAgent(
            agent.start)
        return agent

    def _plane(self, link: str) -> paper.PaperDataPlane:
        for plane in self.planes.values():
            if link in plane.links:
                return plane
        raise LookupError(link)

    def _exists(self, device: str) -> bool:
        return any(device in plane.links for plane in self.planes.values())

    def _add_vlan(self, lower: str, name: str, vlan: int) -> None:
        self._plane(lower).add_vlan(lower, name, vlan)
