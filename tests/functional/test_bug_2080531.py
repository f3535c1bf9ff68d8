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
"""Bug 2080531: the MTU of a network is lost from the cache of a server.

Attaching a port of one more network makes Nova forget the MTU of the others.
A NIC that has an MTU in the domain's XML then arrives on the destination
without one, which libvirt refuses as another machine; the live migration
fails, whatever NIC of the server it is.

A standby has no MTU in its XML; its device has the PF's, and the agent gives
it the one that the VF has in the guest. A migration that fails for another
NIC of the server is undone.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

from nova import objects

from tests.simulation import errors


class MTULostTestCase(base.FailoverTestCase):

    def setUp(self):
        super().setUp()
        self.start_hosts()
        for network in self.neutron._networks.values():
            network['mtu'] = 1400

    def lose_mtu(self, server):
        cache = objects.InstanceInfoCache.get_by_instance_uuid(
            self.ctxt, server['id'])
        network_info = cache.network_info
        self.assertEqual({1400}, {vif['network']['meta'].pop('mtu')
                                  for vif in network_info})
        cache.network_info = network_info
        cache.save()

    def test_vf(self):
        server = self.boot(self.add_port())
        self.lose_mtu(server)

        self.migrate(server)

        self.assertWorld(server, 'beta')

    def test_between_a_failback_that_failed_and_the_next_migration(self):
        server = self.boot(self.add_port())
        self.plane('beta').fail_next(
            'assign_vf', errors.internal('no monitor'))
        self.migrate(server)
        self.assertPorts(server, 'beta', base.STANDBY)
        self.lose_mtu(server)

        self.migrate(server)

        self.assertWorld(server, 'alpha')

    def test_beside_a_port_that_has_one(self):
        port = self.add_port()
        server = self._create_server(host='alpha', networks=[
            {'uuid': self.neutron.network_1['id']}, {'port': port['id']}])
        self.hosts.add_guest(server['id'])
        self.lose_mtu(server)

        self.migrate(server, 'failed')

        self.assertWorld(server, 'alpha')
        self.assertIn('Target network card MTU 0 does not match source 1400',
                      self.stdlog.logger.output)
