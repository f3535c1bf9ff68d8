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

"""A guest whose kernel takes its addresses and routes from advertisements."""

import json
import os
import socket
import struct
import time

import ddt

from nova_vf_failover.guest import frames
from tests.guest import base

_PREFIX = '2001:db8:7::'
# RFC 4861, 4.2 and 4.6.2: a router advertisement, prefix information on the
# link and for addresses
_ADVERTISEMENT = struct.Struct('!BBHBBHII')
_INFORMATION = struct.Struct('!BBBBIII16s')
_ON_LINK, _AUTONOMOUS = 0x80, 0x40
# include/uapi/linux/ipv6_route.h, IP6_RT_PRIO_USER: what the kernel gives to
# the route of a router
_METRIC = 1024


def advertise(router, option):
    """All on the link of eth0 here are told of a router.

    :param router: the seconds for which it is one
    """
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW,
                       socket.IPPROTO_ICMPV6) as sock:
        index = socket.if_nametoindex('eth0')
        for name, value in ((socket.IPV6_MULTICAST_HOPS, 255),
                            (socket.IPV6_MULTICAST_IF, index)):
            sock.setsockopt(socket.IPPROTO_IPV6, name, value)
        sock.sendto(
            _ADVERTISEMENT.pack(134, 0, 0, 64, 0, router, 0, 0) + option,
            ('ff02::1', 0, 0, index))


class Listener(base.GuestTestCase):

    def await_true(self, condition):
        until = time.monotonic() + 10
        while not condition():
            self.assertLess(time.monotonic(), until)


class Advertised(Listener):

    def setUp(self):
        super().setUp()
        self.port, = self.ports
        self.guest.run('ip', '-6', 'route', 'delete', 'default')
        self.await_true(lambda: not self.net.peer.run(
            'ip', '-6', 'address', 'show', 'tentative'))
        self.prepare_guest()
        self.advertise(1800)
        self.await_true(lambda: self.addresses('eth0') and self.defaults())

    def prepare_guest(self):
        """What is set before it hears a router for the first time."""

    def advertise(self, life, router=1800):
        """The peer tells all that it is a router.

        :param life: of addresses, in seconds
        :param router: the seconds for which it is one
        """
        information = _INFORMATION.pack(
            3, 4, 64, _ON_LINK | _AUTONOMOUS, life, life // 2, 0,
            socket.inet_pton(socket.AF_INET6, _PREFIX))
        self.net.peer.inside(lambda: advertise(router, information))

    def addresses(self, name):
        """Those of the advertised prefix, in the order of the kernel."""
        return [found for link in json.loads(self.guest.run(
            'ip', '-json', '-6', 'address', 'show', 'dev', name))
            for found in link.get('addr_info', [])
            if found['local'].startswith(_PREFIX[:-1])]

    def defaults(self):
        return json.loads(self.guest.run(
            'ip', '-json', '-6', 'route', 'show', 'default'))

    def await_kernels_default(self):
        """Until the kernel's default route is there, and no other one.

        The agent's own has a metric that is higher by one.
        """
        self.await_true(lambda: [
            default['metric'] for default in self.defaults()] == [_METRIC])

    def move(self):
        self.fail_over()
        self.carry_standby(self.port)
        self.fail_back()


@ddt.ddt
class AdvertisementTestCase(Advertised):

    def test_addresses_are_renewed_after_a_move(self):
        before = self.configuration()

        self.move()
        self.advertise(9000)

        self.await_true(lambda: all(
            found['valid_life_time'] > 8000
            for found in self.addresses('eth0')))
        self.await_kernels_default()
        self.assertEqual(before, self.configuration())

    def test_what_the_kernel_renews_is_no_lease(self):
        self.assertEqual([], self.ask(self.intent('standby'), 'check')[
            'ports'][0]['warnings'])

    def test_the_route_is_there_until_the_router_speaks(self):
        kernels, = self.defaults()

        self.move()

        default, = self.defaults()
        self.assertEqual((kernels['gateway'], 'eth0'),
                         (default['gateway'], default['dev']))

    def test_the_router_leaves_after_a_move(self):
        self.move()
        self.advertise(3600)
        self.await_kernels_default()

        self.advertise(3600, router=0)

        self.await_true(lambda: not self.defaults())

    @ddt.data('accept_ra', 'accept_ra_defrtr')
    def test_the_route_of_a_manager_stays_where_it_is(self, name):
        kernels, = self.defaults()
        self.guest.run('sysctl', '-qw', f'net.ipv6.conf.eth0.{name}=0')
        self.guest.run('ip', '-6', 'route', 'delete', 'default')
        # As systemd-networkd does.
        self.guest.run('ip', '-6', 'route', 'add', 'default', 'via',
                       kernels['gateway'], 'dev', 'eth0', 'proto', 'ra',
                       'metric', '1024', 'expires', '900')
        before = self.configuration()

        self.move()

        self.assertEqual(before, self.configuration())

    def test_moves_without_a_word_of_the_router(self):
        before = self.configuration()

        for host, number in (('alpha', 3), ('alpha', 4)):
            self.attach_standby(host, self.port)
            self.done(self.intent('standby'))
            self.detach_vf(host, self.port, 1 if number == 3 else 3)
            self.come_back(host, {self.port: number})
        self.advertise(1800)

        self.await_kernels_default()
        self.assertEqual(before, self.configuration())


