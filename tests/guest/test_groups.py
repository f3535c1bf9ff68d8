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

"""What a switch hears of the groups that a guest listens to.

One that forwards a group to its members only (RFC 4541) goes by what they
say, and learns from it where their MAC is.
"""

import socket
import struct
import threading
import time
from unittest import mock

from nova_vf_failover.guest import failover
from nova_vf_failover.guest import frames
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import multicast
from nova_vf_failover.guest import overlap
from nova_vf_failover.guest import switch
from nova_vf_failover.guest import voice
from tests.guest import base
from tests.guest import cables
from tests.guest import in_process

_GROUPS = ('239.1.2.3', 'ff15::1:3')
# To leave a group: RFC 2236, 2.1 (IGMPv2), and RFC 2710, 3.1 (MLDv1), which
# is behind a hop-by-hop header
_LEAVE, _DONE = 0x17, 132
_IGMP, _HOP_BY_HOP = 2, 0
# Seconds in which IGMPv3 and MLDv2 say a change once more (RFC 3376, 8.11,
# and RFC 3810, 9.11), and some more.
_REPEATED = 1.5
_VERSIONS = ('net.ipv4.conf.%s.force_igmp_version',
             'net.ipv6.conf.%s.force_mld_version')


class Member:

    def join(self):
        """As a program of the guest does."""
        members = multicast.Memberships()
        index = self.guest.index('eth0')
        self.guest.inside(lambda: members.join(index, _GROUPS))
        self.addCleanup(members.leave, index)

    @staticmethod
    def reporters(heard):
        """The MACs that say that they listen to each group.

        :raises TimeoutError: nobody listens to one of them
        """
        found = [set() for _ in _GROUPS]
        heard.settimeout(10)
        while not all(found):
            frame = heard.recv(2048)
            for macs, group in zip(found, _GROUPS):
                family = socket.AF_INET6 if ':' in group else socket.AF_INET
                if socket.inet_pton(family, group) in frame:
                    macs.add(frame[6:12].hex(':'))
        return found


class ManyTestCase(cables.LoneGuestTestCase):
    """A socket can be a member of twenty groups of IPv4 only."""

    GROUPS = [f'239.1.2.{last}' for last in range(1, 46)] + [
        f'ff15::2:{last}' for last in range(1, 46)]

    def setUp(self):
        super().setUp()
        self.guest.set('eth0', state='up')
        self.index = self.guest.index('eth0')
        self.members = multicast.Memberships()

    def join(self, wanted):
        self.guest.inside(lambda: self.members.join(self.index, wanted))

    def joined(self):
        return sorted(self.guest.inside(lambda: multicast.groups('eth0')))

    def test_more_than_a_socket_has(self):
        self.join(self.GROUPS)

        self.assertEqual(sorted(self.GROUPS), self.joined())
        self.members.leave(self.index)
        self.assertEqual([], self.joined())

    def test_others_than_before(self):
        self.join(self.GROUPS)

        self.join(self.GROUPS[:1])

        self.assertEqual(self.GROUPS[:1], self.joined())
        self.members.leave(self.index)

    def test_the_nic_goes(self):
        self.join(self.GROUPS)

        self.members.keep_only({self.index + 1})

        self.assertEqual([], self.joined())


class FailoverTestCase(Member, in_process.InProcess):
    """As long as it is parked a standby has a MAC that is not the port's."""

    def setUp(self):
        super().setUp()
        self.port, = self.ports
        self.join()
        self.attach_standby('alpha', self.port)
        self.seen = []

    def look(self, where, what, see):
        """See something whenever this method is called."""
        act = getattr(where, what)

        def looking(*arguments):
            self.seen.extend(see(*arguments))
            return act(*arguments)

        return mock.patch.object(where, what, looking)

    def test_a_standby_is_a_member_with_the_mac_of_the_port(self):
        with self.net.hosts['alpha'].nic.listen('alphapf0') as heard, (
                self.look(overlap.Overlap, 'prove_standby',
                          lambda _, primary, standby, *others: [
                              self.mover._nics.standby(self.port.mac).mac
                              == self.port.mac,
                              multicast.groups(standby.name)])):
            self.run_mover('standby')

            self.assertEqual([False, []], self.seen)
            self.assertEqual([{self.port.mac}] * 2, self.reporters(heard))

    def test_a_standby_is_a_router_with_the_mac_of_the_port(self):
        """The kernel joins the groups of routers by itself."""
        self.guest.run('sysctl', '-qw', 'net.ipv6.conf.eth0.forwarding=1')

        with self.look(overlap.Overlap, 'prove_standby',
                       lambda _, primary, standby, *others: [
                           self.standby().up, self.is_router(standby)]):
            self.run_mover('standby')

        self.assertEqual([True, False], self.seen)
        self.assertTrue(self.is_router(self.standby()))

    def standby(self):
        return self.mover._nics.standby(self.port.mac)

    def is_router(self, nic):
        return 'ff02::2\n' in self.guest.run(
            'ip', '-6', 'maddress', 'show', 'dev', nic.name)

    def test_nobody_leaves_when_it_is_undone(self):
        def up(members, index):
            return ([self.mover._nics.standby(self.port.mac).up]
                    if index in members._sockets else [])

        throw = mock.Mock(side_effect=[OSError('out of memory'), None])
        with self.look(multicast.Memberships, 'leave', up), (
                mock.patch.object(switch.Switch, 'throw', throw)):
            self.assertRaises(overlap.Failed, self.run_mover, 'standby')

        self.assertEqual([False], self.seen)
        self.assertReachable()


