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

import ddt
from oslotest import base as test_base

from nova_vf_failover.steering import auto
from nova_vf_failover.steering import base
from tests.simulation import hosts
from tests.simulation import paper

VIF = {'id': 'port-1', 'address': 'FA:16:3E:00:00:01',
       'profile': {'pci_slot': '0000:81:00.2'}}
MAC = 'fa:16:3e:00:00:01'


@ddt.ddt
class AutoTestCase(test_base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.plane = paper.PaperDataPlane('alpha', {})
        self.plane.add_pf('pf0', ['0000:81:00.1', '0000:81:00.2'])
        self.plane.set_vf_mac('0000:81:00.2', MAC)
        self.plane.macvtaps['macvtap0'] = paper.PaperMacvtap('', 'pf0', MAC)
        self.plane.calls.clear()

    @ddt.data(
        ('igb', ['set_vf_mac']), ('ixgbe', ['set_vf_mac']),
        ('i40e', ['set_vf_mac']), ('ice', ['set_vf_mac', 'renew_filter']),
        ('bnxt_en', []), ('mlx5_core', []), ('unheard_of', []))
    @ddt.unpack
    def test_before_the_vf_leaves(self, driver, expected):
        self.plane.driver = driver
        steering = auto.AutoSteering(hosts.PaperFunctions(self.plane))

        steering.to_standby(VIF, 'macvtap0')
        # As after a crash.
        steering.to_standby(VIF, 'macvtap0')

        again = ['renew_filter'] if driver == 'ice' else []
        self.assertEqual(expected + again, self.plane.calls)
        self.assertEqual(
            base.placeholder(MAC) if expected else MAC,
            self.plane.vfs['0000:81:00.2'].mac)

    @ddt.data(('ice', []), ('bnxt_en', ['renew_filter']), ('mlx5_core', []))
    @ddt.unpack
    def test_after_it_has_left(self, driver, expected):
        self.plane.driver = driver

        auto.AutoSteering(hosts.PaperFunctions(self.plane)).vf_left(
            VIF, 'macvtap0')

        self.assertEqual(expected, self.plane.calls)

    def test_only_a_placeholder_is_replaced(self):
        steering = auto.AutoSteering(hosts.PaperFunctions(self.plane))

        for mac, expected in ((MAC, MAC), (base.placeholder(MAC), MAC),
                              ('02:00:00:00:00:07', '02:00:00:00:00:07')):
            self.plane.set_vf_mac('0000:81:00.2', mac)
            steering.to_primary(VIF)
            self.assertEqual(expected, self.plane.vfs['0000:81:00.2'].mac)


class PlaceholderTestCase(test_base.BaseTestCase):

    def test_it_is_a_local_unicast_mac_of_its_own(self):
        held = base.placeholder('fa:16:3e:00:00:01')

        self.assertEqual('ea:16:3e:00:00:01', held)
        first = int(base.placeholder('02:00:00:00:00:01')[:2], 16)
        self.assertEqual((0, 2), (first & 1, first & 2))
        self.assertEqual('fa:16:3e:00:00:01', base.placeholder(held))
