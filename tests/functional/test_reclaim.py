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

"""The VF that was claimed cannot be used: the port gets another one."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import contextlib
import threading

import ddt
import fixtures
from lxml import etree
from nova import objects
from nova.objects import fields
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional.api import client

from nova_vf_failover import request
from tests.functional import crashes
from tests.simulation import errors
from tests.simulation import paper_agent

Mood = paper_agent.Mood

_OTHER_DOMAIN = """
<domain type='kvm'>
  <name>router</name>
  <uuid>0a1f1c1e-6f0e-4d51-8ae7-0f1d6a0f2f11</uuid>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <interface type='hostdev' managed='yes'>
      <mac address='fa:16:3e:0f:0f:0f'/>
      <source><address type='pci' domain='{}' bus='{}' slot='{}'
                       function='{}'/></source>
    </interface>
  </devices>
</domain>
"""


class ReclaimTestCase(base.FailoverTestCase):
    """``beta`` has two PFs."""

    VFS = {'num_pfs': 2, 'num_vfs': 8}
    MACHINE = 'pc'

    def setUp(self):
        super().setUp()
        self.flags(hw_machine_type=[f'x86_64={self.MACHINE}'],
                   group='libvirt')
        self.start_hosts(beta=self.VFS)
        self.server = self.boot(self.add_port())

    def vfs(self, host, status):
        """The VFs of which the tracker says so."""
        return [device.address for device
                in self.computes[host].manager.rt.pci_tracker.pci_devs
                if device.status == status and device.dev_type == 'type-VF']

    @property
    def claimed(self):
        address, = self.vfs('beta', fields.PciDeviceStatus.CLAIMED)
        return address

    @property
    def bound(self):
        """The VF of the port's binding."""
        return self.neutron.show_port(self.ports[0]['id'])['port'][
            'binding:profile']['pci_slot']

    def pf(self, address):
        return self.hosts.functions.pfs[address]

    def spoil(self, how, address):
        """Make a VF of beta useless."""
        plane = self.plane('beta')
        if how == 'gone':
            self.hosts.lose_vf('beta', address)
        elif how == 'down':
            plane.links[self.pf(address)].up = False
        elif how == 'unplugged':
            plane.links[self.pf(address)].carrier = False
        else:
            self.occupy(address)

    def occupy(self, address):
        """Somebody has started a domain with it, past Nova."""
        domain, bus, rest = address.split(':')
        self.hosts.world.connections['beta'].defineXML(_OTHER_DOMAIN.format(
            *(f'0x{part}' for part in (domain, bus, *rest.split('.'))))
        ).createWithFlags(0)


