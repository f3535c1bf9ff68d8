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

"""Failover and failback: no packet is lost, and nothing is left behind."""

import re
import socket
import time
from unittest import mock

import fixtures

from nova_vf_failover.guest import frames
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import mover
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import overlap
from nova_vf_failover.guest import snapshot
from nova_vf_failover.guest import switch
from tests.guest import base
from tests.guest import groups
from tests.simulation.fabric import nic as nics


class Lossless:
    """One server, moved while packets run in both directions."""

    def assertNothingLost(self, traffic, act):
        """No packet is lost while something is done.

        :param traffic: sessions that are to be stopped afterwards
        """
        before = time.monotonic()
        act()
        after = time.monotonic()
        for session in traffic:
            for direction in session.stop():
                lost = [direction.sent_at[number] - before
                        for number in direction.lost_numbers]
                self.assertEqual([], lost)
                self.assertTrue(any(
                    before < at < after for _, at in direction.received))

    def sessions(self):
        return [self.net.traffic(port, version)
                for port in self.ports for version in (4, 6)]

    def test_there_and_back(self):
        self.assertNothingLost(self.sessions(), self.fail_over)
        for port in self.ports:
            self.carry_standby(port)
        self.assertReachable()
        self.assertNothingLost(self.sessions(), self.fail_back)
        self.assertReachable()

    def test_guest_is_as_it_was(self):
        before = self.configuration()

        self.move()

        self.assertEqual(before, self.configuration())


def link_local(mac):
    """The address that a kernel makes of a MAC (RFC 4291, appendix A)."""
    parts = bytearray.fromhex(mac.replace(':', ''))
    parts[0] ^= 2
    return socket.inet_ntop(socket.AF_INET6, b''.join((
        b'\xfe\x80', bytes(6), parts[:3], b'\xff\xfe', parts[3:])))


