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


import nova.tests.functional  # noqa: F401 isort: skip

import threading
from unittest import mock

import fixtures
from nova.compute import power_state
from nova import exception as nova_exception
from nova.virt.libvirt import guest as libvirt_guest
from oslo_config import cfg
from oslo_config import fixture as config
from oslotest import base

from nova_vf_failover import attempt
from nova_vf_failover import claims
from nova_vf_failover import conf
from nova_vf_failover import domain
from nova_vf_failover import exception
from nova_vf_failover import journal
from nova_vf_failover import operations
from nova_vf_failover import recovery
from nova_vf_failover import request

# libvirt gives the element of its metadata this namespace.
_JOURNAL = journal.NAMESPACE
_DEGRADED = journal.Journal(1).moved(
    'port', 'fa:16:3e:00:00:01', journal.State.STANDBY).to_xml().replace(
        '<journal', f'<journal xmlns="{_JOURNAL}"')
_ILLEGIBLE = f'<journal xmlns="{_JOURNAL}" generation="none"/>'


class BoundsTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        conf.register_opts(cfg.CONF)
        self.conf = self.useFixture(config.Config(cfg.CONF))

    def set(self, **options):
        self.conf.config(group='vf_failover', **options)

    def test_pauses_double_up_to_the_longest(self):
        self.set(recovery_interval=60, recovery_longest_pause=500)

        self.assertEqual([60, 120, 240, 480, 500, 500],
                         [attempt.pause(number) for number in range(1, 7)])
        self.assertEqual(500, attempt.pause(100000))

    def test_the_longest_may_be_shorter_than_a_period(self):
        self.set(recovery_interval=60, recovery_longest_pause=10)

        self.assertEqual(10, attempt.pause(1))

    def test_limit(self):
        self.set(recovery_attempts=3)
        self.assertEqual([False, True, True], [
            attempt.exhausted(number) for number in (2, 3, 4)])

        self.set(recovery_attempts=0)
        self.assertFalse(attempt.exhausted(1000))


class Wake:
    """Ends a recovery after so many looks."""

    def __init__(self, looks=0, bench=None):
        self.waits = []
        self.is_set = False
        self.looks = looks
        self.its = recovery.Recovery(bench or mock.Mock())
        self.its._wake = self

    def run(self):
        """:returns: for how long each look was waited for"""
        self.its._run()
        return self.waits

    def wait(self, timeout):
        self.waits.append(0 if self.is_set else timeout)
        self.its._stopped = len(self.waits) > self.looks

    def set(self):
        self.is_set = True

    def clear(self):
        self.is_set = False


class PeriodTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        conf.register_opts(cfg.CONF)
        self.useFixture(config.Config(cfg.CONF)).config(
            group='vf_failover', recovery_interval=60)

    def test_hosts_do_not_stay_in_step(self):
        drawn = self.useFixture(fixtures.MockPatch(
            'random.uniform', side_effect=[0.9, 1.1])).mock

        self.assertEqual([54.0, 66.0], [
            round(wait, 6) for _host in range(2) for wait in Wake().run()])

        drawn.assert_called_with(0.9, 1.1)

    def test_each_look_is_the_nearest_one_of_a_pause(self):
        # What is due at the next look must not wait for the one after it.
        now = 1000.0
        for spread in (0.9, 1.1):
            self.assertGreater(
                recovery.Recovery._nearest(now + 60 * spread), now + 60)

    def test_a_look_that_fails_is_not_the_last_one(self):
        bench = mock.Mock(**{'guests.side_effect': OSError('libvirt is away')})

        Wake(2, bench).run()

        self.assertEqual(2, bench.guests.call_count)

    def test_who_comes_during_a_look_does_not_wait_for_a_period(self):
        bench = mock.Mock(**{'aftermath.abandoned.return_value': set()})
        wake = Wake(2, bench)
        wake.its.watch('server')

        def let_go():
            # At the second look it has gone from those that keep one.
            wake.its.device_removed('server')
            return []

        bench.guests.side_effect = let_go

        self.assertEqual([False, True, False],
                         [wait == 0 for wait in wake.run()])

    def test_the_tracker_is_known_once(self):
        # What is found at two looks is to have been so for a period.
        wake = Wake()
        wake.its.begin()
        self.assertTrue(wake.is_set)
        wake.clear()

        wake.its.begin()

        self.assertFalse(wake.is_set)

    def test_no_look_before_it_is_known_whose_the_vfs_are(self):
        bench = mock.Mock(**{'claims.known.side_effect': [False, True],
                             'aftermath.abandoned.return_value': set(),
                             'guests.return_value': []})

        Wake(2, bench).run()

        bench.guests.assert_called_once_with()


