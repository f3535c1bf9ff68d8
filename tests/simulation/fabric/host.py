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

"""A compute host: its NIC, and the data plane that libvirt would touch."""

from collections.abc import Callable
import errno
import functools
import itertools
import os

import pyroute2
from pyroute2.netlink import exceptions

from nova_vf_failover.standby import links
from nova_vf_failover.steering import functions
from tests.simulation import dataplane
from tests.simulation import errors
from tests.simulation.fabric import namespace
from tests.simulation.fabric import nic as nics
from tests.simulation.fabric import tap
from tests.simulation.fabric import vhost


Observer = Callable[[str, str], None]


class Guest:
    """A guest: its namespace, and what moves its virtio NICs' frames."""

    def __init__(self) -> None:
        self.namespace = namespace.Namespace('guest')
        #: by MAC of the virtio NIC
        self.vhosts: dict[str, vhost.Vhost] = {}
        #: by PCI address on the host, the index of the VF in the guest
        self.vfs: dict[str, int] = {}

    def free_name(self) -> str:
        """The name that a NIC gets which appears now."""
        taken = self.namespace.names()
        return next(name for name in map('eth{}'.format, itertools.count())
                    if name not in taken)

    def vf_index(self, mac: str) -> int:
        """The index of the VF with a MAC."""
        return next(
            message['index']
            for message in self.namespace.netlink.get_links()
            if message.get_attr('IFLA_ADDRESS') == mac
            and message.get_nested('IFLA_LINKINFO', 'IFLA_INFO_KIND')
            == 'veth')

    def close(self) -> None:
        for moving in self.vhosts.values():
            moving.close()
        self.namespace.close()


