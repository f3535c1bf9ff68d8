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

"""ifupdown has a VF instead of the standby that it has brought up."""

import logging
import os
import stat

import fixtures
from oslotest import base

from nova_vf_failover.guest import configurators
from nova_vf_failover.guest import ifupdown
from nova_vf_failover.guest import links
from nova_vf_failover.guest import udev

STANDBY = links.Nic(
    index=3, name='enp1s0', mac='52:54:00:77:00:11', up=False, carrier=False,
    mtu=1500, master=None, link=None, kind='', driver='virtio_net', flags=0,
    txqlen=1000, group=0, alias='')


class IfupdownTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir())
        self.said = self.useFixture(fixtures.FakeLogger(
            level=logging.WARNING))
        for module, name, value in (
                (configurators, '_ACTIVE', self.folder.join('unit:%s')),
                (udev, 'present', lambda: True),
                (ifupdown, '_SYSTEMCTL', self.folder.join('systemctl'))):
            self.useFixture(fixtures.MockPatchObject(module, name, value))

    def bring_up(self):
        os.symlink('79edf92df9bf409cbdaee8c2c5e1d9ba',
                   self.folder.join('unit:ifup@enp1s0.service'))

    def answer(self, script):
        """Have a systemctl that does so."""
        path = self.folder.join('systemctl')
        with open(path, 'w') as file:
            file.write(f'#!/bin/sh\n{script}\n')
        os.chmod(path, stat.S_IRWXU)

    def test_its_unit_is_stopped(self):
        self.answer(f'echo "$@" > {self.folder.join("said")}')
        self.bring_up()

        self.assertTrue(ifupdown.let_go(STANDBY))

        with open(self.folder.join('said')) as file:
            self.assertEqual('stop ifup@enp1s0.service\n', file.read())
        self.assertEqual('', self.said.output)

    def test_what_it_has_not_brought_up_is_left(self):
        # There is no systemctl either.
        self.assertFalse(ifupdown.let_go(STANDBY))
        self.assertEqual('', self.said.output)

    def test_a_unit_that_cannot_be_stopped(self):
        self.answer("echo 'Connection timed out' >&2; exit 1")
        self.bring_up()

        self.assertTrue(ifupdown.let_go(STANDBY))

        self.assertIn('does not leave enp1s0 alone: Connection timed out',
                      self.said.output)

    def test_it_sees_the_vf_come_once_udev_is_through(self):
        order = []
        self.useFixture(fixtures.MockPatchObject(
            udev, 'await_idle', lambda limit: order.append('idle') or True))
        self.useFixture(fixtures.MockPatchObject(
            udev, 'introduce', order.append))

        ifupdown.take('enp1s0')

        self.assertEqual(['idle', 'enp1s0'], order)
        self.assertEqual('', self.said.output)

    def test_udev_is_not_waited_for_for_ever(self):
        self.useFixture(fixtures.MockPatchObject(
            udev, 'await_idle', lambda limit: False))
        self.useFixture(fixtures.MockPatchObject(
            udev, 'introduce', lambda name: None))

        ifupdown.take('enp1s0')

        self.assertIn('enp1s0 may not be brought up', self.said.output)
