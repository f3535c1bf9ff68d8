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

"""Devices that not every kernel has, as the kernel would print them."""

import struct
from unittest import mock

import ddt
import fixtures
from oslotest import base

from nova_vf_failover.guest import firewall
from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import obstacles

_UP = links.IFF_UP | links.IFF_LOWER_UP
_MAC = bytes.fromhex('fa163e000001')


def link(index, name, kind='', flags=_UP, **numbers):
    """A message of a link, with attributes of linux/if_link.h."""
    body = struct.pack('=BxHiII', 0, 1, index, flags, 0)
    body += netlink.textual(3, name) + netlink.attribute(1, _MAC)
    for attribute, number in {'link': 5, 'master': 10}.items():
        if attribute in numbers:
            body += netlink.numeric(number, numbers[attribute])
    if kind:
        info = netlink.textual(1, kind)
        if 'vxlan' in numbers:
            info += netlink.attribute(2, netlink.numeric(
                3, numbers['vxlan']))
        body += netlink.attribute(18, info)
    return body


@ddt.ddt
class ObstacleTestCase(base.BaseTestCase):

    def found(self, *bodies):
        """What is in the way of eth0, the first of these links."""
        # RTM_GETLINK
        kernel = mock.Mock(spec=netlink.Netlink, dump=lambda kind, _: (
            list(bodies) if kind == 18 else []))
        nics = links.Links(kernel, frozenset(['virtio_net']))
        self.useFixture(fixtures.MockPatchObject(
            links, '_ask_driver', autospec=True, return_value=''))
        self.useFixture(fixtures.MockPatchObject(
            firewall.Firewall, 'obstacles', autospec=True, return_value=[]))
        return obstacles.of(kernel, nics, nics.all()[0])

    @ddt.data('bond', 'team', 'bridge', 'vrf', 'openvswitch')
    def test_a_master(self, kind):
        self.assertEqual([f'eth0 is a port of up0 ({kind}).'], self.found(
            link(2, 'eth0', master=3), link(3, 'up0', kind)))

    @ddt.data('vlan', 'macvlan', 'macvtap', 'ipvlan', 'macsec', 'gre')
    def test_a_device_above(self, kind):
        self.assertEqual([f'up0 ({kind}) lies on eth0.'], self.found(
            link(2, 'eth0'), link(3, 'up0', kind, link=2)))

    def test_a_vxlan_says_it_elsewhere(self):
        self.assertEqual(['vx0 (vxlan) lies on eth0.'], self.found(
            link(2, 'eth0'), link(3, 'vx0', 'vxlan', vxlan=2)))

    def test_everything_is_named(self):
        found = self.found(
            link(2, 'eth0', master=5, flags=0),
            link(3, 'eth0.7', 'vlan', link=2), link(4, 'eth0.8', 'vlan',
                                                    link=2),
            link(5, 'bond0', 'bond'))

        self.assertEqual(
            ['eth0 is down or has no carrier.',
             'eth0 is a port of bond0 (bond).',
             'eth0.7 (vlan) lies on eth0.', 'eth0.8 (vlan) lies on eth0.'],
            found)

    def test_what_lies_on_another_one_is_none(self):
        self.assertEqual([], self.found(
            link(2, 'eth0'), link(3, 'eth1'),
            link(4, 'eth1.7', 'vlan', link=3)))
