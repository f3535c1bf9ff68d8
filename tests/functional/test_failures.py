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

"""What fails or is aborted on the way: the guest is never without network."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import functools
import threading

import ddt
import fixtures
from nova.compute import vm_states
from nova.tests.fixtures import libvirt as fakelibvirt

from nova_vf_failover import driver
from nova_vf_failover import failover
from nova_vf_failover import journal
from nova_vf_failover import swap
from tests.functional import crashes
from tests.simulation import errors
from tests.simulation import hypervisor
from tests.simulation import paper_agent

Mood = paper_agent.Mood


@ddt.ddt
class UndoneTestCase(base.TwoPortsTestCase):
    """Everything is as it was on the source."""

    def assertUndone(self):
        self.assertWorld(self.server, 'alpha')

    def test_running_migration_is_aborted(self):
        self.hold_the_copy(self.server)

        self.abort(self.server, 'running')

        self.assertUndone()
        self.assertEqual('Success', self.events(self.server)[
            'compute_vf_failback'])

    def test_queued_migration_is_aborted(self):
        other = self._create_server(networks='none', host='alpha')
        self.hold_the_copy(other)
        self.begin_migration(self.server)

        self.abort(self.server, 'queued')

        self.hosts.world.migrations.proceed.set()
        self._wait_for_migration_status(other, ['completed'])
        self.assertUndone()
        self.assertNotIn('compute_vf_failover', self.events(self.server))

    def test_qemu_fails(self):
        self.hosts.world.migrations.failure = 'load of migration failed'

        self.migrate(self.server, 'failed')

        self.assertUndone()

    def test_answer_of_libvirt_is_lost(self):
        migrate = hypervisor.Domain.migrateToURI3

        def lose(*arguments, **keywords):
            migrate(*arguments, **keywords)
            raise hypervisor.errors.internal('client socket is closed')

        self.useFixture(fixtures.MonkeyPatch(
            'tests.simulation.hypervisor.Domain.migrateToURI3', lose))

        self.migrate(self.server)

        self.assertWorld(self.server, 'beta')

    def test_libvirt_is_lost_while_the_guest_lets_the_vf_go(self):
        answers = self.hosts.world.answers

        def ask_again(detach):
            try:
                detach()
            finally:
                # The guest has taken its time.
                answers.set()

        self._lose_the_first_answer(ask_again)

        self.migrate(self.server, 'failed')

        self.assertUndone()

    def test_libvirt_is_lost_and_the_vf_goes_as_it_is_asked_for_again(self):
        answers = self.hosts.world.answers
        end = hypervisor.Domain._end_unplug
        gone = threading.Event()

        def end_unplug(*args):
            end(*args)
            gone.set()

        def ask_again(detach):
            answers.set()
            self.assertTrue(gone.wait(60))
            detach()

        self.useFixture(fixtures.MonkeyPatch(
            'tests.simulation.hypervisor.Domain._end_unplug', end_unplug))
        self._lose_the_first_answer(ask_again)

        self.migrate(self.server, 'failed')

        self.assertUndone()

    def _lose_the_first_answer(self, ask_again):
        """The guest lets no VF go until answers are allowed.

        :param ask_again: given the second request for a VF, and all others
        """
        answers = self.hosts.world.answers
        answers.clear()
        self.addCleanup(answers.set)
        detach = hypervisor.Domain.detachDeviceFlags
        asked = []

        def lose_the_first_answer(domain, xml, flags=0):
            request = functools.partial(detach, domain, xml, flags)
            if not flags & fakelibvirt.VIR_DOMAIN_AFFECT_LIVE:
                request()
                return
            asked.append(xml)
            if len(asked) > 1:
                ask_again(request)
                return
            request()
            raise hypervisor.errors.internal('client socket is closed')

        self.useFixture(fixtures.MonkeyPatch(
            'tests.simulation.hypervisor.Domain.detachDeviceFlags',
            lose_the_first_answer))

    def test_then_it_works(self):
        self.hosts.world.migrations.failure = 'load of migration failed'
        self.migrate(self.server, 'failed')
        self.hosts.world.migrations.failure = None

        # Until its next periodic task Nova keeps the claims of the first try
        # and would never free them after a second one.
        self.assertUndone()
        self.migrate(self.server)

        self.assertWorld(self.server, 'beta')

    def test_guest_goes_back_by_itself(self):
        self.agent.mood = Mood.FAILING

        self.migrate(self.server, 'failed')

        self.assertUndone()
        self.assertEqual('Error', self.events(self.server)[
            'compute_vf_failover'])

    def test_guest_keeps_the_vf(self):
        self.hosts.world.releases['hostdev'] = hypervisor.IGNORES

        self.migrate(self.server, 'failed')

        self.assertUndone()

    def test_guest_refuses_to_let_the_vf_go(self):
        self.hosts.world.releases['hostdev'] = hypervisor.REFUSES

        self.migrate(self.server, 'failed')

        self.assertUndone()

    @ddt.data('alpha', 'beta')
    def test_macvtap_cannot_be_created(self, host):
        self.plane(host).fail_next(
            'plug_macvtap', hypervisor.errors.system(
                'error creating macvtap interface: Device or resource busy'))

        self.migrate(self.server, 'failed')

        self.assertUndone()

    def test_a_guest_that_was_told_nothing_is_not_asked(self):
        # It answers the question beforehand, and then nothing.
        self.agent.mood = Mood.DYING
        plane = self.plane('alpha')
        plug_macvtap = plane.plug_macvtap

        def plug_one(guest, nic):
            plug_macvtap(guest, nic)
            plane.fail_next('plug_macvtap', hypervisor.errors.system('busy'))

        plane.plug_macvtap = plug_one

        self.migrate(self.server, 'failed')

        self.assertUndone()


class ConductorLostTestCase(base.OnePortTestCase):
    """The conductor has given a migration up, and the source has not."""

    def test_nova_takes_no_standby_out(self):
        original = swap.Swap.failover

        def fail_over(swapped, ports):
            original(swapped, ports)
            instance = swapped._instance
            instance.task_state = None
            instance.vm_state = vm_states.ERROR
            instance.save()

        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.swap.Swap.failover', fail_over))
        self.hold_the_copy(self.server)

        self.recover('alpha')

        self.assertReachable(self.server, 'alpha')
        self.hosts.world.migrations.proceed.set()
        self.until(lambda: self.reached('beta', self.server, self.ports[0]))
        # A host that stops waits for its migrations, and a destination that
        # has stopped answers no source.
        self._wait_for_migration_status(self.server, ['completed', 'error'])


@ddt.ddt
class GivenUpTestCase(base.OnePortTestCase):
    """Nova's look at a copy fails before the copy has begun."""

    def around(self, name, before=lambda: None, after=lambda: None):
        """Have something done before and after a method of the driver."""
        method = getattr(driver.FailoverLibvirtDriver, name)

        def call(*arguments):
            before()
            try:
                return method(*arguments)
            finally:
                after()

        self.useFixture(fixtures.MonkeyPatch(
            f'nova_vf_failover.driver.FailoverLibvirtDriver.{name}', call))

    @ddt.data('_live_migration_operation', '_detach_direct_passthrough_vifs')
    def test_the_guest_stays_and_comes_back(self, late):
        called, given_up, ended = (threading.Event() for _ in range(3))

        def wait():
            called.set()
            given_up.wait(60)

        def look(_guest):
            self.assertTrue(called.wait(60))
            raise errors.internal('no answer')

        self.around(late, before=wait)
        self.around('_live_migration_operation', after=ended.set)
        self.addCleanup(given_up.set)
        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.completion._PAUSE', 0))
        with fixtures.MonkeyPatch(
                'nova.virt.libvirt.guest.Guest.get_job_info', look):
            self._ask_for_migration(self.server)
            self._wait_for_migration_status(self.server, ['error'])
        given_up.set()
        self.assertTrue(ended.wait(60))

        self.assertReachable(self.server, 'alpha')
        self.assertEqual([journal.State.STANDBY], [
            entry.state for entry in self.entries('alpha', self.server)])
        self.recover('alpha')
        self.assertWorld(self.server, 'alpha', status='ERROR')


