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

"""A profile of NetworkManager is given to a VF, with an nmcli that answers as
that of a virtual machine did (``.ci/tox -e distributions``).
"""

import json
import logging
import os
import time
from unittest import mock

import fixtures
from oslotest import base

from nova_vf_failover.guest import commands
from nova_vf_failover.guest import configurators
from nova_vf_failover.guest import links
from nova_vf_failover.guest import profiles

UUID = 'babfe0f0-f417-33b1-a940-6aa4f0e5725e'
MAC = '52:54:00:77:00:11'
SETTINGS = {
    'connection.multi-connect': '0', 'connection.interface-name': '',
    'ipv6.method': 'auto', 'ipv4.route-metric': '-1',
    'ipv6.route-metric': '-1'}
VF = links.Nic(
    index=5, name='eth0', mac=MAC, up=True, carrier=True, mtu=1500,
    master=None, link=None, kind='', driver='e1000e', flags=0, txqlen=1000,
    group=0, alias='')
STANDBY = VF._replace(index=3, name='enp1s0', driver='virtio_net')


class Nics:
    """A port's two NICs."""

    @staticmethod
    def pair(mac):
        return VF, STANDBY


class SharingTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path
        active = os.path.join(self.folder, 'invocation:%s')
        os.symlink('79edf92df9bf409cbdaee8c2c5e1d9ba',
                   active % 'NetworkManager.service')
        for module, name, value in (
                (configurators, '_ACTIVE', active),
                (configurators, '_NETWORK_MANAGER',
                 os.path.join(self.folder, '%d')),
                (configurators.udev, 'present', lambda: True),
                (profiles, '_NMCLI',
                 os.path.join(os.path.dirname(__file__), 'nmcli.py'))):
            self.useFixture(fixtures.MockPatchObject(module, name, value))
        self.useFixture(fixtures.EnvironmentVariable('NMCLI', self.folder))
        self.said = self.useFixture(fixtures.FakeLogger(
            level=logging.WARNING))
        self.device(VF, 'managed=true')
        self.device(STANDBY, 'managed=true', f'connection-uuid={UUID}',
                    'route-metric-default-effective=100')
        self.know({UUID: SETTINGS})

    def device(self, nic, *lines):
        """Write what NetworkManager does of a device."""
        with open(os.path.join(self.folder, f'{nic.index}'), 'w') as file:
            file.write('\n'.join(['[device]', *lines, '']))

    def know(self, known):
        with open(os.path.join(self.folder, 'profiles.json'), 'w') as file:
            json.dump({'profiles': known, 'devices': {
                nic.name: nic.index for nic in (VF, STANDBY)}}, file)

    def answer(self, command):
        """Have another nmcli, which is a command of the shell."""
        path = os.path.join(self.folder, 'nmcli')
        with open(path, 'w') as file:
            file.write(f'#!/bin/sh\n{command}\n')
        os.chmod(path, 0o755)
        self.useFixture(fixtures.MockPatchObject(profiles, '_NMCLI', path))

    @property
    def profile(self):
        with open(os.path.join(self.folder, 'profiles.json')) as file:
            return json.load(file)['profiles'][UUID]

    @property
    def commands(self):
        try:
            with open(os.path.join(self.folder, 'commands')) as file:
                return [json.loads(line) for line in file]
        except FileNotFoundError:
            return []

    def assertShared(self):
        sharing = profiles.Sharing(Nics, [MAC])
        self.assertTrue(sharing)
        sharing.advance()
        self.assertTrue(sharing.done)
        self.assertEqual(UUID, configurators.profile(VF))
        self.assertEqual(UUID, configurators.profile(STANDBY))

    def test_a_question_changes_nothing(self):
        sharing = profiles.Sharing(Nics, [MAC])

        self.assertFalse(sharing.done)
        self.assertEqual([], self.commands)

    def assertNotShared(self, reason):
        sharing = profiles.Sharing(Nics, [MAC])
        self.assertTrue(sharing)
        self.assertFalse(sharing.done)
        sharing.advance()
        self.assertTrue(sharing.done)
        self.assertIn(reason, self.said.output)
        self.assertEqual(UUID, configurators.profile(STANDBY))

    def test_both_have_it_and_it_is_as_before(self):
        self.assertShared()

        self.assertEqual(SETTINGS, self.profile)
        self.assertEqual('', self.said.output)
        self.assertEqual(
            ['show', 'modify', 'up', 'modify'],
            [next(word for word in command
                  if word in ('show', 'modify', 'up'))
             for command in self.commands])
        self.assertTrue(all('--temporary' in command
                            for command in self.commands
                            if 'modify' in command))

    def test_the_vf_gets_the_metric_of_the_standby(self):
        self.assertShared()

        change = self.commands[1]
        for key in ('ipv4.route-metric', 'ipv6.route-metric'):
            self.assertEqual('100', change[change.index(key) + 1])

    def test_its_own_metric_stays(self):
        self.know({UUID: {**SETTINGS, 'ipv4.route-metric': '50'}})

        self.assertShared()

        self.assertNotIn('ipv4.route-metric', self.commands[1])
        self.assertEqual('50', self.profile['ipv4.route-metric'])

    def test_no_second_way_of_ipv6_before_the_vf_has_heard_anything(self):
        self.know({UUID: {**SETTINGS, 'ipv6.method': 'manual'}})

        self.assertShared()

        self.assertNotIn('ipv6.route-metric', self.commands[1])

    def test_a_profile_that_is_bound_to_a_name(self):
        settings = {**SETTINGS, 'connection.interface-name': STANDBY.name}
        self.know({UUID: settings})

        self.assertShared()

        self.assertEqual(settings, self.profile)

    def test_one_that_was_made_up_for_the_vf_gives_way(self):
        self.device(VF, 'managed=true', 'connection-uuid=of-wired-connection')

        self.assertShared()

    def test_the_vf_is_not_seen_yet(self):
        os.unlink(os.path.join(self.folder, f'{VF.index}'))
        sharing = profiles.Sharing(Nics, [MAC])
        sharing.advance()

        self.assertFalse(sharing.done)
        self.assertEqual([], self.commands)

        self.device(VF, 'managed=true')
        sharing.advance()

        self.assertTrue(sharing.done)
        self.assertEqual(UUID, configurators.profile(VF))

    def test_a_nic_goes_meanwhile(self):
        for left in ((None, STANDBY), (VF, None)):
            nics = mock.Mock(spec=links.Links, **{
                'pair.return_value': (VF, STANDBY)})
            sharing = profiles.Sharing(nics, [MAC])
            nics.pair.return_value = left
            sharing.advance()

            self.assertTrue(sharing.done)
        self.assertEqual([], self.commands)

    def test_it_is_asked_once(self):
        sharing = profiles.Sharing(Nics, [MAC])
        sharing.advance()
        asked = len(self.commands)
        # It takes its time.
        self.device(VF, 'managed=true')

        sharing.advance()

        self.assertFalse(sharing.done)
        self.assertEqual(asked, len(self.commands))

    def test_an_older_networkmanager(self):
        self.know({UUID: {key: value for key, value in SETTINGS.items()
                          if key != 'connection.multi-connect'}})

        self.assertNotShared("invalid field 'connection.multi-connect'")
        self.assertEqual(1, len(self.commands))

    def test_the_profile_has_gone(self):
        self.know({})

        self.assertNotShared('no such connection profile')

    def test_it_is_not_activated(self):
        self.useFixture(fixtures.MockPatchObject(
            profiles, '_NAME', 'connection.stable-id'))
        settings = {**SETTINGS, 'connection.stable-id': '',
                    'connection.interface-name': STANDBY.name}
        self.know({UUID: settings})

        self.assertNotShared("not compatible with connection 'port'")
        self.assertEqual(settings, self.profile)

    def test_what_cannot_be_put_back_is_said(self):
        change = profiles._change
        asked = []

        def change_once(uuid, settings):
            asked.append(settings)
            if len(asked) > 1:
                raise commands.Unwilling('NetworkManager is not running.')
            change(uuid, settings)

        self.useFixture(fixtures.MockPatchObject(
            profiles, '_change', change_once))

        self.assertShared()

        self.assertIn(f'The profile {UUID} stays changed', self.said.output)
        self.assertIn("'connection.multi-connect': '0'", self.said.output)
        self.assertNotIn('does not give', self.said.output)

    def test_there_is_no_nmcli(self):
        self.useFixture(fixtures.MockPatchObject(
            profiles, '_NMCLI', os.path.join(self.folder, 'nmcli')))

        self.assertNotShared('No such file or directory')

    def test_it_says_something_that_cannot_be_decoded(self):
        self.answer(r"printf 'no connection B\374ro\n' >&2; exit 10")

        self.assertNotShared('no connection B\ufffdro')

    def test_nmcli_does_not_come_to_an_end(self):
        self.answer('exec sleep 60')
        self.useFixture(fixtures.MockPatchObject(profiles, '_LONGEST', 0.2))
        start = time.monotonic()

        self.assertNotShared('timed out')
        self.assertLess(time.monotonic() - start, 30)

    def test_a_standby_without_a_profile(self):
        self.device(STANDBY, 'managed=false')

        self.assertFalse(profiles.Sharing(Nics, [MAC]))

    def test_no_networkmanager(self):
        os.unlink(configurators._ACTIVE % 'NetworkManager.service')
        sharing = profiles.Sharing(Nics, [MAC])

        self.assertFalse(sharing)
        self.assertTrue(sharing.done)
        self.assertEqual([], self.commands)

    def test_a_parked_standby_is_let_go(self):
        profiles.let_go(STANDBY)

        self.assertEqual([['device', 'set', 'enp1s0', 'managed', 'no']],
                         self.commands)
        self.assertEqual('', self.said.output)

    def test_a_standby_that_has_gone(self):
        profiles.let_go(STANDBY._replace(name='standby3'))

        self.assertIn("Error: Device 'standby3' not found.",
                      self.said.output)
