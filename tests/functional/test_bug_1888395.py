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
"""Bug 1888395: live migration where a port has one binding only.

Where Neutron cannot bind a port to two hosts (no ``binding-extended``), Nova
migrates in an older way, in which nothing says what the ports are like on the
destination; it refuses servers with VFs, and the bug was that it refused the
others as well.

The plugin's offer travels in what that way has not. It makes none to a server
that has no VF; one with a VF is refused by Nova, and stays as it is.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import fixtures
from nova.network import constants


class OneBindingTestCase(base.FailoverTestCase):

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MockPatchObject(
            self.neutron, 'list_extensions', return_value={
                'extensions': [{'name': constants.PORT_BINDING,
                                'alias': 'binding'}]}))
        self.start_hosts()

    def test_server_without_vfs(self):
        server = self._create_server(host='alpha', networks=[
            {'uuid': self.neutron.network_1['id']}])

        self.migrate(server)

        self.assertEqual('beta', self.api.get_server(server['id'])[
            'OS-EXT-SRV-ATTR:host'])

    def test_server_with_a_vf(self):
        server = self.boot(self.add_port())

        self.assertIn('No valid host', self.refusal(server))
        self.assertWorld(server, 'alpha')
