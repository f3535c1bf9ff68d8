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

"""What Placement does not do, somebody else has to try again."""

import nova.tests.functional  # noqa: F401 isort: skip

import logging
import operator
from unittest import mock

import ddt
import fixtures
from nova import exception as nova_exception
from oslotest import base

from nova_vf_failover import aftermath


class AftermathTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.now = mock.Mock(task_state=None)
        self.useFixture(fixtures.MockPatch(
            'nova.objects.Instance.get_by_uuid', return_value=self.now))


class PlacementTestCase(AftermathTestCase):

    def test_an_allocation_that_is_not_moved_is_an_error(self):
        compute = mock.Mock()
        compute.reportclient.get_allocs_for_consumer.return_value = {
            'allocations': {'alpha': {'resources': {'VCPU': 1}}}}
        # Of all answers but a conflict it says only that there was one
        # (nova/scheduler/client/report.py, move_allocations).
        compute.reportclient.move_allocations.return_value = False
        migration = mock.Mock(status='error', source_compute='alpha',
                              uuid='migration', instance_uuid='server')
        self.useFixture(fixtures.MockPatch(
            'nova.objects.MigrationList.get_by_filters',
            return_value=[migration]))

        error = self.assertRaises(
            nova_exception.AllocationMoveFailed,
            aftermath.Aftermath(compute, 'alpha').clear,
            mock.Mock(), mock.Mock(uuid='server'))

        self.assertIn('server', str(error))

    def test_the_vfs_of_one_that_has_ended_do_not_wait_for_placement(self):
        compute = mock.Mock()
        compute.reportclient.get_allocs_for_consumer.side_effect = (
            nova_exception.ConsumerAllocationRetrievalFailed(
                consumer_uuid='migration', error='503'))

        its = aftermath.Aftermath(compute, 'alpha')

        def clear(status):
            migration = mock.Mock(status=status, source_compute='alpha',
                                  uuid='migration', instance_uuid='server')
            with fixtures.MockPatch(
                    'nova.objects.MigrationList.get_by_filters',
                    return_value=[migration]):
                its.clear(mock.Mock(), mock.Mock(uuid='server'))

        def abandoned():
            with fixtures.MockPatch(
                    'nova.objects.MigrationList.get_by_filters',
                    return_value=[]), fixtures.MockPatchObject(
                        its, '_rests_here', return_value=True):
                return its.abandoned(mock.Mock(), {'server'})

        for status in ('completed', 'failed'):
            clear(status)
        self.assertRaises(nova_exception.ConsumerAllocationRetrievalFailed,
                          clear, 'error')
        self.assertEqual(
            3, compute.reportclient.get_allocs_for_consumer.call_count)
        self.assertEqual([], compute.network_api.mock_calls)
        # Placement is asked again when it is back.
        self.assertEqual({'server'}, abandoned())
        compute.reportclient.get_allocs_for_consumer.side_effect = None
        compute.reportclient.get_allocs_for_consumer.return_value = {
            'allocations': {}}
        clear('failed')
        self.assertEqual(set(), abandoned())


class MigrationsTestCase(AftermathTestCase):

    def setUp(self):
        super().setUp()
        self.compute = mock.Mock()
        self.compute.reportclient.get_allocs_for_consumer.return_value = {
            'allocations': {'alpha': {'resources': {'VCPU': 1}}}}
        self.aftermath = aftermath.Aftermath(self.compute, 'alpha')
        self.migrations = []
        self.query = self.useFixture(fixtures.MockPatch(
            'nova.objects.MigrationList.get_by_filters',
            side_effect=self.answer)).mock
        self.useFixture(fixtures.MockPatchObject(
            self.aftermath, '_rests_here', return_value=True))

    def answer(self, context, filters, sort_keys=('id',), sort_dirs=('asc',),
               limit=None):
        found = [migration for migration in self.migrations
                 if migration.status in filters.get(
                     'status', [migration.status])
                 and all(getattr(migration, key) == filters[key]
                         for key in ('instance_uuid', 'migration_type')
                         if key in filters)]
        for key, way in zip(sort_keys, sort_dirs, strict=True):
            found.sort(key=operator.attrgetter(key), reverse=way == 'desc')
        return found[:limit]

    def add(self, status, server='server', source='alpha',
            kind='live-migration'):
        number = len(self.migrations) + 1
        migration = mock.Mock(
            id=number, uuid=f'migration-{number}', status=status,
            instance_uuid=server, source_compute=source,
            migration_type=kind)
        self.migrations.append(migration)
        return migration

    def look(self):
        self.assertEqual(
            {'server'}, self.aftermath.abandoned(mock.Mock(), {'server'}))

    def clear(self):
        self.aftermath.clear(mock.Mock(), mock.Mock(uuid='server'),
                             abandoned=True)

    def assertUntouched(self, migration, status):
        self.assertEqual(status, migration.status)
        self.assertEqual([], self.compute.network_api.mock_calls)
        self.compute.reportclient.move_allocations.assert_not_called()