@ddt.ddt
class GuestLostTestCase(base.OnePortTestCase):
    """Nobody knows which NIC the guest uses: both stay."""

    def assertBothNics(self, host):
        self.assertEqual({'hostdev', 'direct'}, {
            nic.kind for nic in self.domain(host, self.server).nics()})
        self.assertReachable(self.server, host)
        shown = self.api.get_server(self.server['id'])
        self.assertEqual(('ACTIVE', host), (
            shown['status'], shown['OS-EXT-SRV-ATTR:host']))

    def test_agent_dies_before_it_moves(self):
        self.agent.mood = Mood.DYING

        # It answers the question beforehand, and then nothing.
        self.migrate(self.server, 'failed')

        self.assertBothNics('alpha')
        self.assertHearsGroups('alpha')

    def test_a_standby_that_cannot_be_opened_to_groups_is_used(self):
        self.useFixture(fixtures.MockPatch(
            'tests.simulation.hosts.PaperLinks.receive_all_groups',
            side_effect=OSError('not permitted')))

        self.migrate(self.server)

        self.assertWorld(self.server, 'beta')
        self.assertIn('may miss multicast', self.stdlog.logger.output)

    def assertHearsGroups(self, host):
        self.assertEqual([True], [
            macvtap.all_groups
            for macvtap in self.plane(host).macvtaps.values()])

    def test_agent_dies_after_it_moved(self):
        self.agent.mood = Mood.MUTE

        self.migrate(self.server, 'failed')

        self.assertBothNics('alpha')
        self.assertEqual('standby', self.hosts.guests[
            self.server['id']].uses[self.ports[0]['mac_address']])

    def test_guest_stays_on_the_standby_of_the_destination(self):
        self.agent.mood = Mood.STUCK

        self.migrate(self.server)

        self.assertReachable(self.server, 'beta')
        self.assertHearsGroups('beta')

    def test_no_vf_is_attached_to_a_guest_that_does_not_wait_for_it(self):
        self.agent.mood = Mood.ORPHANED

        self.migrate(self.server)

        self.assertEqual(['direct'], [
            nic.kind for nic in self.domain('beta', self.server).nics()])
        self.assertReachable(self.server, 'beta')
        self.assertIn('has not said that it waits for its VFs',
                      self.stdlog.logger.output)

    def test_a_guest_that_stays_on_its_standby_keeps_it(self):
        self.test_agent_dies_after_it_moved()
        # It uses its standby, is told to use it, and says that it stays.
        self.agent.mood = Mood.FAILING

        self.migrate(self.server, 'failed')

        self.assertBothNics('alpha')

    @ddt.data(Mood.STUCK, Mood.ORPHANED)
    def test_a_migration_later_brings_it_back(self, mood):
        self.agent.mood = mood
        self.migrate(self.server)
        self.agent.mood = Mood.GOOD

        self.migrate(self.server)

        self.assertWorld(self.server, 'alpha')


