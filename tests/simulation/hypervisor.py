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

"""libvirt and QEMU as Nova and this plugin see them: connections, domains.

Built on the libvirt fixture of Nova's own functional tests, which knows a
host's capabilities and its PCI devices. What it leaves out is added here,
after libvirt 11.3: the whole XML of a domain, live and persistent apart; two
interfaces with one MAC; guest PCI addresses and aliases; metadata; a detach
that the guest has to consent to and that ends with an event; a migration that
takes time, can be aborted and moves the domain.
"""

import copy
import threading
import time
import typing
from urllib import parse

from lxml import etree
from nova.tests.fixtures import libvirt as fakelibvirt

from tests.simulation import dataplane
from tests.simulation import domain_xml
from tests.simulation import errors
from tests.simulation import migrations
from tests.simulation import world as worlds

# What a guest does when it is asked to let a device go.
RELEASES, IGNORES, REFUSES = 'releases', 'ignores', 'refuses'

# Details of libvirt's events that Nova's fixture does not know.
_STARTED_MIGRATED = _RESUMED_MIGRATED = 1
_SUSPENDED_PAUSED = 0


class Domain(fakelibvirt.Domain):
    """A ``virDomain`` of a QEMU host."""

    def __init__(self, connection: 'Connection', xml: str,
                 running: bool = False, transient: bool = False) -> None:
        super().__init__(connection, xml, running=running,
                         transient=transient)
        self._lock = threading.RLock()
        definition = etree.fromstring(xml)
        self._config: etree._Element | None = (
            None if transient else domain_xml.definition(definition))
        self._live: etree._Element | None = (
            domain_xml.make_live(definition) if running else None)
        self._unplugging: set[str] = set()
        # What the guest was asked for and has not let go, by alias.
        self._pending: dict[str, etree._Element] = {}
        self._abort = threading.Event()
        #: whether a job goes on during which nothing is changed
        self.busy = False
        # Up to Nova 33 its domain has a job from the first moment.
        self._job_type = fakelibvirt.VIR_DOMAIN_JOB_NONE

    # -- life --------------------------------------------------------------

    def redefine(self, xml: str) -> None:
        """A new persistent definition; what runs goes on as it is."""
        with self._lock:
            self._config = domain_xml.definition(etree.fromstring(xml))
            self._def = self._parse_definition(xml)
            self._transient = False

    def createWithFlags(self, flags: int) -> None:
        with self._connection.plugging, self._lock:
            # Nova's own keeps what it was defined with, whatever has come
            # and gone since.
            self._def = self._parse_definition(
                etree.tostring(self._config, encoding='unicode'))
            self._need_devices()
            self.verify_hostdevs_interface_are_vfs()
            self._live = domain_xml.make_live(self._config)
            self._pending.clear()
            for element in self._interfaces():
                self._plug(element)
        super().createWithFlags(flags)

    def _need_devices(self) -> None:
        for nic in self._def['devices'].get('nics', []):
            if nic['type'] == 'hostdev' and (
                    nic['source'] not in self._connection.pci_info.devices):
                # As Nova's fake has it, pci_0000_81_00_1.
                raise errors.no_device('{1}:{2}:{3}.{4}'.format(
                    *nic['source'].split('_')))

    def destroy(self) -> None:
        self._end()
        super().destroy()

    def shutdown(self) -> None:
        """The guest does as it is asked, and its QEMU exits."""
        self._end()
        super().shutdown()

    def _end(self) -> None:
        with self._lock:
            if self._live is None:
                raise errors.invalid('domain is not running')
            for element in self._interfaces():
                self._unplug(element)
            self._live = None

    def ID(self) -> int:
        """That of this start, -1 where it does not run."""
        running = list(self._connection._running_vms.items())
        return next((number for number, it in running if it is self), -1)

    def isActive(self) -> int:
        """1 for one that is paused as well."""
        return int(self._live is not None)

    def isPersistent(self) -> bool:
        return self._config is not None

    def XMLDesc(self, flags: int = 0) -> str:
        with self._lock:
            inactive = flags & fakelibvirt.VIR_DOMAIN_XML_INACTIVE
            tree = self._live
            if tree is None or (inactive and self._config is not None):
                tree = self._config
            return etree.tostring(tree, encoding='unicode')

    # -- devices -----------------------------------------------------------

    def attachDeviceFlags(self, xml: str, flags: int = 0) -> None:
        device = etree.fromstring(xml)
        live, config = self._affected(flags)
        with self._connection.plugging, self._lock:
            if live:
                added = copy.deepcopy(device)
                self._prepare(added)
                if added.tag == 'interface':
                    self._plug(added)
                self._live.find('devices').append(added)
            if config:
                domain_xml.add_controllers(self._config)
                if device.tag == 'interface':
                    domain_xml.add_address(self._config, device)
                self._config.find('devices').append(device)

    def detachDeviceFlags(self, xml: str, flags: int = 0) -> None:
        wanted = etree.fromstring(xml)
        live, config = self._affected(flags)
        if wanted.tag != 'interface':
            raise errors.internal(
                f'the simulated hypervisor detaches no {wanted.tag}')
        with self._lock:
            if config:
                found = domain_xml.find_interface(self._config, wanted)
                found.getparent().remove(found)
            if live:
                found = domain_xml.find_interface(self._live, wanted)
                self._begin_unplug(found)

    def _begin_unplug(self, element: etree._Element) -> None:
        """Ask the guest for the device; it answers in its own time."""
        alias = element.find('alias').get('name')
        if alias in self._unplugging:
            raise errors.internal(
                "unable to execute QEMU command 'device_del': Device "
                f'{alias} is already in the process of unplug')
        self._unplugging.add(alias)
        self._pending[alias] = element
        threading.Thread(target=self._end_unplug, args=(element, alias),
                         daemon=True).start()

    def _end_unplug(self, element: etree._Element, alias: str) -> None:
        self._connection.world.answers.wait()
        answer = self._connection.world.releases.get(
            element.get('type'), RELEASES)
        if answer == IGNORES:
            self._unplugging.discard(alias)
            return
        if answer == REFUSES:
            self._unplugging.discard(alias)
            self._pending.pop(alias, None)
            self._connection.emit_device(
                self, fakelibvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
                alias)
            return
        self._take_out(alias)

    def _take_out(self, alias: str) -> None:
        with self._lock:
            element = self._pending.pop(alias, None)
            if element is None:
                return
            self._unplug(element)
            if self._live is not None:
                element.getparent().remove(element)
        self._unplugging.discard(alias)
        self._connection.emit_device(
            self, fakelibvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, alias)

    def reset(self, flags: int = 0) -> None:
        """The guest starts anew, of its own accord or by its reset button.

        QEMU takes out what the guest was asked for and has kept, where
        hotplug is ACPI's (hw/acpi/pcihp.c, acpi_pcihp_update_hotplug_bus).
        """
        if self._live is None:
            raise errors.invalid('domain is not running')
        for alias in list(self._pending):
            self._take_out(alias)

    def _affected(self, flags: int) -> tuple[bool, bool]:
        """Whether flags mean the live and the persistent definition.

        :raises libvirtError: the domain is migrated, to here or from here
        """
        if self.busy:
            raise errors.busy()
        running = self._live is not None
        live = bool(flags & fakelibvirt.VIR_DOMAIN_AFFECT_LIVE)
        config = bool(flags & fakelibvirt.VIR_DOMAIN_AFFECT_CONFIG)
        if not live and not config:
            live, config = running, not running
        if live and not running:
            raise errors.invalid('domain is not running')
        if config and self._config is None:
            raise errors.invalid(
                'cannot modify device on transient domain')
        return live, config

    def _prepare(self, device: etree._Element) -> None:
        if device.tag in ('interface', 'hostdev'):
            domain_xml.add_address(self._live, device)
        domain_xml.add_alias(self._live, device)

    def _plug(self, element: etree._Element) -> None:
        connection = self._connection
        domain_xml.add_target(self._live, element, connection.targets())
        nic = dataplane.Nic.from_element(element)
        if nic.is_vf:
            connection.data_plane.assign_vf(self.UUIDString(), nic)
        elif nic.is_macvtap:
            connection.data_plane.plug_macvtap(self.UUIDString(), nic)
            connection.data_plane.connect_macvtap(self.UUIDString(), nic)

    def _unplug(self, element: etree._Element) -> None:
        nic = dataplane.Nic.from_element(element)
        plane = self._connection.data_plane
        if nic.is_vf:
            plane.return_vf(self.UUIDString(), nic)
        elif nic.is_macvtap:
            plane.disconnect_macvtap(self.UUIDString(), nic, False)
            plane.unplug_macvtap(self.UUIDString(), nic)

    def _interfaces(self) -> list[etree._Element]:
        return self._live.findall('./devices/interface')

    def nics(self) -> list[dataplane.Nic]:
        """The NICs of the live domain."""
        with self._lock:
            return [] if self._live is None else [
                dataplane.Nic.from_element(element)
                for element in self._interfaces()]

    # -- metadata ------------------------------------------------------------

    def setMetadata(self, metadata_type: int, metadata: str | None, key: str,
                    uri: str, flags: int = 0) -> None:
        live, config = self._affected(flags)
        with self._lock:
            for affected, tree in ((live, self._live),
                                   (config, self._config)):
                if affected:
                    domain_xml.set_metadata(tree, metadata, key, uri)

    # -- migration -----------------------------------------------------------

    def migrateToURI3(self, dconnuri: str, params: dict[str, typing.Any],
                      flags: int) -> None:
        world = self._connection.world
        destination = world.connections[parse.urlparse(dconnuri).netloc]
        # qemuMigrationSrcIsAllowedHostdev
        if any(nic.is_vf for nic in self.nics()):
            raise errors.invalid('cannot migrate a domain with <hostdev '
                                 "mode='subsystem' type='pci'>")
        # Of one that is paused while it is copied nobody asks
        # (qemuMigrationSrcPerformPeer2Peer3): so a copy is forced to its end.
        paused = self._state == fakelibvirt.VIR_DOMAIN_PAUSED
        self._abort.clear()
        self._job_type = fakelibvirt.VIR_DOMAIN_JOB_UNBOUNDED
        self.busy = True
        incoming = None
        try:
            # The definition that the destination gets is the one of the
            # call, its metadata included: nothing of the source's is merged
            # into it (qemuMigrationSrcPerformPeer2Peer3, dom_xml).
            domain_xml.check_same_mtus(
                self._live, etree.fromstring(params['destination_xml']))
            incoming = destination.receive(params['destination_xml'])
            self._copy(world.migrations)
        except errors.libvirtError as error:
            if incoming:
                incoming.dismiss()
            self._job_type = (
                fakelibvirt.VIR_DOMAIN_JOB_CANCELLED
                if error.get_error_code() == errors.VIR_ERR_OPERATION_ABORTED
                else fakelibvirt.VIR_DOMAIN_JOB_FAILED)
            self.busy = False
            raise
        self._switch_over(incoming, world.migrations, paused, bool(
            flags & fakelibvirt.VIR_MIGRATE_UNDEFINE_SOURCE))
        self._job_type = fakelibvirt.VIR_DOMAIN_JOB_COMPLETED
        self.busy = False

    def _copy(self, how: migrations.Migrations) -> None:
        how.observer('copy', 'start')
        how.running.set()
        try:
            if self._abort.wait(how.copy_seconds):
                raise self._aborted()
            while not how.proceed.wait(0.05):
                if self._abort.is_set():
                    raise self._aborted()
            if how.failure:
                raise errors.internal(
                    f'QEMU unexpectedly closed the monitor: '
                    f'{how.failure}')
        finally:
            how.running.clear()
            how.observer('copy', 'end')

    def _aborted(self) -> Exception:
        return errors.aborted('migration out job: canceled by client')

    def _switch_over(self, incoming: 'Domain', how: migrations.Migrations,
                     paused: bool, undefine: bool) -> None:
        uuid = self.UUIDString()
        how.observer('stop', 'start')
        macvtaps = [nic for nic in self.nics() if nic.is_macvtap]
        for nic in macvtaps:
            self._connection.data_plane.disconnect_macvtap(uuid, nic, True)
        time.sleep(how.downtime_seconds)
        incoming.take_over(paused)
        how.observer('stop', 'end')
        for nic in macvtaps:
            self._connection.data_plane.unplug_macvtap(uuid, nic)
        with self._lock:
            self._live = None
        self._state = fakelibvirt.VIR_DOMAIN_SHUTOFF
        self._connection._mark_not_running(self)
        if undefine and not self._transient:
            self._connection._undefine(self)

    def prepare(self) -> None:
        """The destination's part before the copy: plug the host's ends."""
        self.busy = True
        with self._connection.plugging:
            for element in self._interfaces():
                self._plug_end(element)

    def _plug_end(self, element: etree._Element) -> None:
        taken = self._connection.targets() | {
            nic.target for nic in self.nics() if nic.target}
        domain_xml.add_target(self._live, element, taken)
        nic = dataplane.Nic.from_element(element)
        if nic.is_macvtap:
            self._connection.data_plane.plug_macvtap(self.UUIDString(), nic)

    def take_over(self, paused: bool) -> None:
        """The guest goes on here, or stands still as it did."""
        for nic in self.nics():
            if nic.is_macvtap:
                self._connection.data_plane.connect_macvtap(
                    self.UUIDString(), nic)
        # qemuMigrationDstFinish
        self.busy = False
        self._connection._emit_lifecycle(
            self, fakelibvirt.VIR_DOMAIN_EVENT_RESUMED, _RESUMED_MIGRATED)
        if paused:
            self.suspend()
            self._connection._emit_lifecycle(
                self, fakelibvirt.VIR_DOMAIN_EVENT_SUSPENDED,
                _SUSPENDED_PAUSED)

    def dismiss(self) -> None:
        """The migration to here has failed."""
        for nic in self.nics():
            if nic.is_macvtap:
                self._connection.data_plane.unplug_macvtap(
                    self.UUIDString(), nic)
        self._connection.forget(self)

    def abortJob(self) -> None:
        if not self._connection.world.migrations.running.is_set():
            raise errors.invalid('no job is active on the domain')
        self._abort.set()

    def jobInfo(self) -> list[int]:
        kind = (fakelibvirt.VIR_DOMAIN_JOB_UNBOUNDED if self.busy
                else fakelibvirt.VIR_DOMAIN_JOB_NONE)
        return [kind, *[0] * 11]

    def jobStats(self, flags: int = 0) -> dict[str, typing.Any]:
        job = self._job_type
        if job != fakelibvirt.VIR_DOMAIN_JOB_UNBOUNDED:
            # Of a job that has ended nothing is known afterwards. Here each
            # end is told once, for a test must not depend on Nova's asking
            # in the moment before libvirt forgets it.
            self._job_type = fakelibvirt.VIR_DOMAIN_JOB_NONE
        return {'type': job, 'memory_total': 1 << 30,
                'memory_processed': 1 << 29, 'memory_remaining': 1 << 29}


