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

import contextlib
import os
import unittest
from unittest import mock

import fixtures
import nova.exception
from oslotest import base
import pyroute2
from pyroute2.netlink import exceptions
from pyroute2.netlink.rtnl import ifinfmsg

from nova_vf_failover import exception
from nova_vf_failover.steering import functions
from tests.unit import kernel

VF = functions.Function('0000:81:00.2', 'pf0', 1)


def link_with_vfs(*macs):
    """The message of a PF with these VFs, through the bytes of a netlink."""
    told = ifinfmsg.ifinfmsg()
    told['attrs'] = [('IFLA_VFINFO_LIST', {'attrs': [
        ('IFLA_VF_INFO', {'attrs': [
            ('IFLA_VF_MAC', {'vf': number, 'mac': mac})]})
        for number, mac in enumerate(macs)]})]
    told.encode()
    read = ifinfmsg.ifinfmsg(told.data)
    read.decode()
    return read


class NetlinkOfAPF:
    """A kernel with one PF in it."""

    def __init__(self, *macs):
        self.macs = list(macs)

    def link_lookup(self, ifname):
        return [7] if ifname == 'pf0' else []

    def get_links(self, index, ext_mask):
        # RTEXT_FILTER_VF, include/uapi/linux/rtnetlink.h.
        return [link_with_vfs(*(self.macs if ext_mask & 1 else ()))]


class MacTestCase(base.BaseTestCase):

    def functions(self, *macs):
        return functions.Functions(
            lambda: contextlib.nullcontext(NetlinkOfAPF(*macs)))

    def test_mac_of_the_vf_with_the_number(self):
        known = self.functions('fa:16:3e:00:00:01', 'FA:16:3E:00:00:02')

        self.assertEqual('fa:16:3e:00:00:02', known.mac(VF))

    def test_pf_that_does_not_know_it(self):
        for macs in ((), ('fa:16:3e:00:00:01',)):
            error = self.assertRaises(
                exception.SteeringError, self.functions(*macs).mac, VF)
            self.assertIn('PF pf0 does not say', str(error))

    def test_driver_that_only_says_that_it_was_set(self):
        known = self.functions('fa:16:3e:00:00:01', 'fa:16:3e:00:00:02')

        with mock.patch.object(functions, '_set_mac',
                               autospec=True):
            error = self.assertRaises(exception.SteeringError, known.set_mac,
                                      VF, 'ea:16:3e:00:00:02')

        self.assertIn('and has fa:16:3e:00:00:02', str(error))

    def test_vf_that_has_gone(self):
        self.useFixture(fixtures.MockPatch(
            'nova.pci.utils.get_ifname_by_pci_address',
            side_effect=nova.exception.PciDeviceNotFoundById(id='x')))

        error = self.assertRaises(exception.SteeringError,
                                  functions.Functions().find, '0000:81:00.2')

        self.assertIn('0000:81:00.2 is no VF', str(error))


class DriverTestCase(base.BaseTestCase):

    def test_of_a_device_without_one(self):
        error = self.assertRaises(
            exception.SteeringError, functions.Functions().driver,
            functions.Function('', 'lo', 0))

        self.assertIn('PF lo', str(error))

    def test_of_a_real_device(self):
        for name in os.listdir('/sys/class/net'):
            link = f'/sys/class/net/{name}/device/driver'
            if os.path.exists(link):
                self.assertEqual(
                    os.path.basename(os.path.realpath(link)),
                    functions.Functions().driver(
                        functions.Function('', name, 0)))


@unittest.skipUnless(os.geteuid() == 0, 'network namespaces need root')
class KernelTestCase(base.BaseTestCase):
    """Against the kernel, in a namespace of the test's own."""

    def setUp(self):
        super().setUp()
        self.pf = self.useFixture(kernel.OwnNetwork()).pf

    def test_device_without_vfs_refuses(self):
        error = self.assertRaises(
            exceptions.NetlinkError, functions.Functions().set_mac, VF,
            'ea:16:3e:00:00:02')

        # net/core/rtnetlink.c, do_setvfinfo: there is no ndo_set_vf_mac. An
        # attribute that it could not read would be EINVAL.
        self.assertEqual(95, error.code)

    def test_filter_of_a_macvtap_is_asked_for_again(self):
        with pyroute2.IPRoute() as netlink:
            netlink.link('add', ifname='standby', kind='macvtap',
                         link=self.pf, macvtap_mode='bridge',
                         address='fa:16:3e:00:00:01')
            standby, = netlink.link_lookup(ifname='standby')
            netlink.link('set', index=standby, state='up', flags=0x200,
                         change=0x200)
            netlink.link('set', index=standby, state='up')
            with pyroute2.IPRoute() as watching:
                watching.bind()

                functions.Functions().renew_filter('standby')

                told = [message for message in watching.get()
                        if message['event'] == 'RTM_NEWLINK'
                        and message['index'] == standby]
                while not told or not told[-1]['flags'] & 1:
                    told += [message for message in watching.get()
                             if message['event'] == 'RTM_NEWLINK'
                             and message['index'] == standby]
            # Down, then up, and still for all groups.
            self.assertEqual([0, 1], [
                told[0]['flags'] & 1, told[-1]['flags'] & 1])
            self.assertTrue(told[-1]['flags'] & 0x200)
            self.assertIn('fa:16:3e:00:00:01', [
                entry.get_attr('NDA_LLADDR')
                for entry in netlink.fdb('dump', ifindex=self.pf)])

    def test_macvtap_that_has_gone(self):
        error = self.assertRaises(
            exception.SteeringError, functions.Functions().renew_filter,
            'standby')

        self.assertIn('no device standby', str(error))
