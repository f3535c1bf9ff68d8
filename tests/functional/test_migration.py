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

"""Live migrations that work: what they leave is exactly what should be."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import os
import time

import fixtures
from lxml import etree
from nova import objects
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.virt import event


class NativeTestCase(base.FailoverTestCase):
    """Plain Nova on the simulated hypervisor: what we do not change."""

    PLUGIN = False

    def test_vf_is_gone_during_the_copy(self):
        self.start_hosts()
        server = self.boot(self.add_port())

        self.migrate(server)

        self.assertWorld(server, 'beta')
        self.assertEqual(['assign_vf', 'return_vf'],
                         self.plane('alpha').calls)
        self.assertEqual(['assign_vf'], self.plane('beta').calls)


class SwapTestCase(base.FailoverTestCase):

    def migrate_and_look(self, server):
        self.migrate(server)

        self.assertWorld(server, 'beta')
        events = self.events(server)
        self.assertEqual(('Success', 'Success'), (
            events['compute_vf_failover'], events['compute_vf_failback']))

    def test_a_host_whose_clock_was_ahead(self):
        """The guest took a generation that no clock has reached yet."""
        self.start_hosts()
        server = self.boot(self.add_port())
        ahead = int(time.time() + 7200) * 1000
        self.agent.generation = ahead

        self.migrate_and_look(server)

        self.assertGreater(self.agent.generation, ahead)
        self.assertLess(self.agent.generation, ahead + 10)

    def test_one_vf_on_a_vlan(self):
        self.start_hosts()
        server = self.boot(self.add_port('42'))

        self.migrate_and_look(server)

        self.assertEqual(
            ['assign_vf', 'plug_macvtap', 'connect_macvtap', 'return_vf',
             'disconnect_macvtap', 'unplug_macvtap'],
            self.plane('alpha').calls)
        self.assertEqual(
            ['plug_macvtap', 'connect_macvtap', 'assign_vf',
             'disconnect_macvtap', 'unplug_macvtap'],
            self.plane('beta').calls)

    def test_metadata_of_the_guest_names_the_vf_alone(self):
        self.start_hosts()
        server = self.boot(self.add_port('42'), self.add_port('43'))

        self.migrate_and_look(server)

        instance = objects.Instance.get_by_uuid(
            self.ctxt, server['id'], expected_attrs=['device_metadata'])
        self.assertEqual(
            sorted(element.get('slot') for element in etree.fromstring(
                self.domain('beta', server).XMLDesc(0)).iterfind(
                    './devices/interface[@type="hostdev"]/address')),
            sorted(f'0x{device.bus.address.split(":")[2][:2]}'
                   for device in instance.device_metadata.devices))

    def test_one_vf_on_a_flat_network_there_and_back(self):
        self.start_hosts()
        server = self.boot(self.add_port(vlan=None))

        self.migrate_and_look(server)
        self.migrate(server)

        self.assertWorld(server, 'alpha')

    def test_three_vfs_of_which_two_share_a_vlan(self):
        self.start_hosts()
        server = self.boot(self.add_port('42'), self.add_port('42'),
                           self.add_port('43'))

        self.migrate_and_look(server)

    def test_nova_binds_the_port_when_the_guest_has_left(self):
        """libvirt's event tells Nova so, ahead of the end of the migration.

        nova/compute/manager.py, ``handle_lifecycle_event``.
        """
        self.start_hosts()
        server = self.boot(self.add_port())
        bound = []

        def tell(step, phase):
            if (step, phase) == ('stop', 'end'):
                self.computes['alpha'].manager.handle_lifecycle_event(
                    event.LifecycleEvent(
                        server['id'],
                        event.EVENT_LIFECYCLE_MIGRATION_COMPLETED))
                bound.append({
                    host: binding['status'] for host, binding in
                    self.neutron._port_bindings[
                        self.ports[0]['id']].items()})

        self.hosts.world.migrations.observer = tell

        self.migrate_and_look(server)

        self.assertEqual(
            [{'alpha': 'INACTIVE', 'beta': 'ACTIVE'}], bound)

    def test_vf_beside_a_normal_port(self):
        self.start_hosts()
        port = self.add_port()
        server = self._create_server(host='alpha', networks=[
            {'uuid': self.neutron.network_1['id']}, {'port': port['id']}])
        self.hosts.add_guest(server['id'])

        self.migrate_and_look(server)

        kinds = [nic.kind for nic in self.domain('beta', server).nics()]
        self.assertEqual(2, len(kinds))

    def test_vf_bound_to_a_numa_node(self):
        self.start_hosts(alpha={'numa_node': 0}, beta={'numa_node': 1})
        flavor = self._create_flavor(
            vcpu=2, extra_spec={'hw:cpu_policy': 'dedicated'})
        server = self.boot(self.add_port(), flavor_id=flavor)

        self.migrate_and_look(server)

    def test_pci_in_placement(self):
        self.flags(report_in_placement=True, group='pci')
        self.flags(pci_in_placement=True, group='filter_scheduler')
        self.start_hosts()
        server = self.boot(self.add_port())

        self.migrate_and_look(server)

    def test_vlan_device_of_the_operator_stays(self):
        self.start_hosts()
        for name in ('alpha', 'beta'):
            plane = self.plane(name)
            plane.add_vlan(f'{name}pf0', f'{name}pf0.42', 42)
            self.clean[name] = plane.snapshot()
        server = self.boot(self.add_port('42'))

        self.migrate_and_look(server)

    def test_server_without_vf_ports_is_novas(self):
        self.start_hosts()
        server = self._create_server(networks='none', host='alpha')
        looked = self.useFixture(fixtures.MockPatch(
            'nova_vf_failover.workbench.Workbench.domain')).mock

        self.migrate(server)

        looked.assert_not_called()
        self.assertNotIn('compute_vf_failover', self.events(server))
        self.assertEqual(
            'beta', self.api.get_server(server['id'])[
                'OS-EXT-SRV-ATTR:host'])

    def test_q35_with_enough_ports(self):
        self.flags(hw_machine_type=['x86_64=q35'], num_pcie_ports=8,
                   group='libvirt')
        self.start_hosts()
        server = self.boot(self.add_port(), self.add_port())

        self.migrate_and_look(server)


class MixedFleetTestCase(base.FailoverTestCase):
    """Between two hosts of which one has no plugin."""

    def assertNative(self, server):
        self.assertWorld(server, 'beta')
        self.assertNotIn('plug_macvtap', self.plane('alpha').calls)
        self.assertNotIn('compute_vf_failover', self.events(server))

    def test_destination_without_the_plugin(self):
        self.start_hosts(beta={'plugin': False})
        server = self.boot(self.add_port())

        self.migrate(server)

        self.assertNative(server)

    def test_destination_without_the_plugin_is_not_wanted(self):
        self.flags(peer_without_plugin='abort', group='vf_failover')
        self.start_hosts(beta={'plugin': False})
        server = self.boot(self.add_port())

        self.migrate(server, 'failed')

        self.assertWorld(server, 'alpha')
        self.assertIn('does not answer the offer', self.stdlog.logger.output)

    def test_source_without_the_plugin(self):
        self.start_hosts(alpha={'plugin': False})
        server = self.boot(self.add_port())

        self.migrate(server)

        self.assertNative(server)


class DegradedTestCase(base.FailoverTestCase):
    """The VF cannot be attached on the destination."""

    def degraded(self, *ports):
        self.start_hosts()
        server = self.boot(*ports or [self.add_port()])
        self.plane('beta').fail_next('assign_vf', fakelibvirt.libvirtError(
            'Unable to read from monitor: Connection reset by peer'))
        self.migrate(server)
        return server

    def test_server_is_active_and_reachable(self):
        server = self.degraded()

        self.assertWorld(server, 'beta', base.STANDBY)
        self.assertEqual('Error', self.events(server)['compute_vf_failback'])

    def test_its_standby_is_virtio_whatever_the_image_says(self):
        # As Nova has it of a macvtap on each host (designer.py,
        # set_vif_host_backend_direct_config); the agent knows it by that.
        for image in self.glance.images.values():
            image['properties']['hw_vif_model'] = 'e1000'

        server = self.degraded()

        standby, = etree.fromstring(
            self.domain('beta', server).XMLDesc(0)).findall(
                './devices/interface')
        self.assertEqual('direct', standby.get('type'))
        self.assertEqual('virtio', standby.find('model').get('type'))

    def test_hard_reboot_gives_the_vf_back(self):
        server = self.degraded(self.add_port(vlan=None))

        self._reboot_server(server, hard=True)

        self.assertWorld(server, 'beta')

    def test_it_can_be_live_migrated(self):
        server = self.degraded()

        self.migrate(server)

        self.assertWorld(server, 'alpha')

    def test_one_of_three_vfs_fails(self):
        ports = [self.add_port(), self.add_port(), self.add_port()]
        server = self.degraded(*ports)

        self.assertReachable(server, 'beta')
        kinds = sorted(nic.kind for nic in self.domain(
            'beta', server).nics())
        self.assertEqual(['direct', 'hostdev', 'hostdev'], kinds)

    def test_its_port_can_be_detached(self):
        server = self.degraded()

        self._detach_interface(server, self.ports[0]['id'])

        self.assertEqual([], self.domain('beta', server).nics())
        self.assertEqual(self.clean['beta'], self.plane('beta').snapshot())

    def test_its_port_can_be_detached_while_it_is_off(self):
        server = self.degraded()
        self._stop_server(server)

        self._detach_interface(server, self.ports[0]['id'])

        self.assertNotIn(
            '<interface', self.domain('beta', server).XMLDesc(0))
        self.assertEqual(self.clean['beta'], self.plane('beta').snapshot())

    def test_it_can_be_deleted(self):
        server = self.degraded()

        self._delete_server(server)

        self._run_periodics()
        self.assertEqual(self.clean['beta'], self.plane('beta').snapshot())

    def test_it_can_be_cold_migrated(self):
        server = self.degraded()
        # There are no disks in this cloud that could be copied.
        for name, value in (('_get_instance_disk_info', []),
                            ('_is_path_shared_with', True)):
            self.useFixture(fixtures.MockPatch(
                f'nova.virt.libvirt.driver.LibvirtDriver.{name}',
                return_value=value))
        os.makedirs(os.path.join(base.CONF.instances_path, server['id']))

        self.api.post_server_action(server['id'], {'migrate': None})
        server = self._wait_for_state_change(server, 'VERIFY_RESIZE')
        self.api.post_server_action(server['id'], {'confirmResize': None})
        server = self._wait_for_state_change(server, 'ACTIVE')

        self.assertWorld(server, 'alpha')

    def test_a_host_without_the_plugin_is_not_for_it(self):
        server = self.degraded()
        self.start_host('gamma', plugin=False)
        self.clean['gamma'] = self.plane('gamma').snapshot()

        self.migrate(server, 'failed', host='gamma')

        # The undoing of the migration was a second try of its failback.
        self.assertWorld(server, 'beta')
        self.assertIn('does not answer the offer', self.stdlog.logger.output)
