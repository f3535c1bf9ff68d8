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

"""What is tied to a NIC, as a kernel prints it that can do such a thing."""

import os
import struct
from unittest import mock

import ddt
import fixtures
from oslotest import base

from nova_vf_failover.guest import attachments
from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink


def _nested(kind, *inner):
    return netlink.attribute(kind, b''.join(inner))


@ddt.ddt
class AttachmentTestCase(base.BaseTestCase):

    def found(self, name='eth0', link=b'', protocol=0, kind=0, body=b''):
        """What is said of eth0, whose index is 3.

        :param link: attributes of the NIC of this name
        :param body: what the kernel has of a kind in another protocol
        """
        index = 3 if name == 'eth0' else 4
        kernel = mock.Mock(dump=lambda *_: [
            struct.pack('=BxHiII', 0, 1, index, 0, 0) + link])
        other = mock.MagicMock()
        other.__enter__.return_value.dump = lambda asked, _: (
            [body] if asked == kind else [])
        silent = mock.MagicMock()
        silent.__enter__.return_value.dump = lambda *_: []
        self.useFixture(fixtures.MockPatchObject(
            netlink, 'Netlink', autospec=True, side_effect=(
                lambda **options: other if options['protocol'] == protocol
                else silent)))
        nic = mock.Mock(spec=links.Nic, index=3)
        nic.name = 'eth0'
        return attachments.of(kernel, nic)

    @ddt.data(('eth0', 1, 1), ('eth0', 0, 0), ('eth1', 1, 0))
    @ddt.unpack
    def test_xdp(self, name, attached, count):
        found = self.found(name, _nested(43, netlink.attribute(
            2, bytes([attached]))))

        self.assertEqual(['eth0 has an XDP program, which is not moved.']
                         * count, found)

    @ddt.data('eth0', 'eth1')
    def test_a_device_of_rdma(self, name):
        folder = self.useFixture(fixtures.TempDir()).path
        os.makedirs(os.path.join(folder, name, 'device', 'infiniband',
                                 'mlx5_2'))
        self.useFixture(fixtures.MockPatchObject(
            attachments, '_SYSFS', folder))

        self.assertEqual(
            ['eth0 has an RDMA device, which does not go along.']
            if name == 'eth0' else [], self.found())

    def test_other_names(self):
        found = self.found(link=_nested(
            52, netlink.textual(53, 'uplink'), netlink.textual(53, 'wan')))

        self.assertEqual(2, len(found))
        self.assertIn('wan', found[1])

    @ddt.data('eth0', 'eth1')
    def test_a_chain_of_one_nic(self, name):
        self.assertEqual(name == 'eth0', self._chain(
            netlink.textual(3, name)))

    @ddt.data('eth0', 'eth1')
    def test_a_chain_of_several(self, name):
        self.assertEqual(name == 'eth0', self._chain(_nested(
            4, netlink.textual(1, 'eth7'), netlink.textual(1, name))))

    def _chain(self, hook):
        found = self.found(
            protocol=12, kind=10 << 8 | 4,
            body=b'\5\0\0\0' + netlink.textual(1, 'filter')
            + netlink.textual(3, 'early') + _nested(4, hook))
        if found:
            self.assertIn('chain early of the nftables table filter is bound '
                          'to eth0', found[0])
        return bool(found)

    @ddt.data((3, True), (4, False))
    @ddt.unpack
    def test_ipsec_of_the_nic(self, index, expected):
        found = self.found(
            protocol=6, kind=18, body=bytes(224) + netlink.attribute(
                28, struct.pack('=iBxxx', index, 0)))

        self.assertEqual(expected, any('1 states' in it for it in found))

    @ddt.data((3, True), (4, False))
    @ddt.unpack
    def test_a_policy_of_ipsec(self, index, expected):
        found = self.found(
            protocol=6, kind=21, body=struct.pack('=48xiI', index, 0)
            + bytes(112))

        self.assertEqual(expected, bool(found))
