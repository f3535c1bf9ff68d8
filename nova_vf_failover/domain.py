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

"""The libvirt domain of a server: its NICs, its PCIe slots, its journal.

A standby and the primary it stands in for have the same MAC, so nothing here
finds a NIC by its MAC alone, and every element given back to libvirt is the
very one that libvirt printed, with its guest PCI address: libvirt refuses a
detach that matches two devices (src/conf/domain_conf.c, virDomainNetFindIdx).
"""

from collections.abc import Callable
import contextlib
import functools
import typing

from lxml import etree
from nova import exception as nova_exception
from nova.virt.libvirt import guest as libvirt_guest

from nova_vf_failover import domain_xml
from nova_vf_failover import exception
from nova_vf_failover import journal
from nova_vf_failover import request

Interface = domain_xml.Interface


class Detach(typing.Protocol):
    """``LibvirtDriver._detach_with_retry``: waits for libvirt's event.

    It has been the one way in which Nova takes a device out of a guest since
    the Wallaby release, and it is what makes a retry after a lost event safe.
    """

    def __call__(self, guest: libvirt_guest.Guest, instance_uuid: str,
                 get_device_conf_func: Callable[..., typing.Any],
                 device_name: str) -> None:
        ...


class Domain:
    """One server's domain on this host, seen through Nova's ``Guest``.

    :param guest: Nova's wrapper of the libvirt domain
    :param uuid: the server's UUID
    :param detach: Nova's way to detach a device, see :class:`Detach`
    """

    def __init__(self, guest: libvirt_guest.Guest, uuid: str,
                 detach: Detach) -> None:
        self._guest = guest
        self._uuid = uuid
        self._detach = detach

    @property
    def uuid(self) -> str:
        """The server's UUID."""
        return self._uuid

    @property
    def libvirt_domain(self) -> typing.Any:
        """The ``virDomain``, for what Nova's ``Guest`` has no method for."""
        return self._guest._domain

    def interfaces(self, persistent: bool = False) -> list[Interface]:
        """The NICs of the live or of the persistent domain."""
        return domain_xml.interfaces(self._tree(persistent))

    def primary(self, mac: str, persistent: bool = False) -> Interface | None:
        """The VF of the port with this MAC."""
        return self._nic(mac, domain_xml.PRIMARY_TYPE, persistent)

    def standby(self, mac: str, persistent: bool = False) -> Interface | None:
        """The standby NIC of the port with this MAC."""
        return self._nic(mac, domain_xml.STANDBY_TYPE, persistent)

    def lost_ports(self, content: journal.Journal) -> list[str]:
        """As :func:`nova_vf_failover.domain_xml.lost_ports`."""
        return domain_xml.lost_ports(content, self._tree)

    def standby_device(self, mac: str) -> str:
        """The host's network device behind it, or an empty name."""
        standby = self.standby(mac)
        return standby.device or '' if standby else ''

    def has_device_of(self, vif: typing.Any) -> bool:
        """Whether the guest has the device of a direct port of any type.

        A standby of the port is none. Some types are an ``<interface>`` with
        the port's MAC, others a ``<hostdev>`` that has nothing but the
        address on the host (nova/virt/libvirt/vif.py).

        :param vif: the port with its binding on this host
        """
        mac = vif['address'].lower()
        address = (vif.get('profile') or {}).get('pci_slot')
        return any(
            nic.mac == mac and nic.kind != domain_xml.STANDBY_TYPE
            for nic in self.interfaces()
        ) or address in domain_xml.host_devices(self._tree(False))

    def detach_primary(self, mac: str) -> None:
        """Take the VF out of the guest; nothing to do if it has gone.

        :raises nova.exception.DeviceDetachFailed: the guest keeps it, or
            sleeps and was not asked
        """
        self._detach_nic(functools.partial(self.primary, mac), mac)

    def detach_standby(self, mac: str) -> None:
        """Take the standby out of the guest; as :meth:`detach_primary`."""
        self._detach_nic(functools.partial(self.standby, mac), mac)

    def has_kept_primary(self, mac: str) -> bool:
        """Whether the guest has a VF that it will not start with.

        Nova takes a device out of the persistent domain before it asks the
        guest for it; a guest that does not let go leaves the two different.
        """
        return (self.primary(mac) is not None
                and self._guest.has_persistent_configuration()
                and self.primary(mac, persistent=True) is None)

    def keep_primary(self, mac: str) -> None:
        """Put a VF that stays into the persistent domain again."""
        live = self.primary(mac)
        if live is None or not self.has_kept_primary(mac):
            return
        element = etree.fromstring(live.xml)
        for name in ('alias', 'target'):
            for child in element.findall(name):
                element.remove(child)
        self.libvirt_domain.attachDeviceFlags(
            etree.tostring(element, encoding='unicode'),
            libvirt_guest.libvirt.VIR_DOMAIN_AFFECT_CONFIG)

    def free_slots(self) -> int | None:
        """How many NICs can still be hot-plugged, as far as the XML tells.

        On q35 a device can be plugged only into a pcie-root-port of its own
        (QEMU docs/pcie.txt); i440fx has 32 slots on its one bus.

        :returns: None for a machine with a bus that is neither
        """
        controllers = [
            element for element in self._devices('controller')
            if element.get('type') == 'pci']
        used = {(int(address.get('bus', '0'), 0),
                 int(address.get('slot', '0'), 0))
                for address in self._devices('*/address')
                if address.get('type') == 'pci'}
        models = {element.get('model') for element in controllers}
        if 'pcie-root' in models:
            busy = {bus for bus, _slot in used}
            ports = {int(element.get('index', '0'))
                     for element in controllers
                     if element.get('model') == 'pcie-root-port'}
            return len(ports - busy)
        if 'pci-root' in models:
            # Slot 0 is the host bridge and slot 1 the ISA bridge with IDE.
            taken = {slot for bus, slot in used if bus == 0} | {0, 1}
            return 32 - len(taken)
        return None

    def read_journal(self) -> journal.Journal:
        """What the domain says about its ports; empty if it says nothing.

        :raises exception.JournalError: it cannot be understood
        """
        return domain_xml.journal_of(self._tree(False))

    def write_journal(self, content: journal.Journal) -> None:
        """Store the journal, live and persistent; empty removes it.

        A server that is off has the persistent domain only, and libvirt
        refuses whatever is meant for the live one as well.
        """
        libvirt = libvirt_guest.libvirt
        flags = 0
        if self._guest.is_active():
            flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
        if self._guest.has_persistent_configuration():
            flags |= libvirt.VIR_DOMAIN_AFFECT_CONFIG
        self.libvirt_domain.setMetadata(
            libvirt.VIR_DOMAIN_METADATA_ELEMENT,
            None if content.empty else content.to_xml(),
            journal.PREFIX, journal.NAMESPACE, flags)

    def read_request(self) -> request.Request | None:
        """What an operator asks for, see :mod:`nova_vf_failover.request`."""
        return request.find(self._tree(False))

    def read_metadata(
        self,
    ) -> tuple[journal.Journal, request.Request | None]:
        """The journal and the request, of one moment.

        :raises exception.JournalError: the journal cannot be understood
        """
        tree = self._tree(False)
        return domain_xml.journal_of(tree), request.find(tree)

    def remove_request(self, answered: request.Request | None) -> None:
        """It has been answered; one that came after it has not."""
        if answered and self.read_request() == answered:
            request.remove(self.libvirt_domain)

    def has_job(self) -> bool:
        """Whether libvirt is moving the guest, or saving its memory."""
        libvirt = libvirt_guest.libvirt
        return self._guest.get_job_info().type in (
            libvirt.VIR_DOMAIN_JOB_BOUNDED, libvirt.VIR_DOMAIN_JOB_UNBOUNDED)

    def _tree(self, persistent: bool) -> etree._Element:
        return etree.fromstring(
            self._guest.get_xml_desc(dump_inactive=persistent))

    def _devices(self, tag: str) -> list[etree._Element]:
        return self._tree(False).findall(f'./devices/{tag}')

    def _nic(self, mac: str, kind: str, persistent: bool) -> Interface | None:
        found = [nic for nic in self.interfaces(persistent)
                 if nic.mac == mac.lower() and nic.kind == kind]
        if len(found) > 1:
            raise exception.VFFailoverError(
                f'The domain of server {self._uuid} has {len(found)} '
                f'interfaces of type {kind} with the MAC {mac}; expected at '
                'most one.')
        return found[0] if found else None

    def _detach_nic(
        self, find: Callable[..., Interface | None], mac: str,
    ) -> None:
        live: Interface | None = None

        def get_device(
            from_persistent_config: bool = False,
        ) -> Interface | None:
            nonlocal live
            found = find(persistent=from_persistent_config)
            if not from_persistent_config:
                live = found
            return found

        if get_device() is None and not (
                self._guest.has_persistent_configuration()
                and get_device(from_persistent_config=True)):
            return
        # A guest that was asked before may let it go at this moment, between
        # Nova's look at the domain and its request.
        with contextlib.suppress(nova_exception.DeviceNotFound):
            self._detach(self._guest, self._uuid, get_device, device_name=mac)
        # Of one that sleeps (S3) Nova takes it out of the persistent domain
        # alone, and says nothing.
        if live and self._guest.is_active() and get_device():
            raise nova_exception.DeviceDetachFailed(
                device=mac, reason='It is still in the running domain.')
