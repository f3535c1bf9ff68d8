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

"""The simulated hypervisor: the contract, and what only it can be asked."""

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401 isort: skip

from collections.abc import Iterator
import contextlib
import queue
import threading
import typing

import fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from oslotest import base

from tests.simulation import guest_agent
from tests.simulation import hypervisor
from tests.simulation import paper
from tests.simulation import world as worlds
from tests.unit.simulation import contract

VFS = {'alpha': '0000:81:00.1', 'beta': '0000:91:00.1'}


class HypervisorTestCase(base.BaseTestCase):
    """Two hosts, of which each has a PF with one VF."""

    libvirt = fakelibvirt

    def setUp(self):
        super().setUp()
        # Nova imports libvirt where nothing else is there yet.
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.guest.libvirt', fakelibvirt))
        self.world = worlds.World()
        self.guests: dict[str, paper.PaperGuest] = {}
        self.removed: queue.Queue = queue.Queue()
        for name, vf in VFS.items():
            plane = paper.PaperDataPlane(name, self.guests)
            plane.add_pf(f'{name}pf0', [vf])
            connection = hypervisor.Connection(
                'qemu:///system', world=self.world, data_plane=plane,
                hostname=name, pci_info=fakelibvirt.HostPCIDevicesInfo())
            connection.domainEventRegisterAny(
                None, fakelibvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
                lambda connection, domain, alias, opaque:
                self.removed.put(alias), None)

    def define(self, xml: str) -> hypervisor.Domain:
        return self.world.connections['alpha'].defineXML(xml)

    def await_removal(self) -> str:
        return self.removed.get(timeout=10)


class ContractTestCase(HypervisorTestCase, contract.LibvirtContract):

    def setUp(self) -> None:
        super().setUp()
        self.world.answers.clear()
        self.addCleanup(self.world.answers.set)

    def look_up(self) -> typing.Any:
        return self.world.connections['alpha'].lookupByUUIDString(
            contract.UUID)

    def let_go(self, domain: typing.Any) -> None:
        self.world.answers.set()

    @contextlib.contextmanager
    def job(self, domain: hypervisor.Domain) -> Iterator[None]:
        domain.busy = True
        yield
        domain.busy = False

    def ask_guest(self, domain: typing.Any, command: str) -> str:
        return guest_agent.libvirt_qemu().qemuAgentCommand(
            domain, command, 5, 0)


HOSTDEV = f"""
<interface type='hostdev' managed='yes'>
  <mac address='{contract.MAC}'/>
  <source>
    <address type='pci' domain='0x0000' bus='0x81' slot='0x00'
             function='0x1'/>
  </source>
  <vlan><tag id='42'/></vlan>
</interface>
"""


def macvtap(host: str) -> str:
    return (f"<interface type='direct'><mac address='{contract.MAC}'/>"
            f"<source dev='{host}pf0' mode='bridge'/>"
            "<model type='virtio'/></interface>")


MIGRATE = (fakelibvirt.VIR_MIGRATE_LIVE | fakelibvirt.VIR_MIGRATE_PEER2PEER
           | fakelibvirt.VIR_MIGRATE_UNDEFINE_SOURCE
           | fakelibvirt.VIR_MIGRATE_PERSIST_DEST)


