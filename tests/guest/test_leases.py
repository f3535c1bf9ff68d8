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

"""Addresses that end, and that somebody has to renew."""

import json

from tests.guest import base


class LeaseTestCase(base.GuestTestCase):

    def lives(self, name):
        return {(address['family'], address['local']):
                address['valid_life_time']
                for link in json.loads(self.guest.run('ip', '-json',
                                                      'address'))
                if link['ifname'] == name for address in link['addr_info']
                if address['scope'] == 'global'}

    def route_lives(self):
        """Of the route to one place, by its NIC."""
        return {route['dev']: route.get('expires') for route in json.loads(
            self.guest.run('ip', '-json', '-6', 'route', 'show', 'fd20::/32',
                           'table', 'all'))}

    def test_nothing_ends_while_nobody_can_renew_it(self):
        port, = self.ports
        forever = 2 ** 32 - 1
        # Before a life begins: it is to be seen by the agent before it ends.
        self.attach_standby('alpha', port)
        # Of IPv6 another one: for the prefix of an address that ends this
        # kernel puts a route that has ended already.
        for command, own in (('change', port.v4), ('add', 'fd14::5/128')):
            self.guest.run('ip', 'address', command, str(own), 'dev', 'eth0',
                           'valid_lft', '4', 'preferred_lft', '3')
        self.guest.run('ip', 'route', 'add', 'fd20::/32', 'via', 'fd00:1::1',
                       'dev', 'eth0', 'expires', '4')
        self.done(self.intent('standby'))
        self.detach_vf('alpha', port, 1)
        standby = next(name for name in sorted(self.guest.names())
                       if name not in ('lo', 'eth0'))

        self.assertEqual([forever] * 3, list(self.lives(standby).values()))
        self.await_end(4)
        self.assertReachable()
        self.assertEqual({standby: None}, self.route_lives())
        self.carry_standby(port)
        self.fail_back()

        self.assertReachable()
        lives = self.lives('eth0')
        self.assertEqual(3, len(lives))
        # Whoever got the lease has time to renew it.
        del lives['inet6', str(port.v6.ip)]
        routes = self.route_lives()
        self.assertEqual(['eth0'], list(routes))
        lives.update(routes)
        self.assertTrue(all(60 < life <= 120 for life in lives.values()),
                        lives)

    def await_end(self, seconds):
        """Until a life of so many seconds has ended: time is the matter."""
        self.guest.run('sleep', str(seconds))
