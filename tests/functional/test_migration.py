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

from tests.functional import base


class NativeTestCase(base.FailoverTestCase):
    """Plain Nova on the simulated hypervisor: what we do not change."""

    PLUGIN = False

    def test_vf_is_gone_during_the_copy(self):
        self.start_hosts()
        server = self.boot(self.add_port())

        self.migrate(server)

        self.assertWorld(server, 'beta')
        self.assertEqual(['assign_vf', 'return_vf'], self.plane('alpha').calls)
        self.assertEqual(['assign_vf'], self.plane('beta').calls)


class SwapTestCase(base.FailoverTestCase):

    def test_one_vf_on_a_vlan(self):
        self.start_hosts()
        server = self.boot(self.add_port())

        self.migrate(server)

        self.assertWorld(server, 'beta')
        self.assertEqual(
            ['assign_vf', 'plug_macvtap', 'connect_macvtap', 'return_vf',
             'disconnect_macvtap', 'unplug_macvtap'],
            self.plane('alpha').calls)
        self.assertEqual(
            ['plug_macvtap', 'connect_macvtap', 'assign_vf',
             'disconnect_macvtap', 'unplug_macvtap'],
            self.plane('beta').calls)
        events = self.events(server)
        self.assertEqual(('Success', 'Success'), (
            events['compute_vf_failover'], events['compute_vf_failback']))