class LookTestCase(base.BaseTestCase):
    """What a look costs where nothing is unfinished."""

    def setUp(self):
        super().setUp()
        conf.register_opts(cfg.CONF)
        self.useFixture(config.Config(cfg.CONF))
        self.bench = mock.Mock()
        self.bench.domain_of.side_effect = lambda guest: domain.Domain(
            guest, guest.uuid, mock.Mock())
        self.bench.aftermath.abandoned.return_value = set()
        self.recovery = recovery.Recovery(self.bench)

    def look(self, *metadata):
        """Look at a domain with each of these."""
        domains = [mock.Mock(**{
            'XMLDesc.return_value':
                f'<domain><metadata>{its}</metadata></domain>',
            'UUIDString.return_value': f'server-{number}',
        }) for number, its in enumerate(metadata)]
        self.bench.guests.return_value = [
            libvirt_guest.Guest(its) for its in domains]
        with mock.patch.object(self.recovery, '_begin_attempt',
                               autospec=True) as begin:
            self.recovery.look()
        self.assertEqual([1] * len(metadata), [
            its.XMLDesc.call_count for its in domains])
        return [call.args[0] for call in begin.call_args_list]

    def test_each_domain_is_printed_once(self):
        self.assertEqual(['server-1', 'server-3'], self.look(
            '', _DEGRADED, '<unknown/>',
            f'<failback xmlns="{request.NAMESPACE}" at="1.0"/>'))

        self.bench.aftermath.abandoned.assert_called_once_with(
            mock.ANY, {f'server-{number}' for number in range(4)})

    def test_a_journal_that_cannot_be_read(self):
        log = self.useFixture(fixtures.FakeLogger())

        self.assertEqual([], self.look(_ILLEGIBLE))

        self.assertIn('Server server-0 is left as it is', log.output)

    def test_what_a_guest_was_told_stays_while_it_may_be_needed(self):
        self.look('', _DEGRADED, _ILLEGIBLE)

        self.bench.channel.sweep.assert_called_once_with(
            self.bench.host, {'server-1', 'server-2'})

    def test_an_attempt_that_goes_on_is_the_only_one(self):
        self.recovery._attempts['server-0'] = threading.Event()

        self.assertEqual(['server-1'], self.look(_DEGRADED, _DEGRADED))

    def test_vfs_do_not_wait_for_the_conductor_or_placement(self):
        self.bench.aftermath.abandoned.side_effect = (
            nova_exception.ConsumerAllocationRetrievalFailed(
                consumer_uuid='migration', error='503'))

        self.assertEqual(['server-0'], self.look(_DEGRADED))

    def test_a_guest_that_keeps_a_vf_once_more_during_a_look(self):
        self.recovery.watch('server-0')

        def keep_once_more(_context, _servers):
            # This look does not find the mark in its domain.
            self.recovery.watch('server-0')
            return set()

        self.bench.aftermath.abandoned.side_effect = keep_once_more
        self.look('')
        self.recovery.device_removed('server-0')
        self.assertTrue(self.recovery._hinted)

        self.bench.aftermath.abandoned.side_effect = None
        self.look('')
        self.recovery.device_removed('server-0')
        self.assertFalse(self.recovery._hinted)


class LeftBehindTestCase(base.BaseTestCase):
    """An abandoned migration of a server that is on its VFs."""

    def setUp(self):
        super().setUp()
        self.bench = mock.Mock()
        self.bench.operations = operations.Operations()
        self.bench.power_state.return_value = power_state.RUNNING
        self.bench.host = 'here'
        self.bench.domain.return_value.has_job.return_value = False
        self.bench.swap.return_value.ledger.entries = {}
        self.useFixture(fixtures.MockPatch(
            'nova.objects.Instance.get_by_uuid', return_value=mock.Mock(
                uuid='server', host='here', task_state=None)))
        self.log = self.useFixture(fixtures.FakeLogger())
        self.recovery = recovery.Recovery(self.bench)

    def attempt(self):
        self.recovery._begin_attempt('server', True)
        self.recovery.settle(60)

    def lines(self):
        return [line for line in self.log.output.splitlines()
                if 'Server server is left as it is: it is on its VFs' in line]

    def test_it_is_said_once_until_it_has_worked(self):
        clear = self.bench.aftermath.clear
        # As neutronclient, which tells the number of the request.
        refused = [nova_exception.PortBindingDeletionFailed(
            f'It is away; request_ids: req-{number}') for number in range(3)]

        clear.side_effect = refused[:2]
        self.attempt()
        self.attempt()
        self.assertEqual(1, len(self.lines()), self.log.output)
        self.assertIn('PortBindingDeletionFailed', self.lines()[0])
        self.assertNotIn('Traceback', self.log.output)

        clear.side_effect = None
        self.attempt()
        clear.side_effect = refused[2]
        self.attempt()
        self.assertEqual(2, len(self.lines()))
        self.assertEqual(4, clear.call_count)


