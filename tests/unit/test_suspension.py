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

import types
from unittest import mock

from nova import exception as nova_exception
from oslotest import base

from nova_vf_failover import exception
from nova_vf_failover import journal
from nova_vf_failover import operations
from nova_vf_failover import suspension

PORT = '5b0e3d0e-5d5c-4a3f-9c55-d7a4f04d6f01'
AWAY = journal.Journal().moved(
    PORT, 'fa:16:3e:00:00:01', journal.State.ATTACHING)


class SuspensionTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.operations = operations.Operations()

    def check(self, task_state, **journal_is):
        bench = mock.Mock(operations=self.operations)
        bench.domain.return_value.read_journal.configure_mock(**journal_is)
        suspension.check(bench, types.SimpleNamespace(
            uuid='server', task_state=task_state))

    def test_a_server_on_its_vfs(self):
        kept = journal.Journal(kept={PORT: 'fa:16:3e:00:00:01'})
        for content in (journal.Journal(), kept):
            self.check('suspending', return_value=content)

    def test_its_owner_suspends_it(self):
        error = self.assertRaises(
            nova_exception.InstanceFaultRollback, self.check, 'suspending',
            return_value=AWAY)

        self.assertIsInstance(error.inner_exception,
                              nova_exception.InstanceSuspendFailure)
        self.assertIn(PORT, str(error.inner_exception))

    def test_it_has_to_stand_still_for_a_snapshot(self):
        error = self.assertRaises(
            nova_exception.InstanceSuspendFailure, self.check,
            'image_snapshot_pending', return_value=AWAY)

        self.assertIn(PORT, str(error))

    def test_nobody_knows(self):
        error = self.assertRaises(
            nova_exception.InstanceFaultRollback, self.check, 'suspending',
            side_effect=exception.JournalError('it cannot be read'))

        self.assertIn('it cannot be read', str(error))

    def test_nobody_moves_its_ports_while_it_is_looked_at(self):
        mine = []

        def read():
            mine.append(self.operations.mine('server'))
            return journal.Journal()

        self.check('suspending', side_effect=read)

        self.assertEqual([True], mine)

    def test_its_ports_are_being_moved(self):
        with self.operations.begin('server'):
            error = self.assertRaises(
                nova_exception.InstanceFaultRollback, self.check,
                'suspending', return_value=journal.Journal())

        self.assertIn('is working on server', str(error.inner_exception))