@ddt.ddt
class OtherVFTestCase(ReclaimTestCase):

    @ddt.data('gone', 'down', 'unplugged')
    def test_claimed_vf_is(self, how):
        self.hold_the_copy(self.server)
        first = self.claimed
        self.spoil(how, first)

        self.finish(self.server)

        self.assertWorld(self.server, 'beta')
        self.assertNotEqual(first, self.bound)
        if how != 'gone':
            self.assertNotEqual(self.pf(first), self.pf(self.bound))
            self.assertIn(first, self.vfs('beta', 'available'))

    def test_claimed_vf_is_in_another_domain(self):
        self.hold_the_copy(self.server)
        first = self.claimed
        self.spoil('busy', first)

        self.finish(self.server)

        self.assertPorts(self.server, 'beta')
        self.assertNotEqual(first, self.bound)
        self.assertIn(f'VF {first} is in the domain of server 0a1f1c1e',
                      self.stdlog.logger.output)

    def test_also_for_a_guest_that_stays_on_its_standby(self):
        self.hold_the_copy(self.server)
        first = self.claimed
        self.spoil('gone', first)
        self.agent.mood = Mood.STUCK

        self.finish(self.server)

        self.assertWorld(self.server, 'beta', base.STANDBY)
        self.assertNotEqual(first, self.bound)
        # What starts it anew takes the VF that it has.
        self._reboot_server(self.server, hard=True)
        self.assertWorld(self.server, 'beta')

    def test_cache_and_instance_follow(self):
        self.hold_the_copy(self.server)
        self.spoil('gone', self.claimed)

        self.finish(self.server)

        instance = objects.Instance.get_by_uuid(
            self.ctxt, self.server['id'],
            expected_attrs=['info_cache', 'pci_devices'])
        vif, = instance.get_network_info()
        self.assertEqual(self.bound, vif['profile']['pci_slot'])
        device, = instance.pci_devices
        self.assertEqual(self.bound, device.address)

    def test_and_it_can_go_on_from_there(self):
        self.hold_the_copy(self.server)
        self.spoil('gone', self.claimed)
        self.finish(self.server)

        self.migrate(self.server)

        self.assertWorld(self.server, 'alpha')

    def test_on_the_source_after_an_abort(self):
        self.hold_the_copy(self.server)
        first = self.bound
        self.hosts.lose_vf('alpha', first)

        self.abort(self.server, 'running')

        self.assertWorld(self.server, 'alpha')
        self.assertNotEqual(first, self.bound)

    def test_other_ports_keep_theirs(self):
        self._delete_server(self.server)
        self.ports.clear()
        self.server = self.boot(self.add_port(), self.add_port('43'))
        self.hold_the_copy(self.server)
        lost, kept = self.vfs('beta', fields.PciDeviceStatus.CLAIMED)
        self.spoil('gone', lost)

        self.finish(self.server)

        self.assertWorld(self.server, 'beta')
        self.assertIn(kept, self.vfs('beta', 'allocated'))

    def test_allocations_of_placement_stay(self):
        self.flags(report_in_placement=True, group='pci')
        self._run_periodics()
        self.hold_the_copy(self.server)
        before = self._get_allocations_by_server_uuid(self.server['id'])
        self.spoil('down', self.claimed)

        self.finish(self.server)

        self.assertWorld(self.server, 'beta')
        self.assertEqual(
            {provider: has['resources'] for provider, has in before.items()},
            {provider: has['resources'] for provider, has in
             self._get_allocations_by_server_uuid(
                 self.server['id']).items()})

    def arrive_without_vf(self):
        """Migrate to beta, where a VF is claimed that cannot be attached."""
        plane = self.plane('beta')
        assign_vf = plane.assign_vf
        self.hold_the_copy(self.server)
        first = self.claimed

        def refuse(guest, nic):
            if nic.vf == first:
                raise errors.system(
                    f'Failed to bind {first} to driver vfio-pci: busy')
            assign_vf(guest, nic)

        plane.assign_vf = refuse
        self.finish(self.server)
        self.assertWorld(self.server, 'beta', base.STANDBY)
        self.assertEqual(first, self.bound)
        return first

    def test_vf_that_cannot_be_attached_twice(self):
        first = self.arrive_without_vf()

        self.recover('beta')

        self.assertWorld(self.server, 'beta')
        self.assertNotEqual(first, self.bound)

    def test_vf_is_exchanged_while_its_port_is_detached(self):
        """Nova has read by then which VF it is going to free."""
        first = self.arrive_without_vf()
        go_on = self.hold_recovery(self.server, 'beta')
        driver = self.computes['beta'].driver
        # In the harness the answer of the API waits for nova-compute.
        detaching = threading.Thread(target=self.fail_to_detach)
        detaching.start()
        self.until(lambda: driver._operations._running[
            self.server['id']].cancelled.is_set())

        go_on.set()

        detaching.join(60)
        driver._recovery.settle(60)
        self.assertIn(f'another VF in place of {first} meanwhile',
                      self.stdlog.logger.output)
        self.assertEqual([self.bound], self.vfs('beta', 'allocated'))
        self.assertNotEqual(first, self.bound)
        self._detach_interface(self.server, self.ports[0]['id'])
        self.assertEqual([], self.vfs('beta', 'allocated'))
        self.assertEqual([], self.domain('beta', self.server).nics())
        self.assertEqual([], self.entries('beta', self.server))
        instance = objects.Instance.get_by_uuid(
            self.ctxt, self.server['id'], expected_attrs=['pci_requests'])
        self.assertEqual([], instance.pci_requests.requests)

    def fail_to_detach(self):
        error = self.assertRaises(
            client.OpenStackApiException, self.api.detach_interface,
            self.server['id'], self.ports[0]['id'])
        self.assertIn('InterfaceDetachFailed', str(error))

    @ddt.data(
        'nova.network.neutron.API.setup_instance_network_on_host',
        'nova.compute.resource_tracker.ResourceTracker.unclaim_pci_devices',
        'nova.compute.resource_tracker.ResourceTracker.'
        'allocate_pci_devices_for_instance')
    def test_nova_compute_ends_in(self, method):
        crashes.skip_where_nova_loses_the_server(self)
        callers = self.useFixture(crashes.Callers())
        self.hold_the_copy(self.server)
        self.spoil('gone', self.claimed)
        died = threading.Event()
        begun = threading.Event()

        # Nova allocates what was claimed before it asks the driver.
        driver = self.computes['beta'].driver
        arrive = driver.post_live_migration_at_destination

        def arrived(*arguments):
            with fixtures.MonkeyPatch(method, crashes.dying(died)):
                begun.set()
                arrive(*arguments)

        driver.post_live_migration_at_destination = arrived
        self.hosts.world.migrations.proceed.set()
        self.assertTrue(died.wait(60))
        self.restart_host('beta')
        callers.time_out()
        # Nova's word for a migration whose last step was not answered.
        self._wait_for_migration_status(self.server, ['error', 'failed'])
        self._wait_for_state_change(self.server, 'ERROR')

        self.recover('beta')

        self.assertWorld(self.server, 'beta', status='ERROR')