class MetricTestCase(Advertised):
    """The owner has chosen the metric of the kernel's default routes."""

    METRIC = 2000

    def setUp(self):
        if not os.path.exists('/proc/sys/net/ipv6/conf/all/ra_defrtr_metric'):
            self.skipTest('before Linux 5.12 nobody chooses the metric')
        super().setUp()

    def prepare_guest(self):
        self.guest.run('sysctl', '-qw',
                       f'net.ipv6.conf.eth0.ra_defrtr_metric={self.METRIC}')

    def metrics(self):
        return [default['metric'] for default in self.defaults()]

    def test_the_kernel_makes_its_route_after_a_move(self):
        self.assertEqual([self.METRIC], self.metrics())

        self.move()

        self.assertEqual([self.METRIC + 1], self.metrics())
        self.advertise(9000)
        self.await_true(lambda: self.metrics() == [self.METRIC])
        self.assertTrue(all(found['valid_life_time'] > 8000
                            for found in self.addresses('eth0')))


class TemporaryAddressTestCase(Advertised):
    """The kernel makes addresses for a while, and prefers them (RFC 8981)."""

    def prepare_guest(self):
        self.guest.run('sysctl', '-qw', 'net.ipv6.conf.eth0.use_tempaddr=2')

    def setUp(self):
        super().setUp()
        self.await_true(lambda: len(self.addresses('eth0')) == 2)
        self.temporary, self.lasting = self.addresses('eth0')
        self.assertTrue(self.temporary['temporary'])

    def source(self):
        """The address that a new session has."""
        found, = json.loads(self.guest.run(
            'ip', '-json', '-6', 'route', 'get', '2001:db8:9::1'))
        return found['prefsrc']

    def test_it_is_no_lease(self):
        self.assertEqual([], self.ask(self.intent('standby'), 'check')[
            'ports'][0]['warnings'])

    def test_a_standby_gets_no_address_of_its_own(self):
        self.assertEqual(self.temporary['local'], self.source())

        self.fail_over()

        standby, = self.guest.names() - {'lo'}
        self.assertEqual(
            [self.temporary['local'], self.lasting['local']],
            [found['local'] for found in self.addresses(standby)])
        self.assertEqual(self.temporary['local'], self.source())

    def test_after_a_move_each_address_is_there(self):
        self.move()

        found = {address['local']: address
                 for address in self.addresses('eth0')}
        self.assertTrue(found[self.lasting['local']]['mngtmpaddr'])
        # What sessions have begun with stays, and the kernel has made another
        # one, which it makes anew when its time has come.
        self.assertIn(self.temporary['local'], found)
        self.assertEqual([True], [
            True for address in found.values() if address.get('temporary')])
        self.assertTrue(found[self.source()]['temporary'])


class RouterTestCase(Listener):
    """The guest is the router: the peer has a default route over it."""

    def setUp(self):
        super().setUp()
        self.port, = self.ports
        self.guest.run('sysctl', '-qw', 'net.ipv6.conf.eth0.forwarding=1')
        # RFC 4861, 4.6.1: its own link-layer address.
        own = b'\x01\x01' + frames.mac_bytes(self.port.mac)
        self.guest.inside(lambda: advertise(1800, own))
        self.await_true(self.routers)

    def routers(self):
        return [default['gateway'] for default in json.loads(
            self.net.peer.run('ip', '-json', '-6', 'route', 'show',
                              'default'))]

    def test_it_is_one_wherever_it_is(self):
        before = self.routers()

        self.fail_over()
        # Behind what was announced.
        self.assertReachable()

        self.assertEqual(before, self.routers())
        self.carry_standby(self.port)
        self.fail_back()
        self.assertReachable()
        self.assertEqual(before, self.routers())
