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

"""What lies on a NIC elsewhere, as kernels print it that have such things."""

import errno
import struct
from unittest import mock

import ddt
import fixtures
from oslotest import base

from nova_vf_failover.guest import elsewhere
from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from tests.unit.guest import test_obstacles

LINKS, ENTRIES, NUMBERS = 18, 30, 90
OWN, CONTAINER = 5, 6
MAC = bytes.fromhex('fa163e000002')


def entry(mac, index=2, flags=2, family=7):
    return struct.pack('=BxxxiHBB', family, index, 0x80, flags, 0
                       ) + netlink.attribute(2, mac)


def number(value):
    return bytes(4) + netlink.attribute(1, struct.pack('=i', value))


def there(kind, lower=2, namespace=OWN, told=CONTAINER):
    made = test_obstacles.link(7, 'up0', kind, link=lower)
    made += netlink.numeric(37, namespace)
    return made + (netlink.numeric(46, told) if told is not None else b'')


@ddt.ddt
class ElsewhereTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MockPatchObject(
            links, '_ask_driver', autospec=True, return_value=''))

    def found(self, entries=(), devices=(), numbers=(number(CONTAINER),)):
        """What is said of eth0, whose index is 2."""
        def dump(kind, body):
            answer = {LINKS: devices, ENTRIES: entries,
                      NUMBERS: numbers}[kind]
            if isinstance(answer, OSError):
                raise answer
            return list(answer)
        kernel = mock.Mock(spec=netlink.Netlink, dump=dump,
                           get=lambda *_: number(OWN))
        nic = links._nic(test_obstacles.link(2, 'eth0'))
        return elsewhere.obstacles(
            kernel, links.Links(kernel, frozenset()), nic, [nic])

    @ddt.data('ipvlan', 'macvlan', 'vlan')
    def test_a_device_of_a_container(self, kind):
        self.assertEqual(
            [f'up0 ({kind}) in another network namespace lies on eth0.'],
            self.found(devices=[there(kind)]))

    @ddt.named_data(
        ['on_another_nic', there('ipvlan', lower=3)],
        ['on_one_of_another_namespace', there('ipvlan', namespace=9)],
        ['a_cable', there('veth')],
        ['told_of_this_one', there('ipvlan', told=None)])
    def test_what_is_none(self, body):
        self.assertEqual([], self.found(devices=[body]))

    def test_what_it_takes_in(self):
        sentence, = self.found([entry(MAC)])

        self.assertIn('eth0 takes in what is sent to fa:16:3e:00:00:02',
                      sentence)

    @ddt.named_data(
        ['its_own', entry(test_obstacles._MAC)],
        ['a_group', entry(bytes.fromhex('333300000001'))],
        ['of_a_bridge', entry(MAC, flags=4)],
        ['of_another_nic', entry(MAC, index=3)],
        ['a_neighbour', entry(MAC, family=2)])
    def test_what_everybody_takes_in(self, body):
        self.assertEqual([], self.found([body]))

    @ddt.data(errno.EOPNOTSUPP, errno.EINVAL)
    def test_a_kernel_that_numbers_none(self, code):
        self.assertEqual([], self.found(numbers=OSError(code, '')))

    @ddt.data(errno.EACCES, errno.EINVAL)
    def test_a_namespace_that_does_not_tell(self, code):
        self.assertEqual([], self.found(devices=OSError(code, '')))

    def test_another_failure(self):
        for key in ('devices', 'numbers'):
            self.assertRaises(OSError, self.found,
                              **{key: OSError(errno.ENOBUFS, '')})