class NoOtherVFTestCase(ReclaimTestCase):

    VFS = {'num_vfs': 1}

    def test_is_degraded_until_there_is_one(self):
        self.hold_the_copy(self.server)
        address = self.claimed
        name = self.pf(address)
        del self.hosts.functions.pfs[address]

        self.finish(self.server)

        self.assertEqual(['direct'], [
            nic.kind for nic in self.domain('beta', self.server).nics()])
        entry, = self.entries('beta', self.server)
        self.assertIn('no VF of this host can be used', entry.reason)
        self.assertIn(f'VF {address} has gone', entry.reason)
        told, = self.told('failback.degraded')
        self.assertIn('no VF of this host can be used', told['error'])
        self.recover('beta')
        entry, = self.entries('beta', self.server)
        self.assertEqual(1, entry.attempts)
        # The tracker's VF is the server's still, and nobody else's.
        self.assertEqual([address], self.vfs('beta', 'allocated'))

        self.hosts.functions.pfs[address] = name
        self.flags(recovery_longest_pause=1, group='vf_failover')
        self.until(lambda: entry.next_attempt < base.time.time())
        self.recover('beta')

        self.assertWorld(self.server, 'beta')


class FullGuestTestCase(ReclaimTestCase):
    """A guest that has no PCI slot left for its VF."""

    MACHINE = 'q35'

    def plug(self, number):
        """Somebody attaches a NIC, past Nova."""
        mac = f'fa:16:3e:01:00:{number:02x}'
        self.domain('beta', self.server).attachDeviceFlags(
            f"<interface type='bridge'><mac address='{mac}'/>"
            "<source bridge='br-int'/></interface>",
            fakelibvirt.VIR_DOMAIN_AFFECT_LIVE)

    def unplug_one(self):
        running = self.domain('beta', self.server)
        added = next(element for element in running._interfaces()
                     if element.get('type') == 'bridge')
        running.detachDeviceFlags(
            etree.tostring(added, encoding='unicode'),
            fakelibvirt.VIR_DOMAIN_AFFECT_LIVE)
        self.until(lambda: added.getparent() is None)

    def try_again(self):
        request.write(self.domain('beta', self.server))
        self.recover('beta')

    def test_its_vf_is_not_to_blame(self):
        self.agent.mood = Mood.ORPHANED
        self.migrate(self.server)
        self.agent.mood = Mood.GOOD
        bound = self.bound
        number = 0
        with contextlib.suppress(fakelibvirt.libvirtError):
            while True:
                number += 1
                self.plug(number)

        self.try_again()
        self.try_again()

        entry, = self.entries('beta', self.server)
        self.assertIn('no free PCI slot', entry.reason)
        self.assertEqual(2, entry.attempts)
        self.assertEqual(bound, self.bound)
        self.assertNotIn('another one is taken', self.stdlog.logger.output)
        self.unplug_one()
        self.try_again()
        self.assertEqual([], self.entries('beta', self.server))
        self.assertEqual(bound, self.bound)
