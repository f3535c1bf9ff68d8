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

import fixtures
from oslotest import base

from nova_vf_failover import attempt
from nova_vf_failover import exception
from nova_vf_failover import journal
from nova_vf_failover import ledger
from nova_vf_failover import swap

State = journal.State


class ReasonTestCase(base.BaseTestCase):
    """Two ports are on their standbys, and it is known since when and why."""

    def setUp(self):
        super().setUp()
        before = journal.Journal()
        for port in ('one', 'other'):
            before = before.moved(port, 'fa:16:3e:00:00:01', State.ATTACHING)
            for state in (State.SWITCHING, State.DETACHING):
                before = before.moved(port, 'fa:16:3e:00:00:01', state)
            before = before.moved(port, 'fa:16:3e:00:00:01', State.STANDBY,
                                  'the agent does not answer')
        self.guest = mock.Mock(**{'read_journal.return_value': before})
        self.swap = mock.Mock(ledger=ledger.Ledger(self.guest))
        self.bench = mock.Mock(**{
            'network_info.return_value': [{'id': 'one'}, {'id': 'other'}]})

    def reasons(self):
        return attempt.Attempt(self.bench, 'server')._bring_back(
            mock.Mock(uuid='server'), self.swap)

    def test_what_ends_an_attempt_at_its_beginning_is_that_of_all_ports(self):
        self.bench.aftermath.clear.side_effect = OSError('Neutron is away')

        self.assertEqual({port: 'OSError: Neutron is away'
                          for port in ('one', 'other')}, self.reasons())

    def test_what_ends_a_move_at_its_beginning_as_well(self):
        moved = swap.Swap(mock.Mock(), self.guest, *[
            mock.MagicMock() for _ in range(6)])
        with fixtures.MockPatch('nova_vf_failover.failback.Failback.move',
                                side_effect=OSError('no socket')):
            self.assertRaises(OSError, moved.failback, [
                mock.Mock(id=port) for port in ('one', 'other')])

        self.assertEqual(2 * ['OSError: no socket'], [
            entry.reason for entry in moved.ledger.entries.values()])

    def test_each_port_has_its_own(self):
        def resume(ports):
            one = mock.Mock(id='one', mac='fa:16:3e:00:00:01')
            self.swap.ledger.enter(State.RETURNING, [one])
            self.swap.ledger.enter(State.STANDBY, [one], 'no VF is left')
            raise exception.Degraded({'one': 'no VF is left'})

        self.swap.resume.side_effect = resume

        self.assertEqual({
            'one': 'no VF is left',
            'other': 'Neutron has bound the port to no VF of this server '
                     'here.'}, self.reasons())
