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

"""Routes that only a VRF looks up, as a kernel prints them that has one."""

import socket
import struct
from unittest import mock

import ddt
import fixtures
from oslotest import base

from nova_vf_failover.guest import changes
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import switch
from tests.unit.guest import outfits

# RTM_GETRULE; FRA_PRIORITY, FRA_L3MDEV, FRA_TABLE
_GETRULE = 34
_PRIORITY, _L3MDEV, _TABLE = 6, 19, 15


def _rule(family, priority, table, extra=b''):
    # FR_ACT_TO_TBL
    return struct.pack('=BBBBBxxBI', family, 0, 0, 0, table, 1, 0) + (
        netlink.numeric(_TABLE, table) + netlink.numeric(_PRIORITY, priority)
        + extra)


def _of_vrfs(family):
    """What the kernel puts with the first VRF (drivers/net/vrf.c)."""
    return _rule(family, 1000, 0, netlink.attribute(_L3MDEV, b'\1'))


@ddt.ddt
class VrfTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MockPatchObject(changes, 'Changes',
                                                 autospec=True))

    def check(self, *rules, table=10):
        """How many twins there would be.

        :param table: that leads over the NIC
        """
        route = struct.pack('=BBBBBBBBI', socket.AF_INET, 0, 0, 0, table, 3,
                            0, 1, 0)
        kernel = mock.Mock(spec=netlink.Netlink, dump=lambda kind, body: [
            rule for rule in rules + (_rule(socket.AF_INET, 32766, 254),)
            if kind == _GETRULE and rule[0] == body[0]])
        nic = mock.Mock(spec=links.Nic)
        nic.name = 'eth0'
        worn = outfits.bare('eth0')
        worn.routes = [route]
        return switch.Switch(kernel).check([
            switch.Away(worn, worn.index, nic, True)])

    def test_refused_where_no_rule_leads_to_the_table(self):
        error = self.assertRaises(intents.Refused, self.check,
                                  _of_vrfs(socket.AF_INET))

        self.assertIn('table 10', str(error))

    def test_a_rule_that_leads_there_has_a_twin(self):
        self.assertEqual(1, self.check(
            _of_vrfs(socket.AF_INET), _rule(socket.AF_INET, 2000, 10)))

    @ddt.data((253, 0), (254, 1))
    @ddt.unpack
    def test_tables_of_everybody(self, table, twins):
        self.assertEqual(twins, self.check(
            _of_vrfs(socket.AF_INET), table=table))

    def test_nobody_looks_the_table_up(self):
        for rules in ((), (_of_vrfs(socket.AF_INET6),)):
            self.assertEqual(0, self.check(*rules))
