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

"""The VFs of this host as their PF knows them, by sysfs and netlink."""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import os
import typing

import nova.exception
import nova.pci.utils
import pyroute2

from nova_vf_failover import exception
from nova_vf_failover import netlink
from nova_vf_failover import privileges

# Asks for what the PF says of its VFs, without their statistics, which may be
# more than fits into an attribute: include/uapi/linux/rtnetlink.h,
# RTEXT_FILTER_VF and RTEXT_FILTER_SKIP_STATS.
_VFS_ONLY = 1 | 8


@dataclasses.dataclass(frozen=True)
class Function:
    """A VF.

    :ivar pf: the name of its PF
    :ivar number: which of the VFs of the PF it is
    """

    address: str
    pf: str
    number: int


class Functions:
    """Reads VFs, and changes their administrative MAC.

    :param open_netlink: makes a netlink socket in the network namespace of
        the PFs; the process's own unless told otherwise
    """

    def __init__(
        self,
        open_netlink: Callable[[], typing.Any] = netlink.route_socket,
    ) -> None:
        self._open_netlink = open_netlink

    def find(self, address: str) -> Function:
        """The VF at a PCI address.

        :raises exception.SteeringError: there is none
        """
        try:
            return Function(
                address,
                nova.pci.utils.get_ifname_by_pci_address(
                    address, pf_interface=True),
                nova.pci.utils.get_vf_num_by_pci_address(address))
        except nova.exception.PciDeviceNotFoundById as error:
            raise exception.SteeringError(
                f'{address} is no VF of a PF with a network interface on '
                'this host') from error

    def driver(self, function: Function) -> str:
        """The name of the kernel's driver of the PF.

        :raises exception.SteeringError: nobody knows
        """
        link = f'/sys/class/net/{function.pf}/device/driver'
        try:
            return os.path.basename(os.readlink(link))
        except OSError as error:
            raise exception.SteeringError(
                f'the driver of PF {function.pf} cannot be read: {error}'
            ) from error

    def mac(self, function: Function) -> str:
        """The administrative MAC of a VF.

        :raises exception.SteeringError: the PF does not know the VF
        """
        with self._open_netlink() as route:
            for index in route.link_lookup(ifname=function.pf):
                for link in route.get_links(index, ext_mask=_VFS_ONLY):
                    macs = dict(_macs(link))
                    if function.number in macs:
                        return macs[function.number]
        raise exception.SteeringError(
            f'PF {function.pf} does not say which MAC its VF '
            f'{function.number} has')

    def set_mac(self, function: Function, mac: str) -> None:
        """Give a VF an administrative MAC, and see that it has it.

        Nova's helper (``nova.privsep.linux_net.set_device_macaddr_and_vlan``)
        writes the VLAN as well, without its priority, and takes the kernel's
        refusal for a success.

        :raises exception.SteeringError: it has another one afterwards
        :raises pyroute2.netlink.exceptions.NetlinkError: the driver refuses
        """
        _set_mac(function.pf, function.number, mac)
        has = self.mac(function)
        if has != mac:
            raise exception.SteeringError(
                f'VF {function.number} of PF {function.pf} was given the MAC '
                f'{mac} and has {has}')

    def renew_filter(self, device: str) -> None:
        """Have the MAC of a macvtap asked of its PF once more.

        A macvtap asks when it is set up (drivers/net/macvlan.c,
        macvlan_open); a PF that refused then is not asked again by itself.

        :raises exception.SteeringError: the macvtap has gone
        """
        if not _down_and_up(device):
            raise exception.SteeringError(
                f'there is no device {device} whose filter could be renewed')


def _macs(link: typing.Any) -> Iterator[tuple[int, str]]:
    """The MACs of the VFs that a PF tells of, by their numbers."""
    listed = link.get_attr('IFLA_VFINFO_LIST')
    for info in listed.get_attrs('IFLA_VF_INFO') if listed else ():
        told = info.get_attr('IFLA_VF_MAC')
        if told:
            # Room for the longest address that there is, 32 bytes.
            yield told['vf'], told['mac'][:17].lower()


@privileges.sys_admin
def _set_mac(pf: str, number: int, mac: str) -> None:
    with pyroute2.IPRoute() as route:
        index, = route.link_lookup(ifname=pf)
        route.link('set', index=index, vf={'vf': number, 'mac': mac})


@privileges.sys_admin
def _down_and_up(device: str) -> bool:
    with pyroute2.IPRoute() as route:
        for index in route.link_lookup(ifname=device):
            try:
                route.link('set', index=index, state='down')
            finally:
                route.link('set', index=index, state='up')
            return True
    return False
