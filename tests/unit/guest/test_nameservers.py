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


"""DNS servers of a guest on its standby, beside systemd-resolved."""

import json
import logging
import os
import subprocess
import threading
from unittest import mock

import fixtures
from oslotest import base

from nova_vf_failover.guest import commands
from nova_vf_failover.guest import configurators
from nova_vf_failover.guest import links
from nova_vf_failover.guest import nameservers
from nova_vf_failover.guest import resolved
from nova_vf_failover.guest import snapshot
from tests.unit.guest import outfits

MAC = '52:54:00:77:00:11'
VF = links.Nic(
    index=5, name='eth0', mac=MAC, up=True, carrier=True, mtu=1500,
    master=None, link=None, kind='', driver='e1000e', flags=0, txqlen=1000,
    group=0, alias='')
STANDBY = VF._replace(index=3, name='enp1s0', driver='virtio_net')
PROGRAM = os.path.join(os.path.dirname(__file__), 'resolvectl.py')
POPEN = subprocess.Popen
# As busctl of systemd 252 has shown it.
PROPERTIES = {
    'ScopesMask': 7,
    'DNS': [[2, [192, 0, 2, 1]],
            [10, [254, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]],
    'DNSEx': [[2, [192, 0, 2, 1], 0, ''],
              [10, [254, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 5353,
               'dns.example'],
              [2, [192, 0, 2, 3], 5353, '']],
    'CurrentDNSServer': [0, []],
    'Domains': [['example.org', False], ['corp.example', True], ['.', True]],
    'DefaultRoute': True, 'LLMNR': 'yes', 'MulticastDNS': 'no',
    'DNSOverTLS': 'opportunistic', 'DNSSEC': 'no',
    'DNSSECNegativeTrustAnchors': [], 'DNSSECSupported': False}
UNKNOWN = dict(PROPERTIES, DNS=[], DNSEx=[], Domains=[], DefaultRoute=False)
TOLD = [['dnssec', 'enp1s0', 'no'], ['dnsovertls', 'enp1s0', 'opportunistic'],
        ['default-route', 'enp1s0', 'yes'],
        ['domain', 'enp1s0', 'example.org', '~corp.example', '~.'],
        ['dns', 'enp1s0', '192.0.2.1', '[fe80::1]:5353#dns.example',
         '192.0.2.3:5353']]
REVERTED = [['revert', 'enp1s0']]


class NameserversTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path
        self.active = os.path.join(self.folder, 'invocation:%s')
        self.start('systemd-resolved.service')
        for module, name, value in (
                (configurators, '_ACTIVE', self.active),
                (configurators, '_NETWORKD', os.path.join(self.folder, '%d')),
                (configurators.udev, 'present', lambda: True),
                # A Python for each command, on a machine with much to do.
                (nameservers, '_LONGEST', 60.0),
                (resolved, '_BUSCTL', PROGRAM),
                (resolved, '_RESOLVECTL', PROGRAM)):
            self.useFixture(fixtures.MockPatchObject(module, name, value))
        self.useFixture(fixtures.EnvironmentVariable(
            'RESOLVECTL', self.folder))
        self.said = self.useFixture(fixtures.FakeLogger(
            level=logging.WARNING))
        self.kept = snapshot.Snapshot(os.path.join(self.folder, 'kept'))
        self.kept.outfits[MAC] = outfits.bare('eth0')
        self.nics = mock.Mock(spec=links.Links, **{
            'primary.return_value': VF, 'standby.return_value': STANDBY,
            'pair.return_value': (VF, STANDBY)})
        self.names = nameservers.Nameservers(
            self.nics, self.kept, threading.Condition())
        self.told = 0
        self.know(PROPERTIES)

    def start(self, unit):
        os.symlink('79edf92df9bf409cbdaee8c2c5e1d9ba', self.active % unit)

    def know(self, vf, *refuses):
        """What systemd-resolved knows of the VF, if that is there.

        :param refuses: commands that the resolvectl does not know
        """
        known = {STANDBY.name: {'index': STANDBY.index, 'refuses': refuses,
                                'properties': UNKNOWN}}
        if vf:
            known[VF.name] = {'index': VF.index, 'properties': vf}
        self.write(known)

    def write(self, known):
        with open(os.path.join(self.folder, 'links.json'), 'w') as file:
            json.dump(known, file)

    @property
    def commands(self):
        try:
            with open(os.path.join(self.folder, 'commands')) as file:
                return [json.loads(line) for line in file]
        except FileNotFoundError:
            return []

    def fail_over(self):
        with self.names.followed([MAC]):
            self.assertEqual([], self.commands)
        self.tell()

    def tell(self):
        """What there is to be told is told, and nobody has waited for it."""
        self.assertEqual([], self.commands[self.told:])
        while not self.names._jobs.empty():
            self.names.tell_next()
        self.told = len(self.commands)

    def come_back(self, vf):
        """The VF has come back as another NIC.

        :returns: what is said then
        """
        before = len(self.commands)
        self.know(vf)
        self.names.take_back([MAC])
        self.tell()
        return self.commands[before:]

    def test_the_standby_gets_them(self):
        self.fail_over()

        self.assertEqual(TOLD, self.commands)
        self.assertEqual('', self.said.output)

    def test_those_of_before_the_move_count(self):
        started = []

        def start(*words, **options):
            started.append(POPEN(*words, **options))
            return started[-1]

        with mock.patch.object(commands.subprocess, 'Popen', start):
            questions = self.names.followed([MAC])
            questions.__enter__()
        for process in started:
            process.wait()
        # The VF goes.
        self.know(None)
        questions.__exit__(None, None, None)
        self.tell()

        self.assertEqual(TOLD, self.commands)

    def test_an_answer_that_came_late(self):
        # It is of a NIC that is down: used for nothing any more.
        self.know(dict(PROPERTIES, ScopesMask=0, DefaultRoute=False))

        self.fail_over()

        self.assertEqual([command for command in TOLD
                          if command[0] != 'default-route'], self.commands)

    def test_systemd_245(self):
        known = dict(PROPERTIES)
        del known['DNSEx']
        self.know(known)

        self.fail_over()

        self.assertEqual(['dns', 'enp1s0', '192.0.2.1', 'fe80::1'],
                         self.commands[-1])

    def test_a_port_without_them_leaves_the_standby_as_it_is(self):
        self.know(UNKNOWN)

        self.fail_over()

        self.assertEqual([], self.commands)

    def test_no_domain_is_a_setting_too(self):
        self.know(dict(PROPERTIES, Domains=[]))

        self.fail_over()

        self.assertIn(['domain', 'enp1s0', ''], self.commands)

    def test_what_resolvectl_does_not_know_is_left(self):
        self.know(PROPERTIES, 'dnsovertls')

        self.fail_over()

        self.assertEqual([command for command in TOLD
                          if command[0] != 'dnsovertls'], self.commands)
        self.assertEqual('', self.said.output)

    def test_nothing_is_said_of_a_move_that_fails(self):
        def fail():
            with self.names.followed([MAC]):
                raise RuntimeError

        self.assertRaises(RuntimeError, fail)
        self.tell()
        self.assertEqual([], self.commands)

    def test_nobody_is_asked_where_it_does_not_run(self):
        os.unlink(self.active % 'systemd-resolved.service')

        with mock.patch.object(commands.subprocess, 'Popen',
                               autospec=True) as started:
            self.fail_over()

        started.assert_not_called()

    def test_one_that_hangs_fails_no_move(self):
        os.mkfifo(os.path.join(self.folder, 'hangs'))
        self.useFixture(fixtures.MockPatchObject(
            nameservers, '_LONGEST', 0.1))

        self.fail_over()
        self.kept.outfits[MAC].nameservers = {'dns': ['192.0.2.1']}
        self.names.take_back([MAC])
        self.tell()

        self.assertEqual(2, self.said.output.count('timed out'))
        self.assertEqual([], self.commands)

    def test_what_is_no_answer_fails_no_move(self):
        self.know({'ScopesMask': 7})

        self.fail_over()

        self.assertIn("KeyError('DNS')", self.said.output)

    def test_without_the_programs_moves_go_on(self):
        for name in ('_BUSCTL', '_RESOLVECTL'):
            self.useFixture(fixtures.MockPatchObject(
                resolved, name, '/nonexistent'))

        self.fail_over()
        self.kept.outfits[MAC].nameservers = {'dns': ['192.0.2.1']}
        self.names.take_back([MAC])
        self.tell()

        self.assertEqual(2, self.said.output.count('/nonexistent'))

    def test_nics_that_it_does_not_see_are_told_of(self):
        self.write({})
        self.fail_over()
        self.assertIn('Unknown interface', self.said.output)

        self.write({VF.name: {'index': VF.index, 'properties': PROPERTIES}})
        self.fail_over()
        self.assertIn('No such device', self.said.output)

    def test_a_port_that_it_does_not_know_leaves_the_others_theirs(self):
        other = '52:54:00:77:00:12'
        self.nics.primary.side_effect = {
            other: VF._replace(index=6, mac=other), MAC: VF}.get

        with self.names.followed([other, MAC]):
            pass
        self.tell()

        self.assertEqual(TOLD, self.commands)

    def test_back_before_the_standby_is_told(self):
        with self.names.followed([MAC]):
            pass
        self.names.take_back([MAC])

        self.tell()

        self.assertEqual(TOLD + REVERTED, self.commands)

    def test_back_on_the_vf_the_standby_has_none(self):
        self.fail_over()

        self.assertEqual(REVERTED, self.come_back(PROPERTIES))
        self.assertEqual('', self.said.output)

    def test_a_vf_that_nobody_looks_after_gets_them_again(self):
        self.fail_over()

        self.assertEqual(
            [[setting, 'eth0', *words] for setting, _, *words in TOLD]
            + REVERTED, self.come_back(UNKNOWN))

    def test_one_that_networkd_looks_after_does_not(self):
        self.fail_over()
        self.start('systemd-networkd.service')
        with open(os.path.join(self.folder, '5'), 'w') as file:
            file.write('ADMIN_STATE=configuring\n')

        self.assertEqual(REVERTED, self.come_back(UNKNOWN))

    def test_another_agent_takes_them_back(self):
        self.fail_over()
        self.kept = snapshot.Snapshot(os.path.join(self.folder, 'kept'))
        self.names = nameservers.Nameservers(
            self.nics, self.kept, threading.Condition())

        self.assertEqual(REVERTED, self.come_back(PROPERTIES))

    def test_the_standby_goes_before_it_is_told(self):
        self.fail_over()
        self.know(UNKNOWN)
        self.names.take_back([MAC])
        # What the port had worn goes with the standby.
        del self.kept.outfits[MAC]
        self.nics.pair.return_value = (VF, None)
        self.tell()

        self.assertEqual(['dns', 'eth0', *TOLD[-1][2:]], self.commands[-1])

    def test_a_failback_of_what_was_given_none_says_nothing(self):
        self.assertEqual([], self.come_back(PROPERTIES))

    def test_what_nobody_has_thought_of_ends_no_thread(self):
        with mock.patch.object(resolved, '_settings', autospec=True,
                               side_effect=RuntimeError('what is that')):
            self.fail_over()
        self.assertIn('what is that', self.said.output)
        self.fail_over()

        self.assertEqual(TOLD, self.commands)
