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

"""A standby that systemd-networkd has configured is let go."""

import logging
import os
import stat

import fixtures
from oslotest import base

from nova_vf_failover.guest import links
from nova_vf_failover.guest import networkd
from nova_vf_failover.guest import udev

STANDBY = links.Nic(
    index=3, name='enp1s0', mac='52:54:00:77:00:11', up=False, carrier=False,
    mtu=1500, master=None, link=None, kind='', driver='virtio_net', flags=0,
    txqlen=1000, group=0, alias='')


class LettingGoTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir())
        self.said = self.useFixture(fixtures.FakeLogger(
            level=logging.WARNING))
        self.order = []
        for name in ('look_again', 'await_idle'):
            self.useFixture(fixtures.MockPatchObject(
                udev, name, lambda about, name=name: self.order.append(
                    (name, about))))

    def answer(self, script):
        """Have a networkctl that does so."""
        path = self.folder.join('networkctl')
        with open(path, 'w') as file:
            file.write(f'#!/bin/sh\n{script}\n')
        os.chmod(path, stat.S_IRWXU)
        self.useFixture(fixtures.MockPatchObject(
            networkd, '_NETWORKCTL', path))

    def test_it_looks_for_its_file_once_udev_knows_it_for_a_standby(self):
        self.answer(f'echo "$@" > {self.folder.join("said")}')

        networkd.let_go(STANDBY)

        self.assertEqual([('look_again', 'enp1s0'),
                          ('await_idle', udev.NAMING)], self.order)
        with open(self.folder.join('said')) as file:
            self.assertEqual('reconfigure enp1s0\n', file.read())
        self.assertEqual('', self.said.output)

    def test_one_that_cannot_do_that(self):
        # As that of systemd 241 says it.
        self.answer("echo 'Unknown operation reconfigure.' >&2; exit 1")

        networkd.let_go(STANDBY)

        self.assertIn('does not leave enp1s0 alone: Unknown operation',
                      self.said.output)

    def test_there_is_none(self):
        self.useFixture(fixtures.MockPatchObject(
            networkd, '_NETWORKCTL', self.folder.join('networkctl')))

        networkd.let_go(STANDBY)

        self.assertIn('No such file or directory', self.said.output)