class OnePortTestCase(Lossless, base.GuestTestCase):

    # Not what the kernel calls a NIC that appears.
    NAMES = ('lan0',)

    def test_nothing_comes_twice_once_the_guest_has_moved(self):
        self.attach_standby('alpha', self.ports[0])
        report = self.done(self.intent('standby'))
        self.assertEqual([(True, False)], [
            (port['proven'], port['overlap']) for port in report['ports']])

        for direction in self.net.traffic(self.ports[0]).stop():
            self.assertEqual(0, direction.duplicated)

    def test_there_and_back_on_the_source(self):
        before = self.configuration()
        port, = self.ports
        self.fail_over()

        self.come_back('alpha', {port: 3})

        self.assertEqual(before, self.configuration())
        self.assertReachable()

    def test_back_before_the_vf_was_taken(self):
        before = self.configuration()
        port, = self.ports
        self.attach_standby('alpha', port)
        self.done(self.intent('standby'))

        self.done(self.intent('primary'))
        self.detach_standby('alpha', port)

        self.assertEqual(before, self.configuration())
        self.assertReachable()

    def test_both_switches_are_announced(self):
        with self.net.hosts['alpha'].nic.listen('alphapf0') as heard:
            self.fail_over()
            self.assertAnnounced(heard)
        self.carry_standby(self.ports[0])

        with self.net.hosts['beta'].nic.listen('0000:91:00.4') as heard:
            self.fail_back()
            self.assertAnnounced(heard)

    def assertAnnounced(self, heard):
        """Everybody has been told where the MAC is, in both families."""
        port, = self.ports
        heard.settimeout(3)
        wanted = [frames.announcement(family, port.mac, address)
                  for family, address in (
                      (socket.AF_INET, str(port.v4.ip)),
                      (socket.AF_INET6, link_local(port.mac)))]
        while wanted:
            # A frame that does not come ends this with a TimeoutError.
            frame = heard.recv(2048)
            wanted = [missing for missing in wanted
                      if not frame.startswith(missing)]

    def test_what_is_shared_with_others_is_not_announced(self):
        """As the address of a service on all its real servers is."""
        self.guest.run('ip', 'address', 'add', '192.168.1.99/32', 'dev',
                       'lan0')
        self.guest.run('ip', 'address', 'add', 'fd00:1::99/128', 'dev',
                       'lan0', 'nodad')
        with self.net.hosts['alpha'].nic.listen('alphapf0') as heard:
            self.fail_over()
            self.assertOneOfEach(heard)
        self.carry_standby(self.ports[0])

        with self.net.hosts['beta'].nic.listen('0000:91:00.4') as heard:
            self.fail_back()
            self.assertOneOfEach(heard)

    def assertOneOfEach(self, heard):
        """One address of each family has been announced, and no other one."""
        port, = self.ports
        known = {address: frames.announcement(family, port.mac, address)
                 for family, address in (
                     (socket.AF_INET, str(port.v4.ip)),
                     (socket.AF_INET, '192.168.1.99'),
                     (socket.AF_INET6, str(port.v6.ip)),
                     (socket.AF_INET6, 'fd00:1::99'),
                     (socket.AF_INET6, link_local(port.mac)))}
        said = set()
        while True:
            try:
                frame = heard.recv(2048, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            said.update(address for address, wanted in known.items()
                        if frame.startswith(wanted))
        self.assertEqual({str(port.v4.ip), link_local(port.mac)}, said)

    def test_half_a_switch_is_undone(self):
        before = self.configuration()
        port, = self.ports
        # It would park the standby that the mover below dresses.
        self.agent.kill()
        self.attach_standby('alpha', port)
        throw = switch.Switch.throw
        thrown = []

        def half(the_switch, prepared):
            throw(the_switch, prepared)
            thrown.append(prepared)
            if len(thrown) == 1:
                raise OSError('out of memory')

        with mock.patch.object(switch.Switch, 'throw', half):
            error = self.assertRaises(
                overlap.Failed, self.guest.inside, self.fail_over_here)

        self.assertEqual('out of memory', str(error))
        self.assertReachable()
        self.detach_standby('alpha', port)
        self.assertEqual(before, self.configuration())

    def fail_over_here(self):
        """In this process, whose functions can be replaced."""
        intent = intents.from_document(self.intent('standby'))
        folder = self.useFixture(fixtures.TempDir()).path
        with netlink.Netlink() as kernel:
            mover.Mover(
                kernel, links.Links(kernel, frozenset(['tun'])),
                snapshot.Snapshot(folder)).fail_over(
                    intent, intents.Report(intent),
                    lambda test, limit=None: test())

    def test_neighbours_that_the_standby_has_learned_are_newer(self):
        """As where another router has taken over meanwhile."""
        self.neighbour('lan0', '02:00:00:00:00:01')
        self.fail_over()
        standby, = self.guest.names() - {'lo'}
        self.neighbour(standby, '02:00:00:00:00:02')
        self.carry_standby(self.ports[0])

        self.fail_back()

        self.assertIn('dev lan0 lladdr 02:00:00:00:00:02', self.guest.run(
            'ip', 'neighbour', 'show', '192.168.1.77'))

    def neighbour(self, nic, mac):
        self.guest.run('ip', 'neighbour', 'replace', '192.168.1.77', 'lladdr',
                       mac, 'nud', 'stale', 'dev', nic)

    def test_an_intent_that_is_done_is_done(self):
        self.attach_standby('alpha', self.ports[0])
        intent = self.intent('standby')

        self.assertEqual(self.done(intent), self.done(intent))

    def test_a_move_after_a_move(self):
        self.move()
        before = self.configuration()
        port, = self.ports
        self.attach_standby('beta', port)
        self.done(self.intent('standby'))
        self.detach_vf('beta', port, 4)
        self.come_back('beta', {port: 1})

        self.assertEqual(before, self.configuration())


class ThreePortsTestCase(Lossless, base.GuestTestCase):

    PORTS = 3

    def test_one_of_them(self):
        before = self.configuration()
        port = self.ports[1]
        self.attach_standby('alpha', port)
        self.done(self.intent('standby', [port]))
        self.detach_vf('alpha', port, 2)
        self.assertReachable()

        self.come_back('alpha', {port: 4})

        self.assertEqual(before, self.configuration())
        self.assertReachable()

    def test_one_vf_does_not_come_back(self):
        self.fail_over()
        for port in self.ports:
            self.carry_standby(port)
        first, second, third = self.ports
        intent = self.intent('primary')
        self.ask(intent, 'apply')
        self.attach_vf('beta', first, 1)
        self.attach_vf('beta', third, 3)
        sessions = self.sessions()

        self.done(self.intent('primary', [first, third]))

        self.assertNothingLost(sessions, lambda: [
            self.detach_standby('beta', port) for port in (first, third)])
        self.assertReachable()

    def test_the_degraded_one_stays_when_the_others_move(self):
        self.test_one_vf_does_not_come_back()
        before = self.configuration()
        others = self.ports[::2]
        for port in others:
            self.attach_standby('beta', port)

        self.done(self.intent('standby', others))

        self.assertReachable()
        for number, port in zip((1, 3), others):
            self.detach_vf('beta', port, number)
        self.assertReachable()
        self.come_back('beta', {
            port: number for number, port in enumerate(self.ports, 1)})
        self.assertReachable()
        self.assertNotEqual(before, self.configuration())


class OutfitTestCase(groups.Listening, base.GuestTestCase):
    """What a guest's owner may have set up survives a move."""

    PORTS = 2

    SETTINGS = (
        'ip link set eth0 mtu 1420',
        'ip address add 10.1.0.5/24 dev eth0 label eth0:web',
        'ip address add 10.1.0.6/24 dev eth0',
        'ip address add 10.2.0.5/32 dev eth0',
        'ip address add 10.3.0.5/24 dev eth0 noprefixroute',
        'ip address add fd10::5/64 dev eth0 nodad',
        'ip address add fd10::6/64 dev eth0 nodad',
        'ip address add 10.4.0.5/24 dev eth0 valid_lft 900 preferred_lft 600',
        'ip address add fd14::5/64 dev eth0 nodad valid_lft 900 '
        'preferred_lft 0',
        'ip address add 10.5.0.5/24 dev eth0',
        'ip route delete 10.5.0.0/24 dev eth0',
        'ip route add 172.16.0.0/12 via 192.0.2.1 dev eth0 onlink '
        'src 10.1.0.5 mtu 1300 advmss 1200',
        'ip route add 10.9.0.0/16 nexthop via 192.168.1.1 dev eth0 weight 2 '
        'nexthop via 192.168.2.1 dev eth1 weight 1',
        'ip route add 10.8.0.0/16 via inet6 fd00:1::1 dev eth0',
        'ip route add 10.7.0.0/16 dev eth0 metric 7',
        'ip route add 10.7.0.0/16 dev eth1 metric 9',
        'ip route append 10.63.0.0/16 via 192.168.1.1 dev eth0',
        'ip route append 10.63.0.0/16 via 192.168.1.7 dev eth0',
        'ip route append 10.63.0.0/16 via 192.168.2.1 dev eth1',
        'ip route add default via 192.168.2.1 dev eth1 metric 300',
        'ip -6 route add fd20::/32 via fd00:1::1 dev eth0 pref high',
        'ip -6 route add fd21::/32 nexthop via fd00:1::1 dev eth0 '
        'nexthop via fd00:2::1 dev eth1',
        'ip route add blackhole 10.66.0.0/16',
        'ip neighbour add 192.168.1.99 lladdr 02:00:00:00:00:99 dev eth0',
        'ip neighbour add proxy 192.168.1.98 dev eth0',
        'ip link set eth0 txqueuelen 777 alias uplink group 7',
        'tc qdisc add dev eth0 root pfifo limit 77',
        # Tables of the owner's, and rules that lead to them or name a NIC.
        'ip route add default via 192.168.1.1 dev eth0 table 77',
        'ip route add 10.6.0.0/16 via 192.168.1.1 dev eth0 table 78 '
        'proto 99 metric 5',
        'ip route add throw 10.6.6.0/24 table 78',
        'ip -6 route add fd26::/32 via fd00:1::1 dev eth0 table 77',
        'ip -6 route add fd27::/32 via fd00:1::1 dev eth0 src fd10::5',
        'ip route add local 10.55.0.0/16 dev eth0 table local',
        'ip rule add from 10.1.0.6 lookup 77 priority 100',
        'ip rule add fwmark 6/7 lookup 78 priority 100',
        'ip rule add iif eth0 to 10.99.0.0/16 blackhole priority 90',
        'ip rule add not from all lookup 79 priority 101',
        'ip rule add lookup main suppress_prefixlength 0 priority 95',
        'ip -6 rule add oif eth0 lookup 77 priority 100',
        'ip nexthop add id 7 via 192.168.1.1 dev eth0',
        'ip nexthop add id 8 via 192.168.2.1 dev eth1',
        'ip nexthop add id 9 group 7,3/8,1',
        'ip nexthop add id 6 via fd00:1::1 dev eth0 proto 99',
        'ip route add 10.61.0.0/16 nhid 7 metric 3',
        'ip route add 10.62.0.0/16 nhid 9',
        'ip -6 route add fd28::/32 nhid 6 table 78',
        'sysctl -qw net.ipv4.conf.eth0.rp_filter=1',
        'sysctl -qw net.ipv4.conf.eth0.arp_ignore=1',
        'sysctl -qw net.ipv4.conf.eth0.send_redirects=0',
        'sysctl -qw net.ipv6.conf.eth0.accept_ra=0',
        'sysctl -qw net.ipv6.conf.eth0.dad_transmits=3',
        'sysctl -qw net.ipv4.neigh.eth0.gc_stale_time=77',
    )

    def setUp(self):
        super().setUp()
        for setting in self.SETTINGS:
            self.guest.run(*setting.split())

    def test_guest_is_as_it_was(self):
        # Not in the other tests: what is heard is their matter.
        self.guest.run('ip', 'link', 'set', 'eth0', 'allmulticast', 'on')
        first = self.guest.run('ip', 'route', 'get', '10.63.0.1')
        before = self.configuration()

        self.move()

        self.assertEqual(before, self.configuration())
        # Of routes to one place the order counts.
        self.assertEqual(first, self.guest.run('ip', 'route', 'get',
                                               '10.63.0.1'))
        self.assertReachable()

    def test_neighbours_that_do_not_age_are_kept(self):
        self.move()

        self.assertIn('02:00:00:00:00:99 PERMANENT', self.guest.run(
            'ip', 'neighbour', 'show', '192.168.1.99', 'dev', 'eth0'))

    def test_standby_has_the_same_routes(self):
        for port in self.ports:
            self.attach_standby('alpha', port)

        def ways():
            return [self.guest.run('ip', 'route', 'get', *to.split())
                    for to in ('192.0.2.7', '10.7.1.1', '172.16.3.3',
                               'fd20::1', '192.168.2.9',
                               '192.0.2.7 from 10.1.0.6',
                               '10.6.1.1 mark 6', '10.6.6.1 mark 6',
                               '10.61.1.1', 'fd27::1')]

        before = ways()
        report = self.done(self.intent('standby'))

        moved = {port['primary']: port['standby']
                 for port in report['ports']}
        self.assertEqual({'eth0', 'eth1'}, set(moved))
        for primary, standby in moved.items():
            before = [way.replace(f'dev {primary}', f'dev {standby}')
                      for way in before]
        # The routes are found in tables of the agent's own.
        self.assertEqual(*[
            [re.sub(r' table \d+', '', way) for way in found]
            for found in (before, ways())])

    def test_groups_are_heard_on_whatever_nic_is_in_use(self):
        self.join()
        self.assertHeard()
        self.fail_over()
        self.hear_groups('alpha')
        self.assertHeard()
        for port in self.ports:
            self.carry_standby(port)
        self.hear_groups('beta')
        self.assertHeard()
        self.fail_back()
        self.assertHeard()


class ExclusiveNicTestCase(base.GuestTestCase):
    """A NIC that delivers to the VF as long as that has the MAC."""

    MODE = nics.EXCLUSIVE

    def setUp(self):
        super().setUp()
        # What comes in on one NIC while the way back leads over the other
        # one is dropped by a strict check (RFC 3704).
        self.guest.run('sysctl', '-qw', 'net.ipv4.conf.eth0.rp_filter=1')

    def test_overlap_is_reported(self):
        port, = self.ports
        self.attach_standby('alpha', port)

        report = self.done(self.intent('standby'))

        self.assertEqual([(True, True)], [
            (port['proven'], port['overlap']) for port in report['ports']])
        self.assertReachable()

    def test_guest_is_as_it_was(self):
        before = self.configuration()

        self.move()

        self.assertEqual(before, self.configuration())
        self.assertReachable()
