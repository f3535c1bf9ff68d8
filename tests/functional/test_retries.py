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

"""Which servers recovery tries, when, how often, and which it leaves alone."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import threading
import time
import types

import fixtures
from nova import objects
from oslo_concurrency import lockutils

from nova_vf_failover import journal
from nova_vf_failover import metrics
from nova_vf_failover import request
from tests.functional import crashes
from tests.simulation import errors
from tests.simulation import paper_agent

Mood = paper_agent.Mood


class DegradedTestCase(base.OnePortTestCase):
    """A server that is degraded on ``beta`` whenever a test wants it."""

    def setUp(self):
        super().setUp()
        # Before the hosts were started it would have made them look.
        self.flags(recovery_interval=100, recovery_longest_pause=250,
                   group='vf_failover')
        self.clock = types.SimpleNamespace(
            time=lambda: self.now, monotonic=time.monotonic)
        self.now = 1764000000.0
        for module in ('attempt', 'recovery'):
            self.useFixture(fixtures.MonkeyPatch(
                f'nova_vf_failover.{module}.time', self.clock))

    def degrade(self):
        """Live migrate, with a guest whose agent dies on the way."""
        self.agent.mood = Mood.ORPHANED
        self.migrate(self.server)
        return self.entry

    @property
    def entry(self):
        entry, = self.entries('beta', self.server)
        return entry

    def look(self, seconds=0):
        self.now += seconds
        self.recover('beta')

    def ask(self):
        request.write(self.domain('beta', self.server), self.now)

    def asked(self):
        return request.read(self.domain('beta', self.server))


class RetryTestCase(DegradedTestCase):

    def test_comes_back_once_the_guest_answers(self):
        self.degrade()
        self.agent.mood = Mood.GOOD

        self.look()

        self.assertWorld(self.server, 'beta')
        told, = self.told('recovery.end')
        self.assertEqual((1, [self.ports[0]['id']]),
                         (told['attempt'], told['ports']))

    def test_is_an_action_of_the_server(self):
        self.degrade()
        self.look()
        self.agent.mood = Mood.GOOD
        self.look(100)

        actions = [action for action in self.api.get_instance_actions(
            self.server['id']) if action['action'] == 'vf_recovery']
        self.assertEqual(2, len(actions))
        events = [self.api.api_get(
            f'/servers/{self.server["id"]}/os-instance-actions/'
            f'{action["request_id"]}').body['instanceAction']['events']
            for action in actions]
        self.assertEqual(
            ['Success', 'Error'],
            [event['result'] for action in events for event in action
             if event['event'] == 'compute_vf_failback'])

    def test_pauses_grow_up_to_the_longest(self):
        self.assertEqual((0, 0.0), (self.degrade().attempts,
                                    self.entry.next_attempt))
        began = self.now

        self.look()
        self.assertEqual((1, began + 100), (self.entry.attempts,
                                            self.entry.next_attempt))
        self.look(40)
        self.assertEqual(1, self.entry.attempts)
        self.look(60)
        self.assertEqual((2, self.now + 200), (self.entry.attempts,
                                               self.entry.next_attempt))
        # The next look would be farther from it than this one.
        self.look(160)
        self.assertEqual((3, self.now + 250), (self.entry.attempts,
                                               self.entry.next_attempt))

    def test_says_why_and_when(self):
        self.degrade()

        self.look()

        self.assertIn('has not said that it waits', self.entry.reason)
        told, = self.told('recovery.postponed')
        self.assertEqual((1, self.now + 100), (
            told['attempt'], told['next_attempt_at']))
        self.assertIn('has not said that it waits', told['error'])
        self.assertIn('the next one is at 2025-11-24T16:01:40Z',
                      self.stdlog.logger.output)

    def test_gives_up_at_the_limit(self):
        self.flags(recovery_attempts=2, group='vf_failover')
        self.degrade()

        self.look()
        self.look(100)

        self.assertEqual((2, 0.0), (self.entry.attempts,
                                    self.entry.next_attempt))
        told, = self.told('recovery.given_up')
        self.assertIsNone(told['next_attempt_at'])
        self.agent.mood = Mood.GOOD
        self.look(10000)
        self.assertWorld(self.server, 'beta', base.STANDBY)

    def test_an_attempt_that_was_asked_for_is_made_after_the_limit(self):
        self.test_gives_up_at_the_limit()
        self.ask()

        self.look()

        self.assertIsNone(self.asked())
        self.assertWorld(self.server, 'beta')

    def test_an_attempt_that_was_asked_for_is_made_at_once(self):
        self.degrade()
        self.look()
        self.agent.mood = Mood.GOOD
        self.look(1)
        self.assertEqual(1, self.entry.attempts)
        self.ask()

        self.look(1)

        self.assertWorld(self.server, 'beta')

    def test_one_that_fails_is_not_made_twice(self):
        self.degrade()
        self.look()
        self.ask()

        self.look(1)
        self.look(1)

        self.assertEqual(2, self.entry.attempts)
        self.assertIsNone(self.asked())

    def test_asking_for_a_server_on_its_vfs_changes_nothing(self):
        request.write(self.domain('alpha', self.server))

        self.recover('alpha')

        self.assertIsNone(request.read(self.domain('alpha', self.server)))
        self.assertWorld(self.server, 'alpha')
        self.assertEqual(['assign_vf'], self.plane('alpha').calls)

    def test_a_failover_begins_to_count_anew(self):
        self.degrade()
        self.look()
        self.look(100)

        self.migrate(self.server)

        entry, = self.entries('alpha', self.server)
        self.assertEqual((0, 0.0), (entry.attempts, entry.next_attempt))

    def test_an_attempt_that_ends_nova_compute_counts(self):
        self.degrade()
        # Counted, and then the first state.
        with crashes.Death(2, before=True) as death:
            self.look()
        self.assertTrue(death.died.is_set())
        self.restart_host('beta')

        self.assertEqual(1, self.entry.attempts)
        self.look(1)
        self.assertEqual(1, self.entry.attempts)


class LeftAloneTestCase(DegradedTestCase):

    def assertLeftAlone(self):
        self.look(10000)
        self.assertEqual(0, self.entry.attempts)

    def assertHelpedLater(self):
        self.agent.mood = Mood.GOOD
        self.look()
        self.assertWorld(self.server, 'beta')

    def test_server_with_a_task(self):
        self.degrade()
        self.give_task('rebooting')

        self.assertLeftAlone()

        self.give_task(None)
        self.assertHelpedLater()

    def give_task(self, state):
        instance = objects.Instance.get_by_uuid(self.ctxt, self.server['id'])
        instance.task_state = state
        instance.save()

    def test_server_on_its_way(self):
        self.degrade()
        # libvirt takes none while it copies.
        self.ask()
        self.hold_the_copy(self.server)

        self.assertLeftAlone()

        self.assertIsNotNone(self.asked())
        self.hosts.world.migrations.failure = 'load of migration failed'
        self.hosts.world.migrations.proceed.set()
        self._wait_for_migration_status(self.server, ['failed'])
        self._wait_for_state_change(self.server, 'ACTIVE')
        # Nova writes this before the source is done with it.
        operations = self.computes['beta'].driver._operations
        self.until(lambda: not operations.leaves(self.server['id']))
        self.assertHelpedLater()

    def test_server_that_nova_has_locked(self):
        self.degrade()

        with lockutils.lock(self.server['id'], lock_file_prefix='nova-'):
            self.assertLeftAlone()

        self.assertHelpedLater()

    def test_server_that_does_not_run(self):
        self.degrade()
        self.api.post_server_action(self.server['id'], {'pause': None})
        self._wait_for_state_change(self.server, 'PAUSED')

        self.assertLeftAlone()

        self.api.post_server_action(self.server['id'], {'unpause': None})
        self._wait_for_state_change(self.server, 'ACTIVE')
        self.assertHelpedLater()

    def test_domain_with_a_job(self):
        self.degrade()
        domain = self.domain('beta', self.server)
        domain._job_type = 2

        self.assertLeftAlone()

    def test_domain_of_another_host(self):
        self.degrade()
        self.computes['beta'].driver._bench.host = 'omega'

        self.assertLeftAlone()

    def test_journal_that_nobody_understands_is_told_once(self):
        self.degrade()
        self.domain('beta', self.server).setMetadata(
            2, '<journal generation="soon"/>', journal.PREFIX,
            journal.NAMESPACE, 1)

        self.look()
        self.look(1000)

        self.assertEqual(1, self.stdlog.logger.output.count(
            'cannot be read: ValueError'))
        # A guest that boots uses what it finds.
        self.hosts.guests[self.server['id']].uses.clear()
        self._reboot_server(self.server, hard=True)
        self.assertWorld(self.server, 'beta')

    def test_domain_that_goes_while_it_is_looked_at(self):
        self.degrade()
        domain = self.domain('beta', self.server)
        domain.XMLDesc = self.gone

        self.look()

        self.assertIn(f'The domain of server {self.server["id"]} cannot be '
                      'read', self.stdlog.logger.output)
        del domain.XMLDesc
        self.assertHelpedLater()

    def gone(self, flags=0):
        raise errors.error(42, 'Domain not found')


class TurnTestCase(DegradedTestCase):
    """Somebody else wants something of the server too."""

    def begin_attempt(self):
        """Have recovery try, up to what the guest is asked.

        :returns: what lets the guest answer
        """
        self.agent.mood = Mood.GOOD
        return self.hold_recovery(self.server, 'beta')

    def test_a_host_without_a_thread_to_spare(self):
        self.degrade()
        self.agent.mood = Mood.GOOD
        start = threading.Thread.start

        def refuse(thread):
            if thread.name == f'vf-failover-recovery-{self.server["id"]}':
                raise RuntimeError("can't start new thread")
            start(thread)

        with fixtures.MonkeyPatch('threading.Thread.start', refuse):
            self.look()
        self.assertWorld(self.server, 'beta', base.STANDBY)
        self.assertIn("can't start new thread", self.stdlog.logger.output)

        self.look()

        self.assertWorld(self.server, 'beta')

    def test_making_way_is_no_attempt(self):
        """It is for something that does not bring the server back, here."""
        self.degrade()
        self.look()
        self.ask()
        go_on = self.begin_attempt()
        self.assertEqual(2, self.entry.attempts)
        failed, errors = self.told('failback.error'), self.errors()
        driver = self.computes['beta'].driver

        driver._operations._running[self.server['id']].cancelled.set()
        go_on.set()
        driver._recovery.settle(60)

        self.assertEqual((1, 0.0), (self.entry.attempts,
                                    self.entry.next_attempt))
        self.assertIsNotNone(self.asked())
        self.assertEqual(failed, self.told('failback.error'))
        self.assertEqual(errors, self.errors())
        self.assertEqual([None], [
            told['error'] for told in self.told('failback.left_off')])
        self.assertIn('Recovery has made way for something else before '
                      '"guest failback"', self.stdlog.logger.output)
        self.assertNotIn('The live migration was aborted',
                         self.stdlog.logger.output)
        self.look()
        self.assertIsNone(self.asked())
        self.assertWorld(self.server, 'beta')

    def errors(self):
        """The failbacks that the metrics call failed."""
        return metrics.of_process()._moves.labels(
            'failback', 'error')._value.get()

    def test_makes_way_for_a_live_migration(self):
        self.degrade()
        go_on = self.begin_attempt()
        # In the harness the answer of the API waits for the conductor.
        migrating = threading.Thread(target=self.migrate,
                                     args=(self.server,))
        migrating.start()
        operations = self.computes['beta'].driver._operations
        self.until(lambda: operations._running[
            self.server['id']].cancelled.is_set())

        go_on.set()

        migrating.join(60)
        self.assertWorld(self.server, 'alpha')
        self.assertIn('makes way', self.stdlog.logger.output)
        self.assertEqual([], self.told('recovery.end', 'recovery.postponed'))

    def test_port_whose_owner_detaches_it(self):
        self.degrade()

        self._detach_interface(self.server, self.ports[0]['id'])

        self.look()
        self.assertEqual([], self.domain('beta', self.server).nics())
        self.assertEqual([], self.entries('beta', self.server))

    def test_port_that_has_gone_meanwhile(self):
        self.degrade()
        del self.neutron._ports[self.ports[0]['id']]

        self.look()

        self.assertEqual([], self.domain('beta', self.server).nics())
        self.assertEqual([], self.entries('beta', self.server))

    def test_vf_that_nova_would_take_back(self):
        """The guest has changed to it the moment it came, and keeps it."""
        self.degrade()
        self.agent.mood = Mood.GOOD
        with fixtures.MonkeyPatch(
                'nova.virt.libvirt.driver.LibvirtDriver.'
                '_build_device_metadata', self.unavailable):
            self.look()

        self.assertReachable(self.server, 'beta')
        self.assertWorld(self.server, 'beta')

    def unavailable(self, *arguments):
        raise RuntimeError('no database')
