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

"""Addresses that a guest takes from its standby."""

import json
import time

import ddt

from tests.guest import base


@ddt.ddt
class WithdrawnTestCase(base.GuestTestCase):
    """As a router does that is no longer the master (VRRP)."""

    def add(self, address):
        self.guest.run('ip', 'address', 'add', address, 'dev', 'eth0',
                       *(('nodad',) if ':' in address else ()))

    def delete(self, address):
        self.guest.run('ip', 'address', 'delete', address, 'dev', 'eth1')

    @ddt.data('192.168.1.99/32', '203.0.113.9/24', 'fd00:1::99/128')
    def test_it_is_not_on_the_vf(self, address):
        before = self.configuration()
        self.add(address)
        self.fail_over()

        self.delete(address)

        self.carry_standby(self.ports[0])
        self.assertReachable()
        self.fail_back()
        self.assertEqual(before, self.configuration())
        self.assertReachable()

    def test_the_network_goes_on_to_the_next_address(self):
        """As the kernel does, if it is to promote secondaries."""
        own = str(self.ports[0].v4)
        for name in ('all', 'default', 'eth0'):
            self.guest.run('sysctl', '-qw',
                           f'net.ipv4.conf.{name}.promote_secondaries=1')
        self.guest.run('ip', 'address', 'delete', own, 'dev', 'eth0')
        self.add('192.168.1.99/24')
        self.add(own)
        self.guest.run('ip', 'route', 'replace', 'default', 'via',
                       '192.168.1.1')
        self.fail_over()
        self.delete('192.168.1.99/24')

        self.carry_standby(self.ports[0])
        self.fail_back()

        route, = json.loads(self.guest.run(
            'ip', '-json', 'route', 'list', '192.168.1.0/24'))
        self.assertEqual(('eth0', own.split('/')[0]),
                         (route['dev'], route['prefsrc']))
        self.assertReachable()

    def test_a_standby_that_was_set_down_has_lost_others(self):
        self.add('192.168.1.99/32')
        self.add('fd00:1::99/128')
        before = self.configuration()
        self.fail_over()

        self.guest.set('eth1', state='down')
        self.guest.set('eth1', state='up')

        self.carry_standby(self.ports[0])
        self.fail_back()
        self.assertEqual(before, self.configuration())
        self.assertReachable()

    def test_copies_go_on_without_it(self):
        self.add('203.0.113.9/24')
        self.fail_over()
        self.delete('203.0.113.9/24')

        self.guest.run('ip', 'route', 'add', '198.51.100.0/24', 'dev', 'lo')

        until = time.monotonic() + 10
        while 'dev lo' not in self.guest.run('ip', 'route', 'get',
                                             '198.51.100.1'):
            self.assertLess(time.monotonic(), until)
        self.assertReachable()
