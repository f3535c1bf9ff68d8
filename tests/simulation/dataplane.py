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

"""What libvirt, QEMU and the NIC do to the network of one host.

The simulated hypervisor calls a data plane at the moments at which the real
one would touch the host's interfaces. The one in :mod:`tests.simulation.paper`
keeps them in memory; the one in :mod:`tests.simulation.fabric` uses the
kernel's.
"""

import dataclasses
import typing

from lxml import etree


@dataclasses.dataclass(frozen=True)
class Nic:
    """One ``<interface>`` of a domain, as far as the host is concerned.

    :ivar kind: the type of the interface: ``hostdev``, ``direct``, …
    :ivar vf: PCI address ``dddd:bb:ss.f`` of the VF of a hostdev
    :ivar source: the link under a macvtap
    :ivar target: the name of the host's end: ``macvtap0``, ``tap0``
    """

    mac: str
    kind: str
    vf: str | None = None
    vlan: int | None = None
    source: str | None = None
    target: str | None = None

    @property
    def is_vf(self) -> bool:
        return self.kind == 'hostdev'

    @property
    def is_macvtap(self) -> bool:
        return self.kind == 'direct'

    @classmethod
    def from_element(cls, element: etree._Element) -> 'Nic':
        address = element.find('./source/address')
        tag = element.find('./vlan/tag')
        source = element.find('source')
        target = element.find('target')
        return cls(
            mac=element.find('mac').get('address').lower(),
            kind=element.get('type'),
            vf=None if address is None else '{:04x}:{:02x}:{:02x}.{:x}'.format(
                *(int(address.get(key), 16) for key in (
                    'domain', 'bus', 'slot', 'function'))),
            vlan=None if tag is None else int(tag.get('id')),
            source=None if source is None else source.get('dev'),
            target=None if target is None else target.get('dev'))


class DataPlane(typing.Protocol):
    """The network of one compute host.

    ``guest`` is the UUID of a domain; a guest that migrates is the same on
    both hosts. Methods raise ``libvirtError`` with libvirt's text where the
    kernel or the NIC refuses.
    """

    def assign_vf(self, guest: str, nic: Nic) -> None:
        """Program the MAC and VLAN of the VF, then give it to the guest."""

    def return_vf(self, guest: str, nic: Nic) -> None:
        """The guest lets the VF go; then its MAC and VLAN are reset."""

    def plug_macvtap(self, guest: str, nic: Nic) -> None:
        """Create the macvtap ``nic.target`` on ``nic.source``, down.

        libvirt sets it up right before the guest's CPUs start, and down when
        they stop, lest the host speaks for the guest before or after it is
        there (src/qemu/qemu_interface.c, qemuInterfaceStartDevice).
        """

    def connect_macvtap(self, guest: str, nic: Nic) -> None:
        """Let frames pass between the macvtap and the guest's NIC.

        The guest gets the NIC if it does not have it yet.
        """

    def disconnect_macvtap(self, guest: str, nic: Nic,
                           keep_guest_nic: bool) -> None:
        """Stop the frames; the guest's NIC may stay, as in a stop-and-copy."""

    def unplug_macvtap(self, guest: str, nic: Nic) -> None:
        """Delete the macvtap."""