@ddt.ddt
class AbandonedTestCase(MigrationsTestCase):

    @ddt.data('accepted', 'queued', 'preparing', 'running', 'error')
    def test_one_that_was_found_twice_is_cleared(self, status):
        migration = self.add(status)
        self.look()
        self.look()

        self.clear()

        self.assertEqual('failed', migration.status)
        self.compute.reportclient.move_allocations.assert_called_once_with(
            mock.ANY, 'migration-1', 'server')

    def test_one_that_nova_has_begun_to_undo_is_cleared(self):
        migration = self.add('error')
        self.compute.reportclient.get_allocs_for_consumer.return_value = {
            'allocations': {}}
        self.now.migration_context.migration_id = migration.id
        self.look()
        self.look()

        self.clear()

        self.assertEqual('failed', migration.status)
        self.compute.network_api.setup_networks_on_host.assert_called_once()

    def test_one_that_nova_has_undone_is_not_found(self):
        self.add('error')
        self.compute.reportclient.get_allocs_for_consumer.return_value = {
            'allocations': {}}
        self.now.migration_context = None

        for _ in range(2):
            self.assertEqual(set(), self.aftermath.abandoned(
                mock.Mock(), {'server'}))

        # Nor is it asked for again.
        self.compute.reportclient.get_allocs_for_consumer\
            .assert_called_once()

    def test_a_new_one_is_left_alone(self):
        self.add('error')
        self.look()
        self.look()
        new = self.add('accepted')

        self.clear()

        self.assertUntouched(new, 'accepted')

    def test_a_new_one_that_one_look_has_found_is_left_alone(self):
        self.add('error')
        self.look()
        new = self.add('accepted')
        self.look()

        self.clear()

        self.assertUntouched(new, 'accepted')

    def test_the_last_one_is_left_to_a_new_one_that_is_being_made(self):
        last = self.add('error')
        self.look()
        self.look()
        self.now.task_state = 'migrating'

        self.clear()

        self.assertUntouched(last, 'error')

    def test_one_that_was_aborted_stays_so(self):
        migration = self.add('cancelled')
        self.look()
        self.look()
        instance = mock.Mock(uuid='server')

        self.aftermath.clear(mock.Mock(), instance, abandoned=True)

        self.assertEqual('cancelled', migration.status)
        self.compute.reportclient.move_allocations.assert_called_once()
        # Else it would be taken for one that Nova has half undone.
        instance.drop_migration_context.assert_called_once_with()

    def test_one_that_has_just_begun_may_hold_something_later(self):
        asked = self.compute.reportclient.get_allocs_for_consumer
        held, asked.return_value = asked.return_value, {'allocations': {}}
        self.add('accepted')
        self.assertEqual(set(), self.aftermath.abandoned(
            mock.Mock(), {'server'}))

        asked.return_value = held

        self.look()

    def test_a_resize_is_left_to_nova(self):
        resize = self.add('error', kind='resize')

        for _look in range(2):
            self.assertEqual(set(), self.aftermath.abandoned(
                mock.Mock(), {'server'}))
        self.clear()

        self.assertUntouched(resize, 'error')


class NeutronTestCase(MigrationsTestCase):
    """What a migration holds is given back last, for it tells what is left.
    """

    def refuse(self):
        self.compute.network_api.setup_networks_on_host.side_effect = (
            nova_exception.PortBindingDeletionFailed(
                port_id='port', host='beta'))
        self.assertRaises(nova_exception.PortBindingDeletionFailed,
                          self.clear)

    def test_a_binding_that_is_not_deleted_on_the_source(self):
        migration = self.add('error')

        self.refuse()

        self.assertEqual('error', migration.status)
        self.compute.reportclient.move_allocations.assert_not_called()

    def test_a_binding_that_is_not_deleted_on_the_destination(self):
        migration = self.add('error', source='beta')

        self.refuse()

        self.assertEqual('error', migration.status)
        self.compute.reportclient.delete_allocation_for_instance\
            .assert_not_called()

    def test_bindings_are_activated_before_the_others_are_deleted(self):
        self.add('error', source='beta')

        self.clear()

        self.assertEqual(
            ['migrate_instance_start', 'setup_networks_on_host'],
            [call[0] for call in self.compute.network_api.mock_calls])


@ddt.ddt
class RestTestCase(AftermathTestCase):
    """Servers that are not at rest here, or are none of ours."""

    def setUp(self):
        super().setUp()
        self.now.configure_mock(**{
            'host': 'alpha', 'get_network_info.return_value': [{
                'id': 'port', 'vnic_type': 'direct', 'type': 'hw_veb',
                'profile': {'pci_slot': '0000:81:00.1'}}]})
        self.useFixture(fixtures.MockPatch(
            'nova.objects.MigrationList.get_by_filters', return_value=[
                mock.Mock(uuid='migration', status='error',
                          instance_uuid='server')]))

    def look(self):
        compute = mock.Mock()
        compute.reportclient.get_allocs_for_consumer.return_value = {
            'allocations': {'alpha': {'resources': {'VCPU': 1}}}}
        return aftermath.Aftermath(compute, 'alpha').abandoned(
            mock.Mock(), {'server'})

    def test_at_rest(self):
        self.assertEqual({'server'}, self.look())

    @ddt.data({'host': 'beta'}, {'task_state': 'migrating'},
              {'get_network_info.return_value': []})
    def test_not_at_rest(self, now):
        self.now.configure_mock(**now)

        self.assertEqual(set(), self.look())

    def test_deleted_while_its_domain_runs_on(self):
        with fixtures.MockPatch(
                'nova.objects.Instance.get_by_uuid',
                side_effect=nova_exception.InstanceNotFound(
                    instance_id='server')):
            self.assertEqual(set(), self.look())