@ddt.ddt
class KilledTestCase(base.FailoverTestCase):
    """nova-compute on the source dies in the middle of a failover."""

    @ddt.data('_attach_standbys', '_send_guest_to_standby',
              'detach_primaries')
    def test_guest_is_reachable_and_can_be_migrated_again(self, step):
        self.start_hosts()
        server = self.boot(self.add_port())

        self.kill_after(step, server)

        self.assertReachable(server, 'alpha')
        # Neutron refuses a second binding to the destination, so the one of
        # the migration that died has to be taken back first.
        self.recover('alpha')
        self.migrate(server)
        # The PCI tracker of the destination is left out: the migration that
        # died stays in progress for Nova, and so does its claim there.
        self.assertPorts(server, 'beta')

    def test_it_goes_elsewhere_before_recovery_has_looked(self):
        self.start_hosts()
        server = self.boot(self.add_port())
        # The guest uses its standby and was to let the VF go.
        with crashes.Death(3, before=False) as death:
            self.begin_migration(server)
            self.assertTrue(death.died.wait(30))
        self.hosts.world.migrations.proceed.set()
        self.restart_host('alpha')
        self._wait_for_state_change(server, 'ACTIVE')
        self.assertEqual([journal.State.DETACHING], [
            entry.state for entry in self.entries('alpha', server)])
        self.start_host('gamma')

        self.migrate(server, host='gamma')

        # Neutron has a binding of beta still, of the migration that died.
        self.assertReachable(server, 'gamma')
        self.assertEqual([], self.entries('gamma', server))

    def kill_after(self, step, server):
        """The process ends right after a step, and is started anew."""
        died = threading.Event()
        original = getattr(failover.Failover, step)

        def die(its, *arguments):
            original(its, *arguments)
            died.set()
            raise crashes.Killed()

        with fixtures.MonkeyPatch(
                f'nova_vf_failover.failover.Failover.{step}', die):
            self.begin_migration(server)
            self.assertTrue(died.wait(30))
        self.hosts.world.migrations.proceed.set()
        self.restart_host('alpha')
        self._wait_for_state_change(server, 'ACTIVE')
