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

"""What the XML of a server's libvirt domain says of its ports.

nova-compute asks libvirt for it by way of Nova's ``Guest``, the operator's
command by way of libvirt-python; both read it here.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses

from lxml import etree

from nova_vf_failover import journal

# The kinds of <interface> that a primary and its standby are made of.
PRIMARY_TYPE = 'hostdev'
STANDBY_TYPE = 'direct'


@dataclasses.dataclass(frozen=True)
class Interface:
    """An ``<interface>`` exactly as libvirt printed it.

    It has what Nova's detach asks of a device: an alias and its XML.

    :ivar alias: libvirt's name for it; only the live domain has one
    :ivar device: the host's network device, which a hostdev has none of
    :ivar address: the PCI address on the host, which only a hostdev has
    """

    mac: str
    kind: str
    alias: str | None
    xml: str
    device: str | None = None
    address: str = ''

    def to_xml(self) -> str:
        """As :class:`nova.virt.libvirt.config.LibvirtConfigObject`."""
        return self.xml

    @classmethod
    def from_element(cls, element: etree._Element) -> Interface:
        """The one that libvirt printed so."""
        mac = element.find('mac')
        alias = element.find('alias')
        target = element.find('target')
        source = element.find('source/address')
        return cls(
            mac='' if mac is None else mac.get('address', '').lower(),
            kind=element.get('type', ''),
            alias=None if alias is None else alias.get('name'),
            xml=etree.tostring(element, encoding='unicode',
                               with_tail=False),
            device=None if target is None else target.get('dev'),
            address='' if source is None else pci_address(source))


def interfaces(tree: etree._Element) -> list[Interface]:
    """The NICs of a domain."""
    return [Interface.from_element(element)
            for element in tree.iterfind('./devices/interface')]


def journal_of(tree: etree._Element) -> journal.Journal:
    """What a domain says about its ports; empty if it says nothing.

    :raises exception.JournalError: it cannot be understood
    """
    element = tree.find(f'./metadata/{{{journal.NAMESPACE}}}journal')
    if element is None:
        return journal.Journal()
    return journal.Journal.from_xml(etree.tostring(
        element, encoding='unicode', with_tail=False))


def lost_ports(content: journal.Journal,
               read: Callable[[bool], etree._Element]) -> list[str]:
    """The ports whose guest has let a VF go that it had kept.

    It will start with such a VF again. libvirt prints the live domain where
    there is no persistent one (src/qemu/qemu_domain.c,
    ``qemuDomainFormatXML``), and so nothing is lost there.

    :param content: the journal of the domain
    :param read: the XML of the live domain or, if told True, of the
        persistent one
    """
    kept = {port: mac for port, mac in content.kept.items()
            if port not in content.entries}
    # Most domains keep nothing, and are not asked.
    for persistent in (False, True) if kept else ():
        primaries = {nic.mac for nic in interfaces(read(persistent))
                     if nic.kind == PRIMARY_TYPE}
        kept = {port: mac for port, mac in kept.items()
                if (mac in primaries) is persistent}
    return list(kept)


def host_devices(tree: etree._Element) -> set[str]:
    """The PCI addresses of the host's devices in a domain."""
    return {
        pci_address(address)
        for address in tree.iterfind('./devices/*/source/address')
        if address.get('bus')}


def pci_address(element: etree._Element) -> str:
    """An ``<address>`` as Nova and sysfs write it."""
    return '{:04x}:{:02x}:{:02x}.{:x}'.format(*(
        int(element.get(part, '0'), 0)
        for part in ('domain', 'bus', 'slot', 'function')))
