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

"""What the agent will not do, and what it does when something is in the way.
"""

import json
import subprocess

import ddt

from nova_vf_failover.guest import intent as intents
from tests.guest import base
from tests.simulation.fabric import namespace


@ddt.ddt
class CheckTestCase(base.GuestTestCase):
    """The question before the move."""

    def check(self):
        return self.ask(self.intent('standby'), 'check')

    def test_ready_and_nothing_is_changed(self):
        before = self.configuration()

        report = self.check()

        self.assertEqual('ready', report['state'])
        self.assertEqual(before, self.configuration())

    @ddt.named_data(
        ['down', ('ip link set eth0 down',), 'eth0 is down'],
        ['in_a_bridge', ('ip link add br0 type bridge',
                         'ip link set eth0 master br0'),
         'eth0 is a port of br0 (bridge)'],
        ['under_a_macvlan', ('ip link add up0 link eth0 type macvlan',),
         'up0 (macvlan) lies on eth0'],
        ['under_a_macvtap', ('ip link add up0 link eth0 type macvtap',),
         'up0 (macvtap) lies on eth0'],
        ['under_a_vxlan', (
            'ip link add up0 type vxlan id 5 dev eth0 dstport 4789',),
         'up0 (vxlan) lies on eth0'],
        ['by_the_first_rule',
         ('ip rule add iif eth0 blackhole priority 0',),
         'rule of priority 0'],
        ['by_a_rule_that_jumps',
         ('ip rule add goto 32766 priority 9',), 'priority 9 goes to 32766'],
        ['by_classes', ('tc qdisc add dev eth0 root handle 1: htb',
                        'tc class add dev eth0 classid 1:1 htb rate 1mbit'),
         'discipline htb, which is not moved'],
        ['by_classes_of_its_own',
         ('tc qdisc add dev eth0 root tbf rate 1mbit burst 10kb latency 9ms',),
         'tbf of eth0 has classes'],
        ['by_an_ingress_qdisc', ('tc qdisc add dev eth0 ingress',),
         'ingress, which is not at its root'],
    )
    def test_refused_with_a_sentence(self, commands, words):
        for command in commands:
            self.guest.run(*command.split())

        report = self.check()

        self.assertEqual('refused', report['state'])
        self.assertIn(words, report['message'])

    def test_more_tables_than_can_be_copied(self):
        # Beside the table "main".
        self.add_tables(range(1000, 1254))
        self.assertEqual('ready', self.check()['state'])

        self.add_tables([1254])

        report = self.check()
        self.assertEqual('refused', report['state'])
        self.assertIn('256 routing tables lead over the NICs',
                      report['message'])

    def add_tables(self, numbers):
        subprocess.run(
            self.guest.command('ip', '-batch', '-'), check=True, text=True,
            input=''.join(f'route add 10.9.0.0/16 dev eth0 table {number}\n'
                          for number in numbers))

    def container(self):
        made = namespace.Namespace('container')
        self.addCleanup(made.close)
        return made

    def test_under_a_macvlan_of_a_container(self):
        container = self.container()
        self.guest.run('ip', 'link', 'add', 'up0', 'link', 'eth0', 'type',
                       'macvlan', 'mode', 'bridge')
        self.guest.run('ip', 'link', 'set', 'up0', 'netns', container.name)

        self.assertIn('up0 (macvlan) in another network namespace lies on '
                      'eth0.', self.check()['message'])

        container.set('up0', state='up')
        report = self.check()
        self.assertEqual(('refused', 1), (
            report['state'], len(report['ports'][0]['obstacles'])))

    def test_under_a_macvlan_that_was_made_in_a_container(self):
        """Its namespace has no number here."""
        container = self.container()
        self.guest.run('ip', 'link', 'add', 'name', 'up0', 'address',
                       'fa:16:3e:77:77:77', 'link', 'eth0', 'netns',
                       container.name, 'type', 'macvlan')
        container.set('up0', state='up')

        self.assertIn('eth0 takes in what is sent to fa:16:3e:77:77:77',
                      self.check()['message'])

    def test_beside_containers(self):
        """On cables, and on NICs of their own."""
        container, other = self.container(), self.container()
        # It lies on a NIC that has the index of eth0, and is not eth0.
        container.run('ip', 'link', 'add', 'name', 'low', 'index',
                      str(self.guest.index('eth0')), 'type', 'veth', 'peer',
                      'name', 'end')
        container.run('ip', 'link', 'add', 'name', 'up0', 'link', 'low',
                      'netns', other.name, 'type', 'macvlan')
        for number, its in enumerate((container, other)):
            self.guest.run('ip', 'link', 'add', f'c{number}', 'type', 'veth',
                           'peer', 'name', 'eth0', 'netns', its.name)

        self.assertEqual('ready', self.check()['state'])

    def test_unknown_mac(self):
        intent = self.intent('standby')
        intent['ports'][0]['mac'] = 'fa:16:3e:99:99:99'

        report = self.ask(intent, 'check')

        self.assertEqual('refused', report['state'])
        self.assertIn('fa:16:3e:99:99:99', report['message'])

    def test_service_that_does_not_run(self):
        self.agent.kill()

        code, report = self.agent.command(
            'check', given=json.dumps(self.intent('standby')))

        self.assertEqual((1, 'none'), (code, report['state']))
        self.assertIn('does not answer', report['message'])


