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

"""What a nested host of the lab does, on the simulated hypervisor.

The lab takes hours to be run, so that what it needs of the plugin would be
found missing late.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip


class DeskTestCase(base.FailoverTestCase):

    def setUp(self):
        super().setUp()
        # It imports what libvirt-python has, which is simulated by now.
        from tests.lab.sriov import desk
        self.start_host('alpha')
        server = self.boot(self.add_port())
        self.uuid = server['id']
        self.mac = self.ports[0]['mac_address']
        self.desk = desk.Desk(self.computes['alpha'].driver)
        vf, = [address for address, vf in self.plane('alpha').vfs.items()
               if vf.owner]
        self.port = {'server': self.uuid, 'mac': self.mac, 'slot': vf,
                     'vlan': 42}

    def kinds(self):
        return [nic.kind for nic in
                self.domain('alpha', {'id': self.uuid}).nics()]

    def steps(self, method):
        return [step[0] for step in getattr(self.desk, method)(self.port)]

    def test_there_and_back(self):
        self.assertEqual(['hostdev'], self.kinds())
        self.steps('check')

        self.assertIn('vf detach', self.steps('failover'))
        self.assertEqual(['direct'], self.kinds())

        self.assertIn('vf attach', self.steps('failback'))
        self.assertEqual(['hostdev'], self.kinds())

    def test_as_nova_does(self):
        self.desk.detach(self.port)
        self.assertEqual([], self.kinds())

        self.desk.attach(self.port)
        self.assertEqual(['hostdev'], self.kinds())

    def test_what_it_says_of_a_guest(self):
        self.assertIn(self.mac, self.desk.describe(self.uuid))
