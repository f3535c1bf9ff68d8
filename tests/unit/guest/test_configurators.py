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

"""Whether network managers have finished, from files that they left in a
virtual machine (``.ci/tox -e distributions``).
"""

import os
from unittest import mock

import fixtures
from oslotest import base

from nova_vf_failover.guest import configurators
from nova_vf_failover.guest import links

NIC = links.Nic(
    index=5, name='enp1s0', mac='52:54:00:77:00:11', up=True, carrier=True,
    mtu=1500, master=None, link=None, kind='', driver='e1000e', flags=0,
    txqlen=1000, group=0, alias='')


class ConfiguratorTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path
        for name in ('_ACTIVE', '_NETWORKD', '_NETWORK_MANAGER', '_IFUPDOWN'):
            self.useFixture(fixtures.MockPatchObject(
                configurators, name, os.path.join(
                    self.folder, getattr(configurators, name).strip('/'))))
        self.useFixture(fixtures.MockPatchObject(
            configurators.udev, 'present', lambda: True))

    def write(self, path, text):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as file:
            file.write(text)

    def start(self, unit):
        path = configurators._ACTIVE % unit
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink('79edf92df9bf409cbdaee8c2c5e1d9ba', path)


class BusyTestCase(ConfiguratorTestCase):

    def test_none_of_them_runs(self):
        self.write(configurators._NETWORKD % 5, 'ADMIN_STATE=configuring\n')

        self.assertIsNone(configurators.busy(NIC))

    def test_networkd(self):
        unit = 'systemd-networkd.service'
        self.start(unit)
        self.assertEqual(unit, configurators.busy(NIC))

        for state, wanted in (('pending', unit), ('initialized', unit),
                              ('configuring', unit), ('configured', None),
                              ('unmanaged', None), ('failed', None)):
            self.write(configurators._NETWORKD % 5,
                       '# This is private data. Do not parse.\n'
                       f'ADMIN_STATE={state}\nOPER_STATE=degraded\n')
            self.assertEqual(wanted, configurators.busy(NIC), state)

    def test_network_manager(self):
        unit = 'NetworkManager.service'
        self.start(unit)
        self.assertEqual(unit, configurators.busy(NIC))

        for text, wanted in (
                ('managed=true\n', unit), ('managed=false\n', None),
                ('managed=true\nconnection-uuid=23\n', None)):
            self.write(configurators._NETWORK_MANAGER % 5,
                       f'[device]\n{text}')
            self.assertEqual(wanted, configurators.busy(NIC), text)

    def test_ifupdown(self):
        unit = 'ifup@enp1s0.service'
        self.start(unit)
        self.write(configurators._IFUPDOWN, 'lo=lo\nenp2s0=enp2s0\n')
        self.assertEqual(unit, configurators.busy(NIC))

        self.write(configurators._IFUPDOWN, 'lo=lo\nenp1s0=enp1s0\n')

        self.assertIsNone(configurators.busy(NIC))

    def test_another_network_namespace(self):
        self.start('systemd-networkd.service')

        with mock.patch.object(configurators.udev, 'present',
                               autospec=True, return_value=False):
            self.assertIsNone(configurators.busy(NIC))


class RenewsTestCase(ConfiguratorTestCase):
    """Whether somebody takes up a NIC that has come, lease and all."""

    def test_none_of_them_runs(self):
        self.assertFalse(configurators.renews(NIC))

    def test_networkd(self):
        self.start('systemd-networkd.service')
        self.assertFalse(configurators.renews(NIC))

        for state, expected in (('unmanaged', False), ('configured', True)):
            self.write(configurators._NETWORKD % 5, f'ADMIN_STATE={state}\n')

            self.assertIs(expected, configurators.renews(NIC))

    def test_network_manager(self):
        self.start('NetworkManager.service')
        for text, expected in (('false', False), ('true', True)):
            self.write(configurators._NETWORK_MANAGER % 5, f'managed={text}\n')

            self.assertIs(expected, configurators.renews(NIC))

    def test_ifupdown(self):
        self.start('ifup@enp2s0.service')
        self.assertFalse(configurators.renews(NIC))

        self.start('ifup@enp1s0.service')

        self.assertTrue(configurators.renews(NIC))

    def test_another_network_namespace(self):
        """What they say of this index is said of another NIC."""
        for unit in ('ifup@enp1s0', 'systemd-networkd', 'NetworkManager',
                     'systemd-resolved'):
            self.start(f'{unit}.service')
        self.write(configurators._NETWORKD % 5, 'ADMIN_STATE=configured\n')
        self.write(configurators._NETWORK_MANAGER % 5,
                   'managed=true\nconnection-uuid=23\n')
        self.assertTrue(configurators.resolves())

        with mock.patch.object(configurators.udev, 'present',
                               lambda: False):
            self.assertFalse(configurators.renews(NIC))
            self.assertIsNone(configurators.profile(NIC))
            self.assertFalse(configurators.resolves())
