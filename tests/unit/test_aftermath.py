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

from unittest import mock

import fixtures
from nova import exception as nova_exception
from oslotest import base

from nova_vf_failover import aftermath


class PlacementTestCase(base.BaseTestCase):

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
                return its.abandoned(mock.Mock())

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
