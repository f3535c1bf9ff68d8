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

"""What the plugin adds to a live migration: no RPC, nothing for Neutron."""

import collections

from tests.functional import base
from tests.simulation import calls


class CostTestCase(base.FailoverTestCase):

    def setUp(self):
        super().setUp()
        for name in self.buses:
            self.start_host(name, plugin=name in ('gamma', 'delta'))
        self.remember_hosts()
        self.counter = self.useFixture(calls.Calls(self.neutron))

    def count(self, source, destination):
        """Count one live migration."""
        port = self.add_port()
        server = self.boot(port, host=source)
        count = self.count_move(server, destination)
        self._delete_server(server)
        self.ports.remove(port)
        return count

    def count_move(self, server, destination):
        with self.counter.counting() as count:
            self.migrate(server, host=destination)
            # Nova writes the end of its last event after all else.
            self.until(lambda: all(self.events(server).values()))
        return count

    def test_beside_plain_nova(self):
        native = self.count('alpha', 'beta')
        ours = self.count('gamma', 'delta')

        self.assertIn('plug_macvtap', self.plane('delta').calls)
        self.assertNotIn('plug_macvtap', self.plane('beta').calls)
        self.assertEqual(native.rpc, ours.rpc)
        self.assertEqual(native.neutron, ours.neutron)
        self.assertEqual(collections.Counter(), native.db - ours.db)
        # Two instance events, each written when it begins and when it ends,
        # and seven of steps, written once, each with its action; and where
        # the NICs of the guest are, when each of the two comes and when the
        # standby has gone.
        self.assertEqual({'insert instance_actions_events': 2 + 7,
                          'update instance_actions_events': 2,
                          'update instance_actions': 4 + 7,
                          'update instance_extra': 2},
                         dict(ours.db - native.db))
        self.assertGreater(native.rpc.total(), 0)
        self.assertGreater(native.neutron.total(), 0)

    def test_server_without_vf_ports(self):
        counts = []
        for source, destination in (('alpha', 'beta'), ('gamma', 'delta')):
            server = self._create_server(networks='none', host=source)
            counts.append(self.count_move(server, destination))

        self.assertEqual(*counts)

    def test_looking_at_a_server_is_no_part_of_its_move(self):
        server = self.boot(self.add_port(), host='gamma')

        with self.counter.counting() as count:
            self.api.get_server(server['id'])
            self.api.get_servers(detail=True)
        self.assertEqual({}, dict(count.neutron))