class RaisedStandbyTestCase(Member, in_process.InProcess):
    """IGMPv3 and MLDv2 say for a while that somebody leaves.

    The standby is up again before that is over, as a parked one.
    """

    def setUp(self):
        super().setUp()
        self.port, = self.ports
        self.join()
        self.attach_standby('alpha', self.port)

    def raise_after(self, where, what, set_up):
        act = getattr(where, what)

        def acting(*arguments):
            act(*arguments)
            self.standby = self.mover._nics.standby(self.port.mac)
            self.versions = self.versions_of(self.standby.name)
            set_up(self.standby)

        return mock.patch.object(where, what, acting)

    def versions_of(self, name):
        return [self.guest.run('sysctl', '-n', version % name).strip()
                for version in _VERSIONS]

    def assertSilent(self, heard):
        self.assertEqual(['0', '0'], self.versions)
        until = time.monotonic() + _REPEATED
        while time.monotonic() < until:
            heard.settimeout(max(0.001, until - time.monotonic()))
            try:
                frame = heard.recv(2048)
            except TimeoutError:
                break
            self.assertNotEqual(links.parked(self.port.mac),
                                frame[6:12].hex(':'), frame.hex())

    def test_nobody_leaves_when_the_traffic_is_back(self):
        said = voice.Voice(threading.Condition(), self.mover._nics,
                           mock.Mock(), mock.Mock())
        self.run_mover('standby')
        self.detach_vf('alpha', self.port, 1)
        self.attach_vf('alpha', self.port, 2)
        with self.net.hosts['alpha'].nic.listen('alphapf0') as heard, (
                self.raise_after(
                    overlap.Overlap, 'end_on_primary',
                    lambda standby: said._raise(
                        standby, self.port.mac,
                        mock.Mock(state=intents.DONE)))):
            self.run_mover('primary')

            self.assertSilent(heard)

    def test_nobody_leaves_when_it_is_tried_again(self):
        throw = mock.Mock(side_effect=[OSError('out of memory'), None])
        with self.net.hosts['alpha'].nic.listen('alphapf0') as heard, (
                mock.patch.object(switch.Switch, 'throw', throw)), (
                self.raise_after(
                    failover.Failover, '_undress_standby',
                    lambda standby: self.mover._nics.set(
                        standby, up=True))):
            self.assertRaises(overlap.Failed, self.run_mover, 'standby')

            self.assertSilent(heard)


class FailbackTestCase(Member, base.GuestTestCase):

    def test_nobody_leaves(self):
        """A switch may believe at once that nobody listens any more."""
        port, = self.ports
        self.guest.run('sysctl', '-qw',
                       'net.ipv4.conf.eth0.force_igmp_version=2',
                       'net.ipv6.conf.eth0.force_mld_version=1')
        self.join()
        self.fail_over()
        self.carry_standby(port)
        nic = self.net.hosts['beta'].nic
        with nic.listen('betapf0') as heard, nic.listen(
                '0000:91:00.4') as heard_on_vf:
            self.fail_back()

            self.assertEqual([{port.mac}] * 2, self.reporters(heard_on_vf))
            self.assertEqual(set(), self.said(heard) & {_LEAVE, _DONE})

    @staticmethod
    def said(heard):
        """The types of the messages that have come so far."""
        found = set()
        heard.setblocking(False)
        while True:
            try:
                frame = heard.recv(2048)
            except BlockingIOError:
                return found
            protocol, = struct.unpack_from('!H', frame, 12)
            if protocol == frames.ETH_P_IP and frame[23] == _IGMP:
                found.add(frame[14 + (frame[14] & 15) * 4])
            if protocol == frames.ETH_P_IPV6 and frame[20] == _HOP_BY_HOP:
                found.add(frame[62])
