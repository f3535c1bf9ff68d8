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

"""What a crash has left is finished or undone when nova-compute is back."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import threading
from unittest import mock

import ddt
import fixtures
import futurist
from lxml import etree
from neutronclient.common import exceptions as neutron_client_exc

from nova_vf_failover import journal
from tests.functional import crashes
from tests.simulation import errors
from tests.simulation import guest_agent
from tests.simulation import hypervisor

# Before Nova's harness has it wait for what runs there, which is not how a
# nova-compute ends (bug 1946339).
_SHUTDOWN = futurist.GreenThreadPoolExecutor.shutdown


class CrashTestCase(base.TwoPortsTestCase):

    def setUp(self):
        super().setUp()
        self.flags(rpc_response_timeout=60, long_rpc_timeout=60)
        self.callers = self.useFixture(crashes.Callers())

    def restart_host(self, name):
        super().restart_host(name)
        self.callers.time_out()

    def die(self, death, host):
        """Migrate, and end the nova-compute of a host in the middle."""
        with death:
            self.begin_migration(self.server)
            self.hosts.world.migrations.proceed.set()
            self.assertTrue(death.died.wait(30))
        self.restart_host(host)

    def assertRecovered(self, host, status='ACTIVE'):
        self.assertReachable(self.server, host)
        self.recover(host)
        self.assertWorld(self.server, host, status=status)


@ddt.ddt
class SourceTestCase(CrashTestCase):
    """It ends during a failover: the server is back where it was."""

    # attaching, switching, detaching, and standby for each of two ports
    @ddt.data(*crashes.moments(5))
    @ddt.unpack
    def test_ends(self, number, before):
        self.die(crashes.Death(number, before), 'alpha')
        self._wait_for_state_change(self.server, 'ACTIVE')

        self.assertRecovered('alpha')

    def test_vf_that_the_guest_has_yet_to_let_go(self):
        # It ends when it has said what it will do, and has asked the guest.
        self.die(crashes.Death(3, before=False), 'alpha')
        self._wait_for_state_change(self.server, 'ACTIVE')
        answers = self.hosts.world.answers
        answers.clear()
        self.addCleanup(answers.set)
        domain = self.domain('alpha', self.server)
        detach = domain.detachDeviceFlags
        for element in etree.fromstring(domain.XMLDesc(0)).iterfind(
                './devices/interface[@type="hostdev"]'):
            detach(etree.tostring(element, encoding='unicode'), 3)
        asked = []

        def ask_again(xml, flags):
            asked.append(xml)
            try:
                detach(xml, flags)
            finally:
                answers.set()

        domain.detachDeviceFlags = ask_again
        self.flags(device_detach_timeout=10, group='libvirt')

        self.recover('alpha')

        answers.set()
        self.until(lambda: not domain._unplugging)
        self.assertWorld(self.server, 'alpha')
        self.assertTrue(asked)

    def test_vf_that_the_guest_keeps(self):
        self.die(crashes.Death(3, before=False), 'alpha')
        self._wait_for_state_change(self.server, 'ACTIVE')
        self.hosts.world.releases['hostdev'] = hypervisor.REFUSES

        self.recover('alpha')

        self.assertWorld(self.server, 'alpha')
        self.assertEqual(2, self.plane('alpha').calls.count('assign_vf'))


@ddt.ddt
class DestinationTestCase(CrashTestCase):
    """It ends during a failback: the server gets its VFs there."""

    def die(self, death, host):
        crashes.skip_where_nova_loses_the_server(self)
        super().die(death, host)

    # returning, clearing, and the end of each of two ports; after that there
    # is nothing unfinished but what Nova does by itself
    @ddt.data(*crashes.moments(4)[:-1])
    @ddt.unpack
    def test_ends(self, number, before):
        # The source has written five times.
        self.die(crashes.Death(number + 5, before), 'beta')

        self.assertArrives()

    def test_vf_that_has_gone_meanwhile(self):
        # It ends before the standbys are detached.
        self.die(crashes.Death(2 + 5, before=False), 'beta')
        domain = self.domain('beta', self.server)
        for element in etree.fromstring(domain.XMLDesc(0)).iterfind(
                './devices/interface[@type="hostdev"]'):
            domain.detachDeviceFlags(
                etree.tostring(element, encoding='unicode'), 1)
        self.until(lambda: not domain._unplugging)
        self._wait_for_migration_status(self.server, ['error', 'failed'])
        self._wait_for_state_change(self.server, 'ERROR')
        unplug, alone = hypervisor.Domain._unplug, []

        def look(domain, element):
            mac = element.find('mac').get('address')
            if [nic.mac for nic in domain.nics()].count(mac) < 2:
                alone.append(mac)
            unplug(domain, element)

        self.useFixture(fixtures.MonkeyPatch(
            'tests.simulation.hypervisor.Domain._unplug', look))

        self.recover('beta')

        self.assertWorld(self.server, 'beta', status='ERROR')
        # No NIC has gone without another one of its port in its place.
        self.assertEqual([], alone)

    def test_bindings_that_the_source_could_not_activate(self):
        with fixtures.MockPatchObject(
                self.neutron, 'activate_port_binding',
                side_effect=neutron_client_exc.InternalServerError()):
            self.begin_migration(self.server)
            self.hosts.world.migrations.proceed.set()
            self._wait_for_migration_status(self.server, ['error', 'failed'])
            self._wait_for_state_change(self.server, 'ERROR')

        self.assertArrives()

    def test_ends_before_it_was_told_of_the_arrival(self):
        crashes.skip_where_nova_loses_the_server(self)
        died = threading.Event()
        with fixtures.MonkeyPatch(
                'nova.compute.manager.ComputeManager.'
                'post_live_migration_at_destination', crashes.dying(died)):
            self.begin_migration(self.server)
            self.hosts.world.migrations.proceed.set()
            self.assertTrue(died.wait(30))
            self.restart_host('beta')

            self.assertArrives()

    def assertArrives(self):
        self._wait_for_migration_status(self.server, ['error', 'failed'])
        self._wait_for_server_parameter(
            self.server, {'OS-EXT-SRV-ATTR:host': 'beta',
                          'OS-EXT-STS:task_state': None})
        # Nova's word for a migration whose last step was not answered.
        self.assertRecovered('beta', 'ERROR')


class AbandonedTestCase(CrashTestCase):
    """Nobody goes on with a migration, and no port is in the journal."""

    def die_in(self, method, host):
        died = threading.Event()
        with fixtures.MonkeyPatch(
                f'nova.compute.manager.ComputeManager.{method}',
                crashes.dying(died)):
            self.begin_migration(self.server)
            self.hosts.world.migrations.proceed.set()
            self.assertTrue(died.wait(30))
        self.restart_host(host)

    def migration(self):
        return self.api.api_get('/os-migrations').body['migrations'][0]

    def test_the_source_ended_before_the_copy(self):
        self.die_in('_do_live_migration', 'alpha')
        self._wait_for_state_change(self.server, 'ACTIVE')

        # What one look finds may be about to end by itself.
        self.recover('alpha')
        self.assertEqual('queued', self.migration()['status'])
        self.recover('alpha')

        self.assertEqual('failed', self.migration()['status'])
        self.assertWorld(self.server, 'alpha')

    def test_the_source_ended_when_the_server_had_left(self):
        self.die_in('_clean_instance_console_tokens', 'alpha')
        self._wait_for_server_parameter(
            self.server, {'OS-EXT-SRV-ATTR:host': 'beta',
                          'OS-EXT-STS:task_state': None})

        self.recover('beta')
        self.recover('beta')

        self.assertEqual('completed', self.migration()['status'])
        self.assertWorld(self.server, 'beta')

    def test_the_source_was_stopped_while_it_was_queued(self):
        other = self._create_server(networks='none', host='alpha')
        self.hold_the_copy(other)
        self.begin_migration(self.server)
        self._wait_for_migration_status(self.server, ['queued'])

        # The last step of a nova-compute that ends.
        with fixtures.MonkeyPatch(
                'futurist.GreenThreadPoolExecutor.shutdown', _SHUTDOWN):
            self.computes[
                'alpha'].manager._cleanup_live_migrations_in_pool()
        self._wait_for_migration_status(self.server, ['cancelled'])
        self.hosts.world.migrations.proceed.set()
        self._wait_for_migration_status(other, ['completed'])
        self.restart_host('alpha')
        self._wait_for_state_change(self.server, 'ACTIVE')
        self.recover('alpha')
        self.recover('alpha')

        self.assertWorld(self.server, 'alpha')
        self.migrate(self.server)
        self.assertWorld(self.server, 'beta')

    def test_one_that_has_left_nothing_is_asked_for_once(self):
        self.hold_the_copy(self.server)
        self.api.delete_migration(
            self.server['id'], self.migration()['id'])
        self._wait_for_migration_status(self.server, ['cancelled'])
        self._wait_for_server_parameter(
            self.server, {'OS-EXT-STS:task_state': None})
        placement = self.computes['alpha'].manager.reportclient

        with mock.patch.object(
                placement, 'get_allocs_for_consumer',
                wraps=placement.get_allocs_for_consumer) as asked:
            for _look in range(3):
                self.recover('alpha')

        uuid = self.migration()['uuid']
        self.assertEqual(1, sum(
            uuid in call.args for call in asked.call_args_list))

    def test_a_server_without_vfs_is_left_to_nova(self):
        self._delete_server(self.server)
        self.ports.clear()
        self.server = self._create_server(networks='none', host='alpha')
        self.die_in('_do_live_migration', 'alpha')
        self._wait_for_state_change(self.server, 'ACTIVE')

        for _look in range(3):
            self.recover('alpha')

        self.assertEqual('queued', self.migration()['status'])


class StartTestCase(CrashTestCase):
    """Nobody has to ask for it."""

    def test_first_look_is_when_nova_compute_has_started(self):
        # Within the test there is no second one.
        self.flags(recovery_interval=3600, group='vf_failover')

        self.die(crashes.Death(3, before=False), 'alpha')

        self.until(lambda: not self.entries('alpha', self.server))
        self.assertWorld(self.server, 'alpha')


class PeriodTestCase(base.FailoverTestCase):

    def test_looks_again_and_again(self):
        self.flags(recovery_interval=1, group='vf_failover')
        self.start_hosts()
        server = self.boot(self.add_port())
        self.plane('beta').fail_next(
            'assign_vf', errors.internal('no monitor'), times=3)

        self.migrate(server)

        self.until(lambda: not self.entries('beta', server))
        self.assertWorld(server, 'beta')
        self.assertIn('Attempt 1 to bring', self.stdlog.logger.output)

    def test_the_thread_ends_with_the_service(self):
        self.flags(recovery_interval=1, group='vf_failover')
        self.start_host('alpha')
        looking = {thread for thread in threading.enumerate()
                   if thread.name == 'vf-failover-recovery'}
        self.assertEqual(1, len(looking))

        self.computes['alpha'].stop()

        for thread in looking:
            thread.join(10)
            self.assertFalse(thread.is_alive())


class ManyTestCase(base.FailoverTestCase):

    def test_a_silent_guest_does_not_keep_the_others_waiting(self):
        self.start_hosts()
        silent, other = [self.boot(self.add_port()) for _server in range(2)]
        for server in (silent, other):
            self.plane('beta').fail_next(
                'assign_vf', errors.internal('no monitor'))
            self.migrate(server)
        asked, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)
        guest = self.hosts.agents[silent['id']]

        def say_nothing(argv, given):
            asked.set()
            go_on.wait(60)
            return guest.start(argv, given)

        self.hosts.world.guest_agents[silent['id']] = (
            guest_agent.QemuGuestAgent(say_nothing))

        self.computes['beta'].driver._recovery.look()

        self.until(lambda: not self.entries('beta', other))
        self.assertTrue(asked.wait(60))
        entry, = self.entries('beta', silent)
        self.assertEqual((1, journal.State.RETURNING),
                         (entry.attempts, entry.state))
        go_on.set()
        self.until(lambda: not self.entries('beta', silent))