class ManyTestCase(MigrationsTestCase):
    """Nova remembers more migrations than there are servers here."""

    def setUp(self):
        super().setUp()
        self.asked = self.compute.reportclient.get_allocs_for_consumer

    def test_those_of_servers_that_are_elsewhere_are_not_asked_for(self):
        for number in range(50):
            self.add('cancelled', f'left-{number}')

        self.assertEqual(
            set(), self.aftermath.abandoned(mock.Mock(), {'server'}))

        self.asked.assert_not_called()

    def test_without_servers_nobody_is_asked(self):
        self.add('error')

        self.assertEqual(set(), self.aftermath.abandoned(mock.Mock(), set()))

        self.query.assert_not_called()
        self.asked.assert_not_called()

    def test_the_database_finds_the_last_one(self):
        for _number in range(3):
            self.add('failed')
        answers = []
        self.query.side_effect = lambda *args, **kwargs: answers.append(
            self.answer(*args, **kwargs)) or answers[-1]

        self.clear()

        self.assertEqual([[self.migrations[-1]]], answers)

    def test_one_that_is_not_seen_in_between_is_not_certain(self):
        migration = self.add('running')
        self.look()
        self.aftermath.abandoned(mock.Mock(), set())
        self.look()

        self.clear()

        self.assertUntouched(migration, 'running')

    def test_a_server_that_was_passed_over_waits_elsewhere(self):
        self.asked.side_effect = (
            nova_exception.ConsumerAllocationRetrievalFailed(
                consumer_uuid='migration', error='503'))
        self.add('completed')
        self.clear()
        self.migrations.clear()

        self.assertEqual(
            set(), self.aftermath.abandoned(mock.Mock(), {'other'}))
        self.look()

    def test_what_nova_has_forgotten_is_forgotten(self):
        self.asked.return_value = {'allocations': {}}
        self.add('cancelled')
        self.add('error')
        for _look in range(2):
            self.aftermath.abandoned(mock.Mock(), {'server'})
        self.assertEqual(2, self.asked.call_count)

        forgotten = self.migrations.pop(0)
        self.aftermath.abandoned(mock.Mock(), {'server'})
        self.migrations.append(forgotten)
        self.aftermath.abandoned(mock.Mock(), {'server'})

        self.assertEqual(
            ['migration-1', 'migration-2', 'migration-1'],
            [call.args[1] for call in self.asked.call_args_list])


class EarlierTestCase(MigrationsTestCase):
    """One that still holds something is not the server's last."""

    def setUp(self):
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger(level=logging.WARNING))
        self.add('error')
        self.last = self.add('completed')
        # Placement has nothing of one that has ended well.
        held = self.compute.reportclient.get_allocs_for_consumer.return_value
        self.compute.reportclient.get_allocs_for_consumer.side_effect = (
            lambda context, consumer: held if consumer == 'migration-1'
            else {'allocations': {}})

    def test_it_is_told_once_and_not_found_again(self):
        self.look()
        self.look()
        self.clear()

        for _look in range(3):
            self.assertEqual(
                set(), self.aftermath.abandoned(mock.Mock(), {'server'}))
            self.clear()

        self.assertEqual(1, self.log.output.count('migration-1'))
        self.assertIn('nova-manage placement audit', self.log.output)
        self.assertUntouched(self.last, 'completed')

    def test_what_one_look_has_found_may_be_the_last_one_yet(self):
        self.look()
        self.clear()

        self.look()
        self.assertEqual('', self.log.output)

    def test_that_of_another_server_is_another_matter(self):
        self.add('completed', 'other')
        for _look in range(2):
            self.aftermath.abandoned(mock.Mock(), {'server', 'other'})

        self.aftermath.clear(mock.Mock(), mock.Mock(uuid='other'),
                             abandoned=True)

        self.assertEqual('', self.log.output)

    def test_one_that_holds_something_as_well_is_cleared(self):
        self.compute.reportclient.get_allocs_for_consumer.side_effect = None
        self.last.status = 'error'
        self.look()
        self.look()

        self.clear()

        self.assertEqual('failed', self.last.status)
        self.compute.reportclient.move_allocations.assert_called_once_with(
            mock.ANY, 'migration-2', 'server')
        self.assertIn('migration-1', self.log.output)