class _Domains(dict[str, Domain]):
    """By name; Nova's fixture goes through them while others come and go."""

    def values(self) -> list[Domain]:  # type: ignore[override]
        return list(super().values())


class Connection(fakelibvirt.Connection):
    """A ``virConnect`` to one host of a world.

    :param data_plane: the network of the host
    :ivar plugging: held while the host's end of a NIC is named and made, and
        taken before the lock of a domain, for names are looked up in all
    """

    def __init__(self, *arguments: typing.Any, world: worlds.World,
                 data_plane: dataplane.DataPlane,
                 **keywords: typing.Any) -> None:
        super().__init__(*arguments, **keywords)
        self.world = world
        self.data_plane = data_plane
        self.plugging = threading.RLock()
        self._vms: dict[str, Domain] = _Domains()
        world.connections[self.hostname] = self

    def defineXML(self, xml: str) -> Domain:
        name = etree.fromstring(xml).findtext('name')
        if name in self._vms:
            domain = self._vms[name]
            domain.redefine(xml)
        else:
            domain = self._vms[name] = Domain(self, xml)
        self._emit_lifecycle(domain, fakelibvirt.VIR_DOMAIN_EVENT_DEFINED, 0)
        return domain

    def receive(self, xml: str) -> Domain:
        """A domain that waits for its guest, persistent as Nova asks.

        :raises libvirtError: the network of the host cannot carry it
        """
        domain = Domain(self, xml, running=True)
        try:
            domain.prepare()
        except errors.libvirtError:
            domain.dismiss()
            raise
        self._vms[domain.name()] = domain
        # qemuMigrationDstPrepareActive
        self._emit_lifecycle(domain, fakelibvirt.VIR_DOMAIN_EVENT_STARTED,
                             _STARTED_MIGRATED)
        return domain

    def forget(self, domain: Domain) -> None:
        self._vms.pop(domain.name(), None)
        for key, running in list(self._running_vms.items()):
            if running is domain:
                del self._running_vms[key]

    def targets(self) -> set[str]:
        """The names of the host's ends that are taken."""
        return {nic.target for domain in self._vms.values()
                for nic in domain.nics() if nic.target}

    def _emit_lifecycle(self, domain: Domain, event: int,
                        detail: int) -> None:
        # Nova's fixture says that a domain runs while it is being made.
        if hasattr(domain, '_pending'):
            super()._emit_lifecycle(domain, event, detail)

    def emit_device(self, domain: Domain, event: int, alias: str) -> None:
        """Tell whoever has registered that a device has gone, or not."""
        if event in self._event_callbacks:
            callback, opaque = self._event_callbacks[event]
            callback(self, domain, alias, opaque)