class Host:
    """A host with one NIC; see :class:`tests.simulation.dataplane.DataPlane`.

    :param guest: the one guest of the fabric, whatever its UUID
    :param observe: called with the name of a method and ``start`` or
        ``end``
    """

    def __init__(self, name: str, pf: str, vfs: list[str], guest: Guest,
                 mode: str = nics.REPLICATING,
                 observe: Observer = lambda name, phase: None) -> None:
        self.namespace = namespace.Namespace(name)
        self.nic = nics.Nic(self.namespace, pf, vfs, mode)
        self._guest = guest
        self._macvtaps: dict[str, int] = {}
        #: by the PCI address of a VF, the guest that has it
        self._owners: dict[str, str] = {}
        self._observe = observe

    def close(self) -> None:
        for descriptor in self._macvtaps.values():
            os.close(descriptor)
        self.nic.close()
        self.namespace.close()

    def assign_vf(self, guest: str, nic: dataplane.Nic) -> None:
        if nic.vf not in self.nic.vfs:
            raise errors.no_device(nic.vf or '')
        if nic.vf in self._owners:
            raise errors.in_use(nic.vf, self._owners[nic.vf])
        self._owners[nic.vf] = guest
        self._observe('assign_vf', 'start')
        name = self.nic.vfs[nic.vf]
        self.nic.program(nic.vf, nic.mac)
        self.namespace.set(name, state='down', address=nic.mac)
        inside = self._guest.free_name()
        self.namespace.give(name, self._guest.namespace, inside)
        # The agent may have given it another name already.
        self._guest.vfs[nic.vf] = self._guest.vf_index(nic.mac)
        self._observe('assign_vf', 'end')

    def return_vf(self, guest: str, nic: dataplane.Nic) -> None:
        self._observe('return_vf', 'start')
        vf = nic.vf or ''
        self._owners.pop(vf)
        name = self.nic.vfs[vf]
        self._guest.namespace.netlink.link(
            'set', index=self._guest.vfs.pop(vf), ifname=name,
            net_ns_fd=self.namespace.descriptor)
        self.nic.reset(vf)
        self._observe('return_vf', 'end')

    def set_vf_mac(self, vf: str, mac: str) -> None:
        """``ip link set PF vf N mac MAC``.

        A VF of some NICs is reset by it (i40e, ice): its link goes, and it
        comes back with the MAC.
        """
        self.nic.set_mac(vf, mac)
        if self.nic.resets and vf in self._guest.vfs:
            self.nic.cut(vf)
            self._guest.namespace.netlink.link(
                'set', index=self._guest.vfs[vf], address=mac)
            self.nic.mend(vf)

    def renew_filter(self, device: str) -> None:
        """A macvtap is set down and up: its PF forgets it, and is asked."""
        link, = self.namespace.netlink.get_links(
            self.namespace.index(device))
        mac = link.get_attr('IFLA_ADDRESS')
        self.namespace.set(device, state='down')
        self.nic.let_go(mac)
        self.namespace.set(device, state='up')
        self.nic.ask(mac)

    def plug_macvtap(self, guest: str, nic: dataplane.Nic) -> None:
        target, source = nic.target or '', nic.source or ''
        try:
            self._macvtaps[target] = tap.add_macvtap(
                self.namespace, target, nic.mac, source)
        except LookupError:
            raise errors.system(
                f"Cannot get interface MTU on '{source}': No such device")
        except exceptions.NetlinkError as error:
            raise errors.system(
                f'error creating macvtap interface {target}@{source} '
                f'({nic.mac}): {os.strerror(error.code)}') from error

    def connect_macvtap(self, guest: str, nic: dataplane.Nic) -> None:
        fresh = nic.mac not in self._guest.vhosts
        if fresh:
            self._hot_plug(nic.mac)
        moving = self._guest.vhosts[nic.mac]
        moving.connect(self._macvtaps[nic.target or ''])
        self.namespace.set(nic.target or '', state='up')
        self.nic.ask(nic.mac)
        if fresh:
            self.namespace.give('virtio', self._guest.namespace,
                                self._guest.free_name())
        else:
            moving.announce()

    def _hot_plug(self, mac: str) -> None:
        # Made outside, so that it has its MAC when the guest sees it.
        descriptor = tap.add_tap(self.namespace, 'virtio', mac)
        self._guest.vhosts[mac] = vhost.Vhost(descriptor, mac)
        os.close(descriptor)

    def disconnect_macvtap(self, guest: str, nic: dataplane.Nic,
                           keep_guest_nic: bool) -> None:
        moving = self._guest.vhosts[nic.mac]
        self.namespace.set(nic.target or '', state='down')
        self.nic.let_go(nic.mac)
        moving.pause()
        if not keep_guest_nic:
            # With its last file descriptor the TAP device goes as well.
            del self._guest.vhosts[nic.mac]
            moving.close()

    def unplug_macvtap(self, guest: str, nic: dataplane.Nic) -> None:
        target = nic.target or ''
        descriptor = self._macvtaps.pop(target, None)
        if descriptor is not None:
            os.close(descriptor)
        try:
            self.namespace.netlink.link(
                'del', index=self.namespace.index(target))
        except LookupError:
            return
        except exceptions.NetlinkError as error:
            if error.code != errno.ENODEV:
                raise


class FabricFunctions(functions.Functions):
    """What the plugin sees of a host's VFs.

    :param driver: what the PF's is said to be
    """

    def __init__(self, host: Host, driver: str = 'i40e') -> None:
        self._host = host
        self._driver = driver

    def find(self, address: str) -> functions.Function:
        return functions.Function(address, self._host.nic.pf, list(
            self._host.nic.vfs).index(address))

    def driver(self, function: functions.Function) -> str:
        return self._driver

    def mac(self, function: functions.Function) -> str:
        return self._host.nic.macs[function.address]

    def set_mac(self, function: functions.Function, mac: str) -> None:
        self._host.set_vf_mac(function.address, mac)

    def renew_filter(self, device: str) -> None:
        self._host.renew_filter(device)


class FabricLinks(links.HostLinks):
    """What the plugin sees of a host's links: the kernel's, by netlink."""

    def __init__(self, host: Host) -> None:
        super().__init__(functools.partial(
            pyroute2.NetNS, host.namespace.name))
        self._inside = host.namespace.inside

    def add_vlan(self, lower: str, name: str, vlan: int, alias: str) -> None:
        self._inside(functools.partial(
            super().add_vlan, lower, name, vlan, alias))

    def mark(self, name: str, alias: str) -> None:
        self._inside(functools.partial(super().mark, name, alias))

    def receive_all_groups(self, name: str) -> None:
        self._inside(functools.partial(super().receive_all_groups, name))

    def keep_host_off(self, name: str) -> None:
        self._inside(functools.partial(super().keep_host_off, name))

    def remove(self, name: str) -> None:
        self._inside(functools.partial(super().remove, name))
