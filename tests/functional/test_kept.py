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

"""A guest that was asked for its VF and has kept it lets it go later."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import ddt
import fixtures
from lxml import etree

from nova_vf_failover import exception
from nova_vf_failover import journal
from nova_vf_failover import moves
from tests.simulation import hypervisor
from tests.simulation import paper_agent

Mood = paper_agent.Mood


@ddt.ddt
class KeptTestCase(base.FailoverTestCase):

    def keep(self, *vlans):
        """A server whose live migration has failed for its guest."""
        self.start_hosts()
        server = self.boot(*(self.add_port(vlan) for vlan in vlans))
        releases = self.hosts.world.releases
        releases['hostdev'] = hypervisor.IGNORES
        self.migrate(server, 'failed')
        del releases['hostdev']
        self.assertWorld(server, 'alpha')
        return server

    def test_nothing_is_done_while_the_guest_keeps_it(self):
        server = self.keep('42')
        attached = self.domain('alpha', server).XMLDesc(0)

        self.recover('alpha')

        self.assertEqual(attached, self.domain('alpha', server).XMLDesc(0))

    @ddt.data(Mood.GOOD, Mood.MISSING)
    def test_it_gets_it_back_after_its_reboot(self, mood):
        server = self.keep('42', '43')
        self.agent.mood = mood

        self.domain('alpha', server).reset()
        # Of these the first alone was asked for.
        self.assertEqual([self.ports[1]['mac_address']], [
            nic.mac for nic in self.domain('alpha', server).nics()])
        self.recover('alpha')

        self.assertWorld(server, 'alpha')
        self.assertUnknown(server, heard=mood is Mood.GOOD)
        # It is another device, which nobody has asked for.
        self.domain('alpha', server).reset()
        self.assertWorld(server, 'alpha')

    def assertUnknown(self, server, heard):
        """Nobody says for how long the guest had no NIC."""
        last = moves.find(etree.fromstring(
            self.domain('alpha', server).XMLDesc(0)))
        self.assertIsNone(last.failback.interruption)
        self.assertEqual(not heard, bool(self.told('guest_failback.error')))
        self.assertEqual(not heard, (
            'that the guest uses them is not known'
            in self.stdlog.logger.output))

    @ddt.data(True, False)
    def test_nobody_waits_for_the_next_look(self, looked):
        server = self.keep('42')
        if looked:
            self.recover('alpha')
        recovery = self.computes['alpha'].driver._recovery
        recovery._wake.clear()

        self.domain('alpha', server).reset()

        self.assertTrue(recovery._wake.is_set())
        with fixtures.MockPatchObject(
                recovery._bench.aftermath, 'abandoned') as abandoned:
            self.recover('alpha')
        # That is for looks that are a period apart.
        abandoned.mock.assert_not_called()
        self.assertWorld(server, 'alpha')

    def test_other_devices_wake_nobody(self):
        self.start_hosts()
        server = self.boot(self.add_port())
        recovery = self.computes['alpha'].driver._recovery
        recovery._wake.clear()

        self.migrate(server)

        self.assertFalse(recovery._wake.is_set())

    def test_no_vf_is_left_for_it(self):
        server = self.keep('42')
        with fixtures.MockPatch(
                'nova_vf_failover.claims.ServerClaims.reclaim',
                side_effect=exception.VFFailoverError('none is free')):
            self.domain('alpha', server).reset()
            self.recover('alpha')

        entry, = self.entries('alpha', server)
        self.assertEqual(journal.State.STANDBY, entry.state)
        self.assertIn('none is free', entry.reason)
        self.flags(recovery_interval=3600, group='vf_failover')
        self.recover('alpha')
        self.assertWorld(server, 'alpha')

    def test_it_is_migrated_after_all(self):
        server = self.keep('42')

        self.migrate(server)

        self.assertWorld(server, 'beta')
        self.assertNoMark(server, 'beta')

    def test_it_was_asked_by_a_migration_without_a_swap(self):
        self.start_hosts()
        server = self.boot(self.add_port())
        self.agent.mood = Mood.MISSING
        self.hosts.world.releases['hostdev'] = hypervisor.IGNORES
        self._ask_for_migration(server)
        self._wait_for_migration_status(server, ['failed', 'error'])
        self.until(lambda: self.api.get_server(server['id'])[
            'OS-EXT-STS:task_state'] is None)
        self.hosts.world.releases.clear()

        self.domain('alpha', server).reset()
        self.assertEqual([], self.domain('alpha', server).nics())
        self.recover('alpha')

        # Nova 32 and later say ERROR of a server that is well.
        self.assertPorts(server, 'alpha', status=self.api.get_server(
            server['id'])['status'])

    def test_its_port_has_left(self):
        server = self.keep('42')
        self.api.detach_interface(server['id'], self.ports[0]['id'])
        self.until(lambda: not self.domain('alpha', server).nics())

        self.recover('alpha')

        self.assertEqual([], self.entries('alpha', server))

    def assertNoMark(self, server, host):
        self.assertNotIn(journal.NAMESPACE,
                         self.domain(host, server).XMLDesc(0))
