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

"""Packet filters that know the NICs of a guest."""

import shutil
import subprocess

import ddt

from tests.guest import base


@ddt.ddt
class FirewallTestCase(base.GuestTestCase):

    def setUp(self):
        super().setUp()
        if not shutil.which('iptables-nft'):
            self.skipTest('iptables is not installed')

    def rules(self, *rules, program='iptables-nft'):
        for rule in rules:
            try:
                self.guest.run(program, *rule.split())
            except subprocess.CalledProcessError as error:
                self.skipTest(f'{rule}: {error}')

    def check(self):
        report = self.ask(self.intent('standby'), 'check')
        port, = report['ports']
        return report, port['warnings']

    def assertRefused(self, *words):
        report, _ = self.check()
        self.assertEqual('refused', report['state'])
        for word in words:
            self.assertIn(word, report['message'])

    def assertReady(self, *warnings):
        report, found = self.check()
        self.assertEqual(('ready', ''), (report['state'], report['message']))
        self.assertEqual(len(warnings), len(found), found)
        for words, warning in zip(warnings, found):
            self.assertIn(words, warning)

    def test_let_in_by_its_name(self):
        self.rules('-P INPUT DROP', '-A INPUT -i lo -j ACCEPT',
                   '-A INPUT -i eth0 -j ACCEPT')

        self.assertRefused('chain INPUT of the nftables table ip filter',
                           'eth0')

        self.attach_standby('alpha', self.ports[0])
        self.assertEqual('refused', self.ask(self.intent('standby'))['state'])
        self.assertReachable()
        self.detach_standby('alpha', self.ports[0])

    @ddt.data(
        '-A INPUT -i eth0 -p tcp --dport 22 -j DROP',
        '-A OUTPUT ! -o eth0 -j DROP',
        '-t nat -A POSTROUTING -o eth0 -j SNAT --to 192.168.1.11',
        '-t mangle -A PREROUTING -i eth0 -j MARK --set-mark 7')
    def test_other_rules(self, rule):
        self.rules(rule)

        self.assertRefused('nftables table ip', 'eth0')

    @ddt.data('-A INPUT -i lo -j ACCEPT', '-A FORWARD ! -i br0 -j ACCEPT',
              '-A FORWARD -i virbr+ -o docker0 -j ACCEPT',
              '-A INPUT -i eth0', '-A INPUT -p tcp --dport 22 -j DROP',
              '-A INPUT -m devgroup --src-group 7 -j ACCEPT')
    def test_nothing_to_do_with_it(self, rule):
        self.rules(rule)

        self.assertReady()

    def test_the_same_behind_it(self):
        """As firewalld has it for the default zone."""
        self.rules('-N public', '-N other', '-A INPUT -i eth0 -g public',
                   '-A INPUT -i eth7 -g other', '-A INPUT -g public')
        self.assertReady()

        self.rules('-I INPUT 2 -j other')

        self.assertRefused('chain INPUT')

    def test_what_is_forwarded(self):
        """firewalld lets the NICs of the default zone forward to each other.
        """
        self.rules('-N zone', '-A FORWARD -g zone',
                   '-A zone -o eth0 -j ACCEPT', '-A zone -j DROP')
        self.guest.run('sysctl', '-qw', 'net.ipv4.conf.all.forwarding=0')
        self.assertReady()

        self.guest.run('sysctl', '-qw', 'net.ipv4.conf.all.forwarding=1')

        self.assertRefused('chain zone')

    def test_a_chain_that_nobody_jumps_to(self):
        self.rules('-N zone', '-A zone -i eth0 -j ACCEPT', '-A zone -j DROP')
        self.assertReady()

        self.rules('-A INPUT -m mark --mark 9 -g zone')

        self.assertRefused('chain zone')

    def test_the_policy_behind_it(self):
        self.rules('-A INPUT -i eth0 -j ACCEPT')
        self.assertReady()

        self.rules('-P INPUT DROP')

        self.assertRefused('chain INPUT')

    def test_the_beginning_of_its_name(self):
        self.rules('-P INPUT DROP', '-A INPUT -i eth+ -j ACCEPT')
        self.assertReady('chain INPUT of the nftables table ip filter has a '
                         'rule for names that begin as eth0')

        self.attach_standby('alpha', self.ports[0])

        self.assertReady()
        self.detach_standby('alpha', self.ports[0])

    def test_the_beginning_of_its_name_only(self):
        self.guest.set('eth0', ifname='lan0')
        self.rules('-P INPUT DROP', '-A INPUT -i lan+ -j ACCEPT')
        self.attach_standby('alpha', self.ports[0])

        self.assertRefused('chain INPUT', 'lan0')

        self.detach_standby('alpha', self.ports[0])

    def test_masquerading(self):
        self.rules('-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 '
                   '-j MASQUERADE')

        self.assertReady('POSTROUTING of the nftables table ip nat '
                         'masquerades')

    def test_masquerading_elsewhere(self):
        self.rules('-t nat -A POSTROUTING -o tun0 -j MASQUERADE')

        self.assertReady()

    def test_legacy_tables(self):
        legacy = {'program': 'iptables-legacy'}
        self.rules('-P INPUT DROP', '-A INPUT -i lo -j ACCEPT', '-N mine',
                   '-A INPUT -j mine', '-A mine -p udp -i eth0 -j ACCEPT',
                   '-t nat -A POSTROUTING ! -o docker0 -j MASQUERADE',
                   **legacy)

        self.assertRefused('chain mine of the ip_tables table filter', 'eth0')
        _, warnings = self.check()
        self.assertEqual(1, len(warnings), warnings)
        self.assertIn('POSTROUTING of the ip_tables table nat masquerades',
                      warnings[0])

        # What only counts is in nobody's way.
        self.rules('-D mine -p udp -i eth0 -j ACCEPT', '-A mine -i eth0',
                   **legacy)
        self.rules('-A INPUT ! -i eth+ -j ACCEPT',
                   program='ip6tables-legacy')
        self.assertReady('masquerades')
        self.rules('-P INPUT DROP', program='ip6tables-legacy')
        self.assertReady('names that begin as eth0', 'masquerades')

    def test_the_way_out(self):
        """A group of NICs: a standby is in the group of its primary."""
        self.guest.run('ip', 'link', 'set', 'eth0', 'group', '7')
        self.rules('-P INPUT DROP',
                   '-A INPUT -m devgroup --src-group 7 -j ACCEPT')

        self.fail_over()
        self.assertReachable()
        self.carry_standby(self.ports[0])
        self.fail_back()

        self.assertReachable()