class TimedOut(BaseException):
    """As eventlet's is, which nobody handles by chance."""


class FarewellTestCase(base.BaseTestCase):
    """nova-compute ends while a guest does not answer."""

    def setUp(self):
        super().setUp()
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.addCleanup(self.go_on.set)
        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.attempt.Attempt.run', self.dawdle))
        self.recovery = recovery.Recovery(mock.Mock())

    def dawdle(self, _attempt):
        self.begun.set()
        self.go_on.wait(60)

    def join_in_a_green_thread(self, _thread, timeout=None):
        raise TimedOut()

    def test_an_attempt_that_goes_on_keeps_nobody(self):
        self.recovery._begin_attempt('server', False)
        self.assertTrue(self.begun.wait(60))

        # On Python 3.13 eventlet's raises where Python's own returns.
        with fixtures.MonkeyPatch('threading.Thread.join',
                                  self.join_in_a_green_thread), (
                fixtures.MonkeyPatch('nova_vf_failover.recovery._FAREWELL',
                                     0.01)):
            self.recovery.stop()

        self.assertEqual({'server'}, set(self.recovery._attempts))
        self.go_on.set()
        self.recovery.settle(60)
        self.assertEqual({}, self.recovery._attempts)

    def test_an_attempt_that_ends_is_waited_for(self):
        self.recovery._bench.operations.close.side_effect = self.go_on.set
        self.recovery._begin_attempt('server', False)
        self.assertTrue(self.begun.wait(60))

        self.recovery.stop()

        self.assertEqual({}, self.recovery._attempts)

    def test_an_attempt_that_cannot_begin_is_waited_for_by_nobody(self):
        waited = []

        def refuse(_thread):
            # Somebody settles meanwhile.
            waited.extend(self.recovery._attempts.values())
            raise RuntimeError("can't start new thread")

        with fixtures.MonkeyPatch('threading.Thread.start', refuse):
            self.recovery._begin_attempt('server', False)

        self.assertEqual([True], [over.is_set() for over in waited])


class KeepingTestCase(base.BaseTestCase):
    """A guest that has let a VF go may let another one go meanwhile."""

    def looks_again(self, effect=None, patience=0):
        """Whether the next look comes at once after an attempt."""
        its = recovery.Recovery(mock.Mock())
        its.watch('server')
        with fixtures.MockPatch('nova_vf_failover.attempt.Attempt.run',
                                side_effect=effect):
            its._begin_attempt('server', False)
            its.settle(60)
        return its._wake.wait(patience)

    def test_it_is_looked_at_once_more_after_an_attempt(self):
        self.assertTrue(self.looks_again(patience=60))

    def test_not_without_a_pause_while_nova_works_upon_it(self):
        self.assertFalse(self.looks_again(exception.Busy('Nova works.')))


class PlacesTestCase(base.BaseTestCase):
    """A host may have many servers to bring back when it has started."""

    def test_few_are_brought_back_at_once(self):
        places, go_on = threading.Semaphore(0), threading.Event()
        self.addCleanup(go_on.set)
        working, most = [], []

        def work(_attempt):
            working.append(None)
            most.append(len(working))
            places.release()
            go_on.wait(60)
            working.pop()

        its = recovery.Recovery(mock.Mock())
        with fixtures.MonkeyPatch(
                'nova_vf_failover.attempt.Attempt.run', work):
            for number in range(3 * recovery.AT_ONCE):
                its._begin_attempt(f'server-{number}', False)
            for _place in range(recovery.AT_ONCE):
                self.assertTrue(places.acquire(timeout=60))
            go_on.set()
            its.settle(60)

        self.assertEqual(3 * recovery.AT_ONCE, len(most))
        self.assertEqual(recovery.AT_ONCE, max(most))


class SweepTestCase(base.BaseTestCase):

    def test_what_fails_does_not_keep_nova_from_its_own_look(self):
        bench = mock.Mock(**{'standby.sweep.side_effect': OSError('netlink')})

        recovery.Recovery(bench).sweep()

        bench.standby.sweep.assert_called_once()


class ProvidersTestCase(base.BaseTestCase):
    """Which provider of Placement serves a port, from its binding."""

    def test_both_forms_that_neutron_has_had(self):
        self.assertEqual(
            {'port-1': ['rp-1'], 'group-a': ['rp-2'], 'group-b': ['rp-3']},
            claims._providers([
                {'id': 'port-1', 'profile': {'allocation': 'rp-1'}},
                {'id': 'port-2', 'profile': {'allocation': {
                    'group-a': 'rp-2', 'group-b': 'rp-3'}}},
                {'id': 'port-3', 'profile': {'pci_slot': '0000:81:00.1'}},
                {'id': 'port-4', 'profile': None}]))
