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

"""A port of Neutron with the SR-IOV agents of two hosts."""

import pathlib
import time

import fixtures
import testtools

from tests.neutron import server
from tests.neutron import settings
from tests.neutron import vf_files

ALPHA, BETA = '0000:81:00.1', '0000:91:00.1'


class ServerTestCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        missing = server.missing_requirement()
        if missing:
            self.skipTest(missing)
        self.files = vf_files.VfFiles(pathlib.Path(
            self.useFixture(fixtures.TempDir()).path))
        self.server = self.useFixture(server.Server())
        for host, address in (('alpha', ALPHA), ('beta', BETA)):
            pf = f'{host}pf0'
            self.files.add_pf(pf, [address])
            self.server.start_agent(host, pf, self.files)
        self.port = self.make('port', {'network_id':
                                       self.server.make_network('sriov'),
                                       'binding:vnic_type': 'direct',
                                       'device_owner': 'compute:nova'})

    def make(self, kind, body):
        code, answer = self.server.ask('POST', f'/{kind}s', {kind: body})
        self.assertEqual(201, code, answer)
        return answer[kind]

    def look(self):
        return self.server.ask('GET', f'/ports/{self.port["id"]}')[1]['port']

    def assertBecomes(self, status):
        end = time.monotonic() + 60
        while self.look()['status'] != status:
            self.assertLess(time.monotonic(), end, self.look())
            time.sleep(0.1)

    def bind(self, host, address):
        profile = {'pci_slot': address,
                   'physical_network': settings.PHYSICAL_NETWORK}
        if host == 'alpha':
            code, answer = self.server.ask(
                'PUT', f'/ports/{self.port["id"]}', {'port': {
                    'binding:host_id': host, 'binding:profile': profile}})
            self.assertEqual(200, code, answer)
        else:
            code, answer = self.server.ask(
                'POST', f'/ports/{self.port["id"]}/bindings', {'binding': {
                    'host': host, 'vnic_type': 'direct',
                    'profile': profile}})
            self.assertEqual(201, code, answer)

    def test_a_port_moves_with_its_vf(self):
        mac, bindings = (self.port['mac_address'],
                         f'/ports/{self.port["id"]}/bindings')
        self.bind('alpha', ALPHA)
        self.assertEqual('DOWN', self.look()['status'])

        # libvirt gives the VF to the guest, and the agent finds it.
        self.files.give('alphapf0', ALPHA, mac)
        self.assertBecomes('ACTIVE')
        self.assertEqual({'mac': mac, 'spoofchk': '1', 'link_state': '1'},
                         self.files.read('alphapf0', ALPHA))

        self.bind('beta', BETA)
        self.files.take_back('alphapf0', ALPHA)
        self.assertBecomes('DOWN')
        code, _ = self.server.ask('PUT', f'{bindings}/beta/activate')
        self.assertEqual(200, code)
        self.files.give('betapf0', BETA, mac)
        self.assertBecomes('ACTIVE')
        code, _ = self.server.ask('DELETE', f'{bindings}/alpha')
        self.assertEqual(204, code)

        shown = self.look()
        self.assertEqual(('beta', 'hw_veb', BETA), (
            shown['binding:host_id'], shown['binding:vif_type'],
            shown['binding:profile']['pci_slot']))
        self.assertEqual([], self.server.trouble())

    def test_no_agent_no_binding(self):
        self.bind('alpha', ALPHA)

        code, answer = self.server.ask(
            'POST', f'/ports/{self.port["id"]}/bindings', {'binding': {
                'host': 'gamma', 'vnic_type': 'direct', 'profile': {}}})

        self.assertEqual((500, 'PortBindingError'), (
            code, answer['NeutronError']['type']))
