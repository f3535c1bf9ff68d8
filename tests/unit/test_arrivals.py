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

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401 isort: skip

from unittest import mock

import ddt
import fixtures
from nova import exception as nova_exception
from oslotest import base

from nova_vf_failover import arrivals


@ddt.ddt
class ExpectedTestCase(base.BaseTestCase):

    def expected(self, status='running', dest='alpha', kind='live-migration',
                 task_state='migrating', gone=False):
        """Whether a host waits for a server with such a migration."""
        def answer(context, filters):
            self.assertEqual('alpha', filters['host'])
            return [mock.Mock(dest_compute=dest, instance_uuid='server')] * (
                status in filters['status']
                and kind == filters['migration_type'])

        with fixtures.MockPatch(
                'nova.objects.MigrationList.get_by_filters',
                side_effect=answer), fixtures.MockPatch(
                    'nova.objects.Instance.get_by_uuid',
                    return_value=mock.Mock(task_state=task_state),
                    side_effect=nova_exception.InstanceNotFound(
                        instance_id='server') if gone else None):
            return arrivals.expected(mock.Mock(), 'alpha')

    @ddt.data('accepted', 'queued', 'preparing', 'running')
    def test_a_server_is_on_its_way(self, status):
        """Up to where its domain is there; its guest may take a while."""
        self.assertTrue(self.expected(status))

    def test_it_leaves(self):
        self.assertFalse(self.expected(dest='beta'))

    def test_nobody_brings_it_any_more(self):
        self.assertFalse(self.expected(task_state=None))
        self.assertFalse(self.expected(gone=True))
