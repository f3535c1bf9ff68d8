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

"""Whether a VF of this host could serve a server now."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import typing

from lxml import etree
import nova.exception
import nova.pci.utils
from nova.virt.libvirt import guest as libvirt_guest

from nova_vf_failover import domain_xml
from nova_vf_failover.standby import links


class Fitness:
    """Looks at what Nova's PCI tracker does not: the NIC and who has the VF.

    :param guests: makes Nova's ``Guest`` of every running domain here
    :param host_links: the links of the host
    """

    def __init__(self, guests: Callable[[], Iterable[typing.Any]],
                 host_links: links.HostLinks | None = None) -> None:
        self._guests = guests
        self._links = host_links or links.HostLinks()

    def fault(self, address: str, server: str) -> str | None:
        """Why the VF cannot be used for this server, a clause, or None.

        :param address: the PCI address of the VF
        """
        try:
            pf = nova.pci.utils.get_ifname_by_pci_address(
                address, pf_interface=True)
        except nova.exception.PciDeviceNotFoundById:
            return (f'VF {address} has gone, or its PF has no network '
                    'interface')
        return self._fault_of_pf(address, pf) or self._holder(address, server)

    def _fault_of_pf(self, address: str, pf: str) -> str | None:
        link = self._links.find(pf)
        if link is None:
            return f'VF {address} has gone with its PF {pf}'
        if not link.up:
            return f'VF {address} is of PF {pf}, which is down'
        if not link.carrier:
            return f'VF {address} is of PF {pf}, which has no carrier'
        return None

    def _holder(self, address: str, server: str) -> str | None:
        for guest in self._guests():
            if guest.uuid != server and address in _devices(guest):
                return f'VF {address} is in the domain of server {guest.uuid}'
        return None


def _devices(guest: typing.Any) -> set[str]:
    """The PCI addresses of the host's devices that a domain has."""
    libvirt = libvirt_guest.libvirt
    try:
        return domain_xml.host_devices(etree.fromstring(guest.get_xml_desc()))
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
        # It has gone since the domains were listed.
        return set()