@ddt.ddt
class BadIntentTestCase(base.GuestTestCase):
    """Whatever comes in is answered with a sentence and changes nothing."""

    def assertRefused(self, given, words, *arguments):
        before = self.configuration()
        code, report = self.agent.command(*arguments or ('apply',),
                                          given=given)
        self.assertEqual((1, 'refused'), (code, report['state']))
        self.assertIn(words, report['message'])
        self.assertEqual(before, self.configuration())

    @ddt.named_data(
        ['nothing', '', 'no JSON'],
        ['a_list', '[]', 'no JSON object'],
        ['depth', '[' * 50000, 'no JSON'],
        ['length', 'x' * (intents.LONGEST_INTENT + 1), 'at most 65536'])
    def test_no_intent(self, given, words):
        self.assertRefused(given, words)

    @ddt.named_data(
        ['version', {'version': 2}, 'version 2'],
        ['text_for_generation', {'generation': 'new'}, '"generation"'],
        ['negative_generation', {'generation': -1}, '"generation"'],
        ['truth_for_generation', {'generation': True}, '"generation"'],
        ['use', {'use': 'both'}, '"use"'],
        ['endless_timeout', {'timeout': 1e9}, '"timeout"'],
        ['no_timeout', {'timeout': None}, '"timeout"'],
        ['no_ports', {'ports': []}, '"ports"'],
        ['no_mac', {'ports': [{'id': 'p'}]}, '"id" and "mac"'],
        ['port_id', {'ports': [
            {'id': '$(reboot)', 'mac': 'fa:16:3e:00:00:01'}]},
         '"id" and "mac"'],
        ['same_mac', {'ports': [
            {'id': 'p', 'mac': 'fa:16:3e:00:00:01'}] * 2}, 'Two ports'],
    )
    def test_wrong_value(self, changed, words):
        document = self.intent('standby')
        document.update(changed)
        self.assertRefused(json.dumps(document), words)

    def test_stale(self):
        old = self.intent('standby')
        self.attach_standby('alpha', self.ports[0])
        self.done(self.intent('standby'))

        self.assertRefused(json.dumps(old), 'stale', 'apply', '--wait', '5')

        report = self.ask(old)
        self.assertGreater(report['taken'], old['generation'])


class StandbyTestCase(base.GuestTestCase):
    """A standby that does not do its work."""

    def test_it_does_not_come(self):
        before = self.configuration()

        report = self.ask(self.intent('standby', timeout=0.5))

        self.assertEqual('refused', report['state'])
        self.assertIn('no standby NIC', report['message'])
        self.assertEqual(before, self.configuration())

    def test_it_comes_late(self):
        intent = self.intent('standby')
        self.assertEqual('working', self.ask(intent, 'apply')['state'])

        self.attach_standby('alpha', self.ports[0])

        self.done(intent)

    def test_a_newer_intent_ends_the_waiting(self):
        self.ask(self.intent('standby'), 'apply')

        self.done(self.intent('primary'))

        self.assertReachable()

    def test_it_carries_nothing(self):
        port, = self.ports
        self.attach_standby('alpha', port)
        self.net.hosts['alpha'].namespace.set('macvtap0', state='down')

        report = self.ask(self.intent('standby'))

        self.assertEqual('failed', report['state'])
        self.assertIn('Neighbours answer over eth0 and not over eth1',
                      report['message'])
        self.assertReachable()
        self.detach_standby('alpha', port)

    def test_then_the_guest_is_as_it_was(self):
        before = self.configuration()

        self.test_it_carries_nothing()

        self.assertEqual(before, self.configuration())


class PrimaryTestCase(base.GuestTestCase):
    """A VF that does not do its work: the guest stays on its standby."""

    def setUp(self):
        super().setUp()
        self.fail_over()
        self.carry_standby(self.ports[0])

    def test_it_carries_nothing(self):
        port, = self.ports
        intent = self.intent('primary')
        self.ask(intent, 'apply')
        self.net.hosts['beta'].nic.ignore('0000:91:00.1')
        self.attach_vf('beta', port, 1)

        report = self.ask(intent)

        self.assertEqual('failed', report['state'])
        self.assertIn('and not over eth0', report['message'])
        self.assertReachable()

    def test_it_does_not_come(self):
        report = self.ask(self.intent('primary'), 'apply', '--wait', '0.5')

        self.assertEqual('armed', report['state'])
        self.assertReachable()

    def test_it_takes_in_and_lets_nothing_out(self):
        """That frames come in on it is no proof that they leave."""
        port, = self.ports
        beta = self.net.hosts['beta'].nic
        session = self.net.traffic(port)
        intent = self.intent('primary')
        self.ask(intent, 'apply')
        beta.mute('0000:91:00.1')
        self.attach_vf('beta', port, 1)

        report = self.ask(intent)

        self.assertEqual('failed', report['state'])
        self.assertIn('and not over eth0', report['message'])
        for direction in session.stop():
            self.assertEqual([], direction.lost_numbers)
        self.assertReachable()
