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

"""What a guest does to its routes and rules while it is on its standby."""

import re
import subprocess
import time

from tests.guest import base
from tests.guest import test_move
from tests.simulation.fabric import nic as nics


class UpkeepTestCase(test_move.Lossless, base.GuestTestCase):
    """The agent's copies of tables are as the tables."""

    def setUp(self):
        super().setUp()
        self.before = self.configuration()
        self.add_bridge('old', '172.17.0.1/16')

    def add_bridge(self, name, address, version=4):
        """A NIC for containers, as "docker network create" makes it."""
        extra = ('nodad',) if version == 6 else ()
        self.guest.run('ip', 'link', 'add', name, 'type', 'veth', 'peer',
                       'name', f'{name}-c')
        # What is compared must not be tentative now and settled then.
        for its in name, f'{name}-c':
            self.guest.run('sysctl', '-qw',
                           f'net.ipv6.conf.{its}.accept_dad=0')
        self.guest.run('ip', 'link', 'set', f'{name}-c', 'up')
        self.guest.run('ip', 'address', 'add', address, 'dev', name, *extra)
        self.guest.run('ip', 'link', 'set', name, 'up')

    def way(self, *to):
        try:
            return self.guest.run('ip', 'route', 'get', *to)
        except subprocess.CalledProcessError as error:
            return str(error)

    def await_way(self, words, *to):
        until = time.monotonic() + 10
        while words not in self.way(*to):
            self.assertLess(time.monotonic(), until, self.way(*to))

    def go_back(self):
        self.carry_standby(self.ports[0])
        self.fail_back()
        for name in 'old', 'new':
            if name in self.guest.names():
                self.guest.run('ip', 'link', 'delete', name)
        self.assertEqual(self.before, self.configuration())
        self.assertReachable()

    def test_a_new_network(self):
        self.fail_over()

        self.add_bridge('new', '172.18.0.1/16')
        self.add_bridge('six', 'fd18::1/64', 6)

        self.await_way('dev new', '172.18.0.2')
        self.await_way('dev six', 'fd18::2')
        self.assertReachable()
        self.guest.run('ip', 'link', 'delete', 'six')
        self.go_back()

    def test_a_network_that_goes(self):
        self.fail_over()
        self.assertIn('dev old', self.way('172.17.0.2'))

        self.guest.run('ip', 'address', 'delete', '172.17.0.1/16', 'dev',
                       'old')

        self.await_way('dev eth1', '172.17.0.2')
        self.go_back()

    def test_another_nic_is_set_down_and_up(self):
        self.fail_over()

        self.guest.run('ip', 'link', 'set', 'old', 'down')
        self.guest.run('ip', 'link', 'set', 'old', 'up')

        self.await_way('dev old', '172.17.0.2')

    def test_a_new_rule(self):
        self.guest.run('ip', 'route', 'add', 'default', 'via', '192.168.1.1',
                       'dev', 'eth0', 'table', '77')
        self.fail_over()
        self.guest.run('ip', 'rule', 'add', 'fwmark', '7', 'lookup', '77',
                       'priority', '99')

        # Its table has lost its routes with the VF: the copy has them.
        until = time.monotonic() + 10
        while not re.search(r'98:\s+from all fwmark 0x7 lookup 7759',
                            self.guest.run('ip', 'rule')):
            self.assertLess(time.monotonic(), until)
        self.assertIn('dev eth1', self.way('198.51.100.1', 'mark', '7'))

    def add_steered(self):
        """As a network manager does: a rule with a table of the VF's own."""
        self.guest.run('ip', 'route', 'add', 'default', 'via', '192.168.1.1',
                       'dev', 'eth0', 'table', '77')
        self.guest.run('ip', 'rule', 'add', 'from', self.own, 'lookup', '77',
                       'priority', '99')
        self.guest.run('ip', 'route', 'add', '198.51.100.0/24', 'dev', 'old')

    @property
    def own(self):
        return str(self.ports[0].v4.ip)

    def await_twins(self, change):
        """Until the copies have been made anew after a change."""
        def table():
            return re.search(r'dev (\S+) table (\d+)', self.way(
                '198.51.100.1', 'from', self.own)).groups()

        before = table()
        change()
        until = time.monotonic() + 10
        while table() == before:
            self.assertLess(time.monotonic(), until, self.way(
                '198.51.100.1', 'from', self.own))
        return table()[0]

    def delete_rule(self):
        self.guest.run('ip', 'rule', 'delete', 'priority', '99')

    def test_a_rule_that_goes_with_the_vf(self):
        self.add_steered()
        # One that only names the VF.
        self.guest.run('ip', 'rule', 'add', 'iif', 'eth0', 'to',
                       '10.99.0.0/16', 'blackhole', 'priority', '97')
        before = self.guest.run('ip', 'rule')
        self.fail_over()
        self.guest.run('ip', 'rule', 'delete', 'priority', '97')

        self.assertEqual('eth1', self.await_twins(self.delete_rule))

        self.carry_standby(self.ports[0])
        self.fail_back()
        self.assertEqual(before, self.guest.run('ip', 'rule'))
        self.assertIn('dev eth0', self.way('198.51.100.1', 'from', self.own))

    def test_two_rules_that_go_with_the_vf(self):
        """Without the one a neighbour would be asked for by the router."""
        self.add_steered()
        self.guest.run('ip', 'rule', 'add', 'from', self.own, 'to',
                       '192.168.1.0/24', 'lookup', 'main', 'priority', '90')
        before = self.guest.run('ip', 'rule')
        self.fail_over()
        self.guest.run('ip', 'rule', 'delete', 'priority', '90')

        self.await_twins(self.delete_rule)

        self.assertNotIn('via', self.way('192.168.1.9', 'from', self.own))
        self.carry_standby(self.ports[0])
        self.fail_back()
        self.assertEqual(before, self.guest.run('ip', 'rule'))

    def test_a_rule_that_goes_with_a_vf_that_is_down(self):
        self.add_steered()
        self.attach_standby('alpha', self.ports[0])
        self.done(self.intent('standby'))

        self.assertEqual('eth1', self.await_twins(self.delete_rule))

    def test_a_rule_that_goes_before_an_agent_comes(self):
        self.add_steered()
        self.fail_over()
        self.agent.kill()

        def start():
            self.delete_rule()
            self.agent.start()

        self.assertEqual('eth1', self.await_twins(start))

    def test_a_rule_that_comes_back_before_its_vf(self):
        self.add_steered()
        self.fail_over()
        self.await_twins(self.delete_rule)
        self.await_twins(lambda: self.guest.run(
            'ip', 'rule', 'add', 'from', self.own, 'lookup', '77'))
        after = self.guest.run('ip', 'rule', 'list', 'lookup', '77')

        self.carry_standby(self.ports[0])
        self.fail_back()

        self.assertEqual(
            after, self.guest.run('ip', 'rule', 'list', 'lookup', '77'))

    def test_several_ways_of_ipv6(self):
        """The kernel takes only the VF's from the route, not the route."""
        self.add_bridge('six', 'fd18::1/64', 6)
        self.guest.run('ip', '-6', 'route', 'add', 'fd20::/32',
                       'nexthop', 'via', 'fd18::2', 'dev', 'six',
                       'nexthop', 'via', 'fd00:1::1', 'dev', 'eth0')
        self.fail_over()
        self.assertEqual({'six', 'eth1'}, self.ways_of_ipv6())

        self.add_bridge('new', '172.18.0.1/16')

        self.await_way('dev new', '172.18.0.2')
        self.assertEqual({'six', 'eth1'}, self.ways_of_ipv6())

    def ways_of_ipv6(self):
        return {re.search(r' dev (\S+)', self.way(f'fd20::{last:x}'))[1]
                for last in range(1, 100)}

    def test_a_group_of_nexthops_loses_one_of_another_nic(self):
        for words in ('7 via 192.168.1.1 dev eth0', '8 via 172.17.0.2 dev old',
                      '9 group 7/8'):
            self.guest.run('ip', 'nexthop', 'add', 'id', *words.split())
        self.guest.run('ip', 'route', 'add', '10.62.0.0/16', 'nhid', '9')
        self.fail_over()

        self.guest.run('ip', 'nexthop', 'delete', 'id', '8')

        self.await_way('dev eth1', '10.62.0.1')
        self.carry_standby(self.ports[0])
        self.fail_back()
        self.assertRegex(self.guest.run('ip', 'nexthop'), r'id 9 group 7\s')
        self.assertIn('dev eth0', self.way('10.62.0.1'))

    def test_between_two_agents(self):
        self.fail_over()
        self.agent.kill()
        self.add_bridge('new', '172.18.0.1/16')
        self.agent.start()

        self.await_way('dev new', '172.18.0.2')
        self.carry_standby(self.ports[0])
        self.assertReachable()

    def test_while_it_is_armed(self):
        self.fail_over()
        self.ask(self.intent('primary'), 'apply')

        self.add_bridge('new', '172.18.0.1/16')

        self.await_way('dev new', '172.18.0.2')

    def test_nothing_is_lost(self):
        self.fail_over()

        self.assertNothingLost(self.sessions(), self.change_often)

    def change_often(self):
        for number in range(20, 30):
            self.guest.run('ip', 'route', 'add', f'172.{number}.0.0/16',
                           'dev', 'old')
            self.await_way('dev old', f'172.{number}.0.1')

    def test_more_changes_than_can_be_told(self):
        self.fail_over()
        with self.agent.held_up():
            self.add_routes(20000)
            self.guest.run('ip', 'route', 'add', '172.19.0.0/16', 'dev',
                           'old')

        self.await_way('dev old', '172.19.0.1')

    def add_routes(self, count):
        subprocess.run(
            self.guest.command('ip', '-batch', '-'), check=True, text=True,
            input=''.join(
                f'route add 10.{n >> 8}.{n & 255}.0/24 dev old\n'
                for n in range(count)))

    def test_its_own_changes_are_none(self):
        """It does not go on for ever: nobody changes anything."""
        self.fail_over()
        self.add_bridge('new', '172.18.0.1/16')
        self.await_way('dev new', '172.18.0.2')

        until, tables = time.monotonic() + 3, []
        while time.monotonic() < until:
            table = self.way('172.18.0.2').split(' table ')[1].split()[0]
            if tables[-1:] != [table]:
                tables.append(table)
        # Once for what came with the NIC a little later; it would be ten
        # times.
        self.assertLess(len(tables), 4, tables)


class ExclusiveNicTestCase(base.GuestTestCase):
    """A VF that the host takes the traffic from is left up."""

    MODE = nics.EXCLUSIVE

    def test_a_rule_that_its_owner_deletes_is_gone(self):
        before = self.guest.run('ip', 'rule')
        port, = self.ports
        self.guest.run('ip', 'route', 'add', 'default', 'via', '192.168.1.1',
                       'dev', 'eth0', 'table', '77')
        self.guest.run('ip', 'rule', 'add', 'from', str(port.v4.ip),
                       'lookup', '77', 'priority', '99')
        self.attach_standby('alpha', port)
        self.done(self.intent('standby'))
        self.assertIn('98:', self.guest.run('ip', 'rule'))

        self.guest.run('ip', 'rule', 'delete', 'priority', '99')

        until = time.monotonic() + 10
        while '98:' in self.guest.run('ip', 'rule'):
            self.assertLess(time.monotonic(), until)
        self.detach_vf('alpha', port, 1)
        self.carry_standby(port)
        self.fail_back()
        self.assertEqual(before, self.guest.run('ip', 'rule'))
