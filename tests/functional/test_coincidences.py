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

"""What happens between a look and the act that follows from it."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import threading

import ddt
import fixtures
from lxml import etree
from nova import exception as nova_exception
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.virt.libvirt import driver as nova_driver

from nova_vf_failover import conversation
from nova_vf_failover import domain
from nova_vf_failover import exception
from nova_vf_failover import request
from nova_vf_failover import workbench
from tests.simulation import hypervisor
from tests.simulation import paper_agent

Mood = paper_agent.Mood


@ddt.ddt
class MoveTestCase(base.TwoPortsTestCase):

    def test_aborted_while_the_guest_lets_the_vf_go(self):
        answers = self.hosts.world.answers
        answers.clear()
        self.addCleanup(answers.set)
        asked = threading.Event()
        begin = hypervisor.Domain._begin_unplug

        def begin_unplug(*arguments):
            begin(*arguments)
            asked.set()

        self.useFixture(fixtures.MonkeyPatch(
            'tests.simulation.hypervisor.Domain._begin_unplug',
            begin_unplug))
        self.begin_migration(self.server)
        self.assertTrue(asked.wait(60))
        migration = self._wait_for_migration_status(self.server, ['running'])

        self.api.delete_migration(self.server['id'], migration['id'])
        answers.set()
        # A copy that begins all the same is not held.
        self.hosts.world.migrations.proceed.set()

        self._wait_for_migration_status(self.server, ['cancelled'])
        self._wait_for_state_change(self.server, 'ACTIVE')
        self.assertWorld(self.server, 'alpha')

    def hold_the_failover(self, refusal=None):
        """Live migrate up to where the guest is sent to its standby.

        :param refusal: what the guest answers, if it does not go
        :returns: what sends it there, and has the copy held
        """
        reached, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)
        send = conversation.Conversation.send_to_standby

        def send_to_standby(*arguments):
            reached.set()
            go_on.wait(60)
            if refusal:
                raise refusal
            return send(*arguments)

        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.conversation.Conversation.send_to_standby',
            send_to_standby))
        self.begin_migration(self.server)
        self.assertTrue(reached.wait(60))
        return go_on

    def force(self):
        """Force the live migration through the API."""
        migration = self._wait_for_migration_status(self.server, ['running'])
        self.api.force_complete_migration(self.server['id'], migration['id'])

    def state(self):
        return self.domain('alpha', self.server).info()[0]

    def test_forced_while_the_guest_is_sent_to_its_standby(self):
        go_on = self.hold_the_failover()
        self.force()
        # libvirt has a job before QEMU copies, and nothing is forced then.
        stats, before = hypervisor.Domain.jobStats, []

        def job_stats(domain, flags=0):
            before.append(self.state())
            return stats(domain, flags) | (
                {'memory_total': 0} if len(before) < 3 else {})

        self.useFixture(fixtures.MonkeyPatch(
            'tests.simulation.hypervisor.Domain.jobStats', job_stats))
        self.assertEqual(fakelibvirt.VIR_DOMAIN_RUNNING, self.state())

        go_on.set()

        self.until(lambda: self.state() == fakelibvirt.VIR_DOMAIN_PAUSED)
        self.assertTrue(self.hosts.world.migrations.running.is_set())
        self.assertEqual([fakelibvirt.VIR_DOMAIN_RUNNING] * 3, before[:3])
        self.finish(self.server)
        self.assertWorld(self.server, 'beta')

    def test_a_force_is_forgotten_with_its_migration(self):
        go_on = self.hold_the_failover(exception.GuestRefused('Not now.'))
        self.force()
        go_on.set()
        self._wait_for_migration_status(self.server, ['failed'])
        self._wait_for_state_change(self.server, 'ACTIVE')

        forced = self.computes['alpha'].driver._forced
        self.until(lambda: self.server['id'] not in forced._asked)
        self.assertWorld(self.server, 'alpha')

    def test_a_vf_leaves_the_host_as_it_leaves_the_guest(self):
        unplugged = []

        def has_gone(_driver, _instance, vif):
            unplugged.append(vif['id'])
            raise nova_exception.PciDeviceNotFoundById(
                id=vif['profile']['pci_slot'])

        with fixtures.MonkeyPatch(
                'nova.virt.libvirt.vif.LibvirtGenericVIFDriver.unplug',
                has_gone):
            self.hold_the_copy(self.server)
        self.assertEqual([port['id'] for port in self.ports], unplugged)
        self.hosts.world.migrations.proceed.set()

        self._wait_for_migration_status(self.server, ['completed'])
        self._wait_for_state_change(self.server, 'ACTIVE')
        self.assertWorld(self.server, 'beta')

    @ddt.data(True, False)
    def test_nova_cannot_note_down_a_nic_that_is_attached(self, primary):
        attach = nova_driver.LibvirtDriver.attach_interface
        failed = []

        def attach_interface(driver, context, instance, image, vif):
            attach(driver, context, instance, image, vif)
            if (vif['vnic_type'] == 'direct') is primary:
                failed.append(vif['id'])
                raise nova_exception.InterfaceAttachFailed(
                    instance_uuid=instance.uuid)

        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.driver.LibvirtDriver.attach_interface',
            attach_interface))

        self.migrate(self.server)

        self.assertEqual({port['id'] for port in self.ports}, set(failed))
        self.assertWorld(self.server, 'beta')

    def test_a_failback_that_nothing_was_thought_of_for_says_why(self):
        with fixtures.MockPatch(
                'nova_vf_failover.conversation.Conversation.arm',
                side_effect=OSError('no socket')):
            self.migrate(self.server)

        self.assertEqual(2 * ['OSError: no socket'], [
            entry.reason for entry in self.entries('beta', self.server)])
        self.assertReachable(self.server, 'beta')

    def test_a_standby_that_was_asked_for_is_not_used_again(self):
        self.hosts.world.releases['direct'] = hypervisor.IGNORES
        self.migrate(self.server)
        self.assertEqual({'hostdev', 'direct'}, {
            nic.kind for nic in self.domain('beta', self.server).nics()})
        del self.hosts.world.releases['direct']
        attach = hypervisor.Domain.attachDeviceFlags
        attached = []

        def attach_device(domain, xml, flags=0):
            if flags & fakelibvirt.VIR_DOMAIN_AFFECT_LIVE:
                attached.append("type='direct'" in xml.replace('"', "'"))
            attach(domain, xml, flags)

        self.useFixture(fixtures.MonkeyPatch(
            'tests.simulation.hypervisor.Domain.attachDeviceFlags',
            attach_device))

        self.hold_the_copy(self.server)

        self.assertEqual([True, True], attached)
        self.hosts.world.migrations.proceed.set()
        self._wait_for_migration_status(self.server, ['completed'])
        self._wait_for_state_change(self.server, 'ACTIVE')
        self.assertWorld(self.server, 'alpha')


class RecoveryTestCase(base.TwoPortsTestCase):

    def setUp(self):
        super().setUp()
        self.agent.mood = Mood.ORPHANED
        self.migrate(self.server)
        self.agent.mood = Mood.GOOD

    def lose_from_the_cache(self, port):
        """Have Nova take a port for none of the server's."""
        network_info = workbench.Workbench.network_info

        def without(bench, context, instance):
            return type(instance.get_network_info())(
                vif for vif in network_info(bench, context, instance)
                if vif['id'] != port['id'])

        return fixtures.MonkeyPatch(
            'nova_vf_failover.workbench.Workbench.network_info', without)

    def test_a_port_that_the_cache_has_lost_keeps_its_network(self):
        with self.lose_from_the_cache(self.ports[0]):
            self.recover('beta')

            entry, = self.entries('beta', self.server)
            self.assertEqual(self.ports[0]['id'], entry.port)
            self.assertIn('Neutron has bound the port to no VF', entry.reason)
            self.assertReachable(self.server, 'beta')

        # A request does not wait for the next attempt.
        request.write(self.domain('beta', self.server))
        self.recover('beta')
        self.assertWorld(self.server, 'beta')

    def test_asked_for_during_an_attempt(self):
        running = self.domain('beta', self.server)
        network_info = workbench.Workbench.network_info

        def ask(*arguments):
            request.write(running, 1764000000.0)
            return network_info(*arguments)

        with fixtures.MonkeyPatch(
                'nova_vf_failover.workbench.Workbench.network_info', ask):
            self.recover('beta')

        self.assertEqual(request.Request(1764000000.0), request.read(running))
        self.recover('beta')
        self.assertIsNone(request.read(running))
        self.assertWorld(self.server, 'beta')

    def test_a_port_that_is_deleted_leaves_no_nic(self):
        # Nova tries to take it out once, when Neutron tells of it, and our
        # own work on the server may be in its way.
        gone, kept = self.ports
        with fixtures.MockPatch(
                'nova_vf_failover.conversation.Conversation.await_primary',
                side_effect=exception.ChannelError('silence')):
            self.recover('beta')
        self.neutron._ports.pop(gone['id'])
        self.assertEqual(
            2 * [kept['mac_address']] + 2 * [gone['mac_address']],
            sorted((nic.mac for nic in self.domain(
                'beta', self.server).nics()), reverse=True))

        request.write(self.domain('beta', self.server))
        self.recover('beta')

        self.assertEqual([(kept['mac_address'], 'hostdev')], [
            (nic.mac, nic.kind) for nic in self.domain(
                'beta', self.server).nics()])
        self.assertEqual([], self.entries('beta', self.server))

    def test_a_guest_that_keeps_a_nic_of_one_port_gets_back_the_others(self):
        gone, kept = self.ports
        self.neutron._ports.pop(gone['id'])
        detach = domain.Domain.detach_standby

        def detach_standby(guest, mac):
            if mac == gone['mac_address']:
                raise nova_exception.DeviceDetachFailed(
                    device=mac, reason='the guest does not answer')
            detach(guest, mac)

        with fixtures.MonkeyPatch(
                'nova_vf_failover.domain.Domain.detach_standby',
                detach_standby):
            self.recover('beta')

        self.assertEqual(
            {kept['mac_address']: 'hostdev', gone['mac_address']: 'direct'},
            {nic.mac: nic.kind for nic in self.domain(
                'beta', self.server).nics()})
        entry, = self.entries('beta', self.server)
        self.assertEqual(gone['id'], entry.port)
        self.assertIn('to no VF of this server', entry.reason)

    def test_a_vf_that_would_be_lost_with_the_next_start_is_not_back(self):
        with fixtures.MockPatch(
                'nova_vf_failover.conversation.Conversation.await_primary',
                side_effect=exception.ChannelError('silence')):
            self.recover('beta')
        request.write(self.domain('beta', self.server))
        with fixtures.MockPatch('nova_vf_failover.domain.Domain.keep_primary',
                                side_effect=RuntimeError('disk full')):
            self.recover('beta')

        for entry in self.entries('beta', self.server):
            self.assertIn('disk full', entry.reason)
        self.assertEqual(2, len(self.entries('beta', self.server)))
        request.write(self.domain('beta', self.server))
        self.recover('beta')
        self.assertWorld(self.server, 'beta')

    def test_cut_off_when_a_port_without_a_standby_has_its_vf(self):
        running = self.domain('beta', self.server)
        lost = self.ports[0]['mac_address']
        for element in etree.fromstring(running.XMLDesc(0)).iterfind(
                './devices/interface'):
            if element.find('mac').get('address') == lost:
                running.detachDeviceFlags(
                    etree.tostring(element, encoding='unicode'),
                    fakelibvirt.VIR_DOMAIN_AFFECT_LIVE
                    | fakelibvirt.VIR_DOMAIN_AFFECT_CONFIG)
        self.until(lambda: len(running.nics()) == 1)
        with fixtures.MockPatch(
                'nova_vf_failover.conversation.Conversation.await_primary',
                side_effect=exception.SwapCancelled('somebody comes')):
            self.recover('beta')
        self.assertEqual(2, len(running.nics()))

        arm = conversation.Conversation.arm

        def arm_over_standbys(its, ports):
            # As on the metadata channel.
            with_standby = {nic.mac for nic in running.nics()
                            if nic.kind == 'direct'}
            if {port.mac for port in ports} - with_standby:
                raise exception.ChannelError('there is no standby NIC')
            arm(its, ports)

        request.write(running)
        with fixtures.MonkeyPatch(
                'nova_vf_failover.conversation.Conversation.arm',
                arm_over_standbys):
            self.recover('beta')

        self.assertWorld(self.server, 'beta')

    def test_somebody_has_taken_the_standbys_out(self):
        running = self.domain('beta', self.server)
        for element in etree.fromstring(running.XMLDesc(0)).iterfind(
                './devices/interface'):
            running.detachDeviceFlags(
                etree.tostring(element, encoding='unicode'),
                fakelibvirt.VIR_DOMAIN_AFFECT_LIVE
                | fakelibvirt.VIR_DOMAIN_AFFECT_CONFIG)
        self.until(lambda: not running.nics())
        # Its agent cannot be asked without a network, or not at all.
        self.agent.mood = Mood.MISSING

        self.recover('beta')

        self.assertWorld(self.server, 'beta')
