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

"""A server with a port that is swapped and a direct port that is Nova's.

The latter is a VF in switchdev mode, a whole PF or a vDPA device in a real
cloud. Here it is a VF like the other one that the plugin takes for none.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional.api import client

from nova_vf_failover import negotiation
from tests.simulation import hypervisor
from tests.simulation import paper_agent


class MixedPortsTestCase(base.FailoverTestCase):

    def setUp(self):
        super().setUp()
        self.start_hosts()
        self.ours, self.novas = self.add_port('42'), self.add_port('43')
        is_vf = negotiation.is_vf
        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.negotiation.is_vf',
            lambda vif: vif['id'] != self.novas['id'] and is_vf(vif)))
        self.server = self.boot(self.ours, self.novas)

    def kinds(self, host):
        """The types of the NICs that the guest has, by port."""
        nics = self.domain(host, self.server).nics()
        return [sorted(nic.kind for nic in nics
                       if nic.mac == port['mac_address'])
                for port in (self.ours, self.novas)]

    def test_both_move(self):
        self.migrate(self.server)

        self.assertEqual([['hostdev'], ['hostdev']], self.kinds('beta'))
        self.assertWorld(self.server, 'beta')

    def test_failover_fails_before_nova_has_detached_its_own(self):
        self.agent.mood = paper_agent.Mood.FAILING

        self.migrate(self.server, 'failed')

        self.assertEqual([['hostdev'], ['hostdev']], self.kinds('alpha'))
        self.assertEqual(2, self.plane('alpha').calls.count('assign_vf'))
        self.assertWorld(self.server, 'alpha')

    def test_migration_fails_after_nova_has_detached_its_own(self):
        self.hosts.world.migrations.failure = 'load of migration failed'

        self.migrate(self.server, 'failed')

        self.assertEqual([['hostdev'], ['hostdev']], self.kinds('alpha'))
        self.assertWorld(self.server, 'alpha')

    def test_novas_comes_back_beside_one_that_has_no_vf(self):
        self.plane('beta').fail_next('assign_vf', fakelibvirt.libvirtError(
            'Unable to read from monitor: Connection reset by peer'))

        self.migrate(self.server)

        self.assertEqual([['direct'], ['hostdev']], self.kinds('beta'))

    def test_novas_comes_back_after_a_rollback_that_leaves_one_degraded(self):
        self.hosts.world.migrations.failure = 'load of migration failed'
        self.plane('alpha').fail_next('assign_vf', fakelibvirt.libvirtError(
            'Unable to read from monitor: Connection reset by peer'))

        self.migrate(self.server, 'failed')

        self.assertEqual([['direct'], ['hostdev']], self.kinds('alpha'))


class RefusedDetachTestCase(base.FailoverTestCase):

    def test_nova_is_told_as_it_expects(self):
        self.start_hosts()
        server = self.boot(self.add_port())
        self.plane('alpha').calls.clear()
        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.domain.Domain.read_journal',
            lambda domain: (_ for _ in ()).throw(
                hypervisor.errors.internal('End of file'))))

        # The harness makes the API wait for nova-compute.
        error = self.assertRaises(
            client.OpenStackApiException, self.api.detach_interface,
            server['id'], self.ports[0]['id'])

        self.assertIn('InterfaceDetachFailed', str(error))
        self.assertEqual([], self.plane('alpha').calls)
        self.assertEqual(['hostdev'], [
            nic.kind for nic in self.domain('alpha', server).nics()])
