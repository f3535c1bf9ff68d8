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


"""The NICs of a guest that makes and renames them all the time."""

import ctypes
import errno
import struct
from unittest import mock

import fixtures
from oslotest import base

from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink

_HEADER = struct.Struct('=BxHiII')
_IFNAME = 3
_DRVINFO = struct.Struct('=I32s32s32s32s32s12sIIIII')


class DriverTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.present = []
        self.asked = []
        self.nics = links.Links(
            mock.Mock(spec=netlink.Netlink, dump=self._dump),
            frozenset(['virtio_net']))
        #: the NICs that can be asked by their names
        self.drivers = {}
        self.useFixture(fixtures.MockPatchObject(
            links.fcntl, 'ioctl', self._ioctl))

    def _dump(self, kind, body):
        return [_HEADER.pack(0, 1, index, 0, 0)
                + netlink.textual(_IFNAME, name)
                for index, name in self.present]

    def _ioctl(self, number, request, argument):
        name, pointer = struct.unpack_from('16sP', argument)
        name = name.rstrip(b'\0').decode()
        self.asked.append(name)
        driver = self.drivers.get(name, OSError(errno.ENODEV, 'gone'))
        if isinstance(driver, OSError):
            raise driver
        ctypes.memmove(pointer + 4, driver.encode() + b'\0', len(driver) + 1)

    def _found(self):
        return {nic.name: nic.driver for nic in self.nics.all()}

    def test_one_that_stays_is_asked_once(self):
        self.present = [(2, 'eth0')]
        self.drivers = {'eth0': 'virtio_net'}

        self.assertEqual({'eth0': 'virtio_net'}, self._found())
        self.assertEqual({'eth0': 'virtio_net'}, self._found())

        self.assertEqual(['eth0'], self.asked)

    def test_one_that_does_not_say_is_asked_once(self):
        self.present = [(2, 'dummy0')]
        self.drivers = {'dummy0': OSError(errno.EOPNOTSUPP, 'no')}

        self.assertEqual({'dummy0': ''}, self._found())
        self.assertEqual({'dummy0': ''}, self._found())

        self.assertEqual(['dummy0'], self.asked)

    def test_those_that_have_gone_are_forgotten(self):
        for index in range(3, 50):
            name = f'veth{index}'
            self.drivers[name] = 'veth'
            self.present = [(2, 'lo'), (index, name)]
            self.drivers['lo'] = ''
            self.nics.all()

        self.assertEqual({(2, 'lo'), (49, 'veth49')},
                         set(self.nics._drivers))

    def test_one_that_is_being_renamed_is_asked_again(self):
        # The kernel has shown it as eth1, and meanwhile it has another name.
        self.present = [(2, 'eth1')]
        self.assertEqual({'eth1': ''}, self._found())

        # It has got that name back.
        self.drivers = {'eth1': 'virtio_net'}

        self.assertEqual({'eth1': 'virtio_net'}, self._found())
