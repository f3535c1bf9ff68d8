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

"""A port leaves the guest while it is on its standby, and comes again."""

import time

from tests.guest import base


class DetachedTestCase(base.GuestTestCase):

    def setUp(self):
        super().setUp()
        self.port, = self.ports
        self.guest.run('ip', 'address', 'add', '10.1.0.5/24', 'dev', 'eth0')
        self.fail_over()
        self.detach_standby('alpha', self.port)
        self.attach_vf('alpha', self.port, 2)
        self.name, = self.guest.names() - {'lo'}

    def await_place(self, on):
        until = time.monotonic() + 10
        while self.agent.command('status')[1]['places'][0]['on'] != on:
            self.assertLess(time.monotonic(), until)

    def test_what_it_had_is_forgotten(self):
        self.net.boot_port(self.port, self.name, True)
        self.await_place('primary')
        self.assertNotIn('lookup 7759', self.guest.run('ip', 'rule'))
        self.reach()
        before = self.configuration()

        self.attach_standby('alpha', self.port)
        self.done(self.intent('standby'))

        self.assertReachable()
        self.assertNotIn('10.1.0.5', self.guest.run('ip', 'address'))
        self.detach_vf('alpha', self.port, 2)
        self.come_back('alpha', {self.port: 3})
        self.assertEqual(before, self.configuration())

    def test_what_it_had_is_kept_for_an_intent(self):
        """The VF may be there before the agent is told of it."""
        self.guest.set(self.name, mtu=1400)
        self.await_place('standby')

        self.done(self.intent('primary'))

        self.assertReachable()
        self.assertIn('10.1.0.5', self.guest.run('ip', 'address'))


class GoneTestCase(base.GuestTestCase):
    """A port leaves the guest while it is on its standby, and stays away."""

    def setUp(self):
        super().setUp()
        self.port, = self.ports
        self.guest.run('ip', 'address', 'add', '10.1.0.5/24', 'dev', 'eth0')
        self.add_other()
        self.fail_over()

    def add_other(self):
        """A second NIC, which leads elsewhere as well."""
        self.guest.run('ip', 'link', 'add', 'other', 'type', 'veth', 'peer',
                       'name', 'beyond')
        for name in 'other', 'beyond':
            self.guest.run('ip', 'link', 'set', name, 'up')
        self.guest.run('ip', 'address', 'add', '172.17.0.1/16', 'dev',
                       'other')
        self.guest.run('ip', 'route', 'add', 'default', 'via', '172.17.0.2',
                       'metric', '5000')

    def twins(self):
        return [rule for family in ('-4', '-6')
                for rule in self.guest.run(
                    'ip', family, 'rule').splitlines()
                if 'lookup 7759' in rule]

    def await_twins(self, there):
        until = time.monotonic() + 10
        while bool(self.twins()) != there:
            self.assertLess(time.monotonic(), until, self.twins())

    def assertRoutesCount(self):
        self.guest.run('ip', 'route', 'add', '198.51.100.0/24', 'via',
                       '172.17.0.3')
        self.await_twins(False)
        self.assertIn('via 172.17.0.3', self.guest.run(
            'ip', 'route', 'get', '198.51.100.1'))
        self.assertNotIn('table 7759', self.guest.run(
            'ip', 'route', 'show', 'table', 'all'))

    def test_routes_of_others_count(self):
        self.detach_standby('alpha', self.port)

        self.assertRoutesCount()

    def test_routes_of_others_count_for_an_agent_that_comes_later(self):
        self.agent.kill()
        self.detach_standby('alpha', self.port)
        self.agent.start()

        self.assertRoutesCount()

    def test_the_standby_comes_again(self):
        self.detach_standby('alpha', self.port)
        self.assertRoutesCount()

        self.attach_standby('alpha', self.port)

        self.await_twins(True)
        self.assertReachable()
        self.assertIn('via 172.17.0.3', self.guest.run(
            'ip', 'route', 'get', '198.51.100.1'))

    def test_a_vf_comes_with_an_intent(self):
        """The host restores a port whose standby has gone."""
        self.detach_standby('alpha', self.port)
        self.assertRoutesCount()
        self.attach_vf('alpha', self.port, 2)

        self.done(self.intent('primary'))

        self.assertReachable()
        self.assertIn('10.1.0.5', self.guest.run('ip', 'address'))