class NicTestCase(HypervisorTestCase):
    """VFs and macvtaps, which need hardware or privileges elsewhere."""

    def start(self, *interfaces: str) -> hypervisor.Domain:
        domain = self.define(contract.domain(*interfaces))
        domain.createWithFlags(0)
        return domain

    def plane(self, host: str) -> paper.PaperDataPlane:
        return self.world.connections[host].data_plane

    def migrate(self, domain: hypervisor.Domain, host: str) -> None:
        xml = domain.XMLDesc(0).replace('alphapf0', f'{host}pf0')
        domain.migrateToURI3(f'qemu+tcp://{host}/system',
                             {'destination_xml': xml}, MIGRATE)

    def test_vf_has_its_mac_and_vlan_as_long_as_it_is_the_guests(self):
        domain = self.start(HOSTDEV)
        vf = self.plane('alpha').vfs[VFS['alpha']]
        self.assertEqual((contract.MAC, 42, contract.UUID),
                         (vf.mac, vf.vlan, vf.owner))

        domain.destroy()

        self.assertEqual((None, None, None), (vf.mac, vf.vlan, vf.owner))

    def test_a_domain_starts_with_what_it_has_now(self):
        """And not with what it was defined with."""
        domain = self.define(contract.domain(HOSTDEV))
        domain.detachDeviceFlags(HOSTDEV, contract.CONFIG)
        del self.world.connections['alpha'].pci_info.devices[
            'pci_0000_81_00_1']

        domain.createWithFlags(0)

        self.assertEqual(1, domain.isActive())

    def test_a_domain_does_not_start_with_a_vf_that_has_gone(self):
        domain = self.define(contract.domain(HOSTDEV))
        del self.world.connections['alpha'].pci_info.devices[
            'pci_0000_81_00_1']

        error = self.assertRaises(fakelibvirt.libvirtError,
                                  domain.createWithFlags, 0)

        self.assertIn('Device 0000:81:00.1 not found', str(error))
        self.assertEqual(0, domain.isActive())

    def test_vf_and_macvtap_of_one_mac(self):
        domain = self.start(HOSTDEV)

        domain.attachDeviceFlags(macvtap('alpha'), contract.LIVE)

        self.assertEqual(['hostdev0', 'net0'], [
            nic.find('alias').get('name') for nic in contract
            .LibvirtContract.nics(self, domain)])
        self.assertEqual(
            {'primary', 'standby'},
            self.guests[contract.UUID].nics[contract.MAC])

    def test_two_domains_are_given_a_nic_at_the_same_time(self):
        """The name of each is looked up among those of the other's NICs."""
        connection = self.world.connections['alpha']
        both = [self.start(), self.start_another()]
        meeting = threading.Barrier(2)
        targets = connection.targets

        def meet():
            # Where one of them has to wait for the other one, they do not.
            with contextlib.suppress(threading.BrokenBarrierError):
                meeting.wait(0.5)
            return targets()

        connection.targets = meet
        threads = [threading.Thread(
            target=domain.attachDeviceFlags, daemon=True,
            args=(macvtap('alpha'), contract.LIVE)) for domain in both]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        self.assertEqual([False, False], [
            thread.is_alive() for thread in threads])
        self.assertEqual({'macvtap0', 'macvtap1'}, targets())

    def test_a_domain_comes_while_all_are_gone_through(self):
        self.start()
        connection = self.world.connections['alpha']

        for domain in connection._vms.values():
            self.start_another()

        self.assertEqual(2, len(connection._vms))

    def start_another(self) -> hypervisor.Domain:
        domain = self.define(contract.domain().replace(
            contract.UUID, contract.UUID.replace('7', '8')).replace(
                '<name>', '<name>another-'))
        domain.createWithFlags(0)
        return domain

    def test_a_domain_with_a_vf_is_not_migrated(self):
        domain = self.start(HOSTDEV)

        error = self.assertRaises(fakelibvirt.libvirtError, self.migrate,
                                  domain, 'beta')

        self.assertIn('cannot migrate a domain with <hostdev',
                      error.get_error_message())

    def test_a_migration_takes_the_metadata_along(self):
        domain = self.start(macvtap('alpha'))
        domain.setMetadata(
            contract.ELEMENT, '<note/>', 'ex', contract.NAMESPACE,
            contract.LIVE)

        self.migrate(domain, 'beta')

        moved = self.world.connections['beta'].lookupByUUIDString(
            contract.UUID)
        self.assertIn(contract.NAMESPACE, moved.XMLDesc(0))
        self.assertEqual([], self.plane('alpha').snapshot()['macvtaps'])
        self.assertEqual([('betapf0', contract.MAC, True)],
                         self.plane('beta').snapshot()['macvtaps'])
        self.assertRaises(
            fakelibvirt.libvirtError,
            self.world.connections['alpha'].lookupByUUIDString,
            contract.UUID)

    def state_of_moved(self) -> tuple[int, int]:
        moved = self.world.connections['beta'].lookupByUUIDString(
            contract.UUID)
        return moved.info()[0], moved.isActive()

    def test_a_guest_that_is_paused_stands_still_at_its_new_place(self):
        domain = self.start(macvtap('alpha'))
        domain.suspend()

        self.migrate(domain, 'beta')

        self.assertEqual((fakelibvirt.VIR_DOMAIN_PAUSED, 1),
                         self.state_of_moved())

    def test_a_guest_that_is_paused_for_its_copy_runs_there(self):
        domain = self.start(macvtap('alpha'))

        def pause(step: str, phase: str) -> None:
            if (step, phase) == ('copy', 'start'):
                domain.suspend()

        self.world.migrations.observer = pause
        self.migrate(domain, 'beta')

        self.assertEqual((fakelibvirt.VIR_DOMAIN_RUNNING, 1),
                         self.state_of_moved())

    def test_a_migration_that_fails_leaves_all_as_it_was(self):
        domain = self.start(macvtap('alpha'))
        before = {name: self.plane(name).snapshot() for name in VFS}
        self.world.migrations.failure = 'load of migration failed'

        self.assertRaises(fakelibvirt.libvirtError, self.migrate, domain,
                          'beta')

        self.assertEqual(before, {name: self.plane(name).snapshot()
                                  for name in VFS})
        self.assertTrue(domain.isActive())
        self.assertEqual(fakelibvirt.VIR_DOMAIN_JOB_FAILED,
                         domain.jobStats()['type'])

    def test_what_a_guest_that_refuses_makes_libvirt_say(self):
        self.world.releases['direct'] = hypervisor.REFUSES
        refused: queue.Queue = queue.Queue()
        self.world.connections['alpha'].domainEventRegisterAny(
            None, fakelibvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
            lambda connection, domain, alias, opaque: refused.put(alias),
            None)
        domain = self.start(macvtap('alpha'))

        domain.detachDeviceFlags(macvtap('alpha'), contract.LIVE)

        self.assertEqual('net0', refused.get(timeout=10))
        self.assertEqual(1, len(domain.nics()))
