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

"""What a VF may hear before it is in use."""

import collections
import errno
import json
import socket
from unittest import mock

import ddt
import fixtures

from nova_vf_failover.guest import configurators
from nova_vf_failover.guest import dressing
from nova_vf_failover.guest import ingress
from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import overlap
from nova_vf_failover.guest import sysctl
from nova_vf_failover.guest import wire
from tests.guest import base
from tests.guest import in_process
from tests.simulation.fabric import nic as nics

_BURST = 20


class DressingTestCase(in_process.InProcess):
    """Packets come in while a VF is up and its routes are put."""

    def setUp(self):
        super().setUp()
        self.port, = self.ports

    def heard_while_dressing(self, copies=1):
        """The numbers of the packets that the guest hears meanwhile.

        :param copies: how often it hears each
        """
        heard = []
        self.come_back_with(dressing, 'put_routes',
                            self.put_routes_hearing(heard, copies))
        return sorted(heard)

    def put_routes_hearing(self, heard, copies=1):
        """A way to put routes while packets come."""
        put_routes = dressing.put_routes

        def put_while_packets_come(*arguments):
            heard.extend(self.hear_burst(copies))
            put_routes(*arguments)

        return put_while_packets_come

    def heard_while_configured(self):
        """The same, while a program of the guest's is busy with the VF."""
        heard, looks = [], []

        def busy(nic):
            looks.append(nic)
            # At the first two looks the VF is not up.
            if len(looks) == 3:
                heard.extend(self.hear_burst(1))
            return 'systemd-networkd.service'

        self.come_back_with(configurators, 'busy', busy)
        return sorted(heard)

    def come_back_with(self, where, what, instead):
        self.attach_standby('alpha', self.port)
        self.run_mover('standby')
        self.detach_vf('alpha', self.port, 1)
        self.attach_vf('alpha', self.port, 2)
        with mock.patch.object(where, what, instead):
            self.run_mover('primary')
        self.assertReachable()
        self.detach_standby('alpha', self.port)
        self.assertReachable()

    def hear_burst(self, copies):
        """Have the peer send packets, and what the guest gets of them.

        The last packet is one without a number; on the NIC that it comes in
        on, whatever was sent before it has come in by then.
        """
        own = str(self.port.v4.ip)

        def open_socket():
            return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

        with self.guest.inside(open_socket) as hearing, (
                self.net.peer.inside(open_socket)) as sending:
            hearing.bind((own, 0))
            hearing.settimeout(5)
            to = own, hearing.getsockname()[1]
            for number in range(_BURST):
                sending.sendto(b'%d' % number, to)
            sending.sendto(b'end', to)
            heard = []
            while heard.count(b'end') < copies:
                heard.append(hearing.recv(16))
        return [int(number) for number in heard if number != b'end']


@ddt.ddt
class ReplicatingNicTestCase(DressingTestCase):

    def setUp(self):
        super().setUp()
        # A busy machine may take longer to bring the answer that proves
        # that the standby hears the same.
        self.useFixture(fixtures.MockPatchObject(wire, 'BRIEF',
                                                 wire._PATIENCE))

    def test_nothing_comes_twice(self):
        self.assertEqual(list(range(_BURST)), self.heard_while_dressing())

    def test_nothing_comes_twice_while_somebody_configures_it(self):
        self.assertEqual(list(range(_BURST)), self.heard_while_configured())

    def test_all_comes_twice_without_nftables(self):
        with mock.patch.object(
                ingress.Ingress, '_change', autospec=True,
                side_effect=OSError(errno.EPROTONOSUPPORT, 'no nftables')):
            heard = self.heard_while_dressing(copies=2)

        self.assertEqual(sorted([*range(_BURST)] * 2), heard)

    def test_an_owner_flushes_all_tables(self):
        open_ = ingress.Ingress.open

        def flush_and_open(coming_in):
            ingress.Ingress().forget()
            open_(coming_in)

        with mock.patch.object(ingress.Ingress, 'open', flush_and_open):
            self.assertEqual(list(range(_BURST)), self.heard_while_dressing())

    def test_an_agent_was_killed_meanwhile(self):
        self.guest.inside(lambda: ingress.Ingress().shut(
            links.Links(self.kernel, frozenset()).named('eth0')))
        self.assertFalse(self.net.reaches(self.port, 4))

        self.agent.start()

        self.assertReachable()

    @ddt.data(None, 'systemd-networkd.service')
    def test_a_vf_in_use_is_not_shut(self, unit):
        """The host has not heard that it is, and asks once more."""
        self.attach_standby('alpha', self.port)
        self.run_mover('standby')
        self.detach_vf('alpha', self.port, 1)
        self.attach_vf('alpha', self.port, 2)
        with mock.patch.object(ingress.Ingress, 'shut',
                               autospec=True) as shut:
            self.run_mover('primary')
            self.assertEqual(1, shut.call_count)

            with mock.patch.object(configurators, 'busy', autospec=True,
                                   return_value=unit):
                self.run_mover('primary')

            self.assertEqual(1, shut.call_count)
        self.assertReachable()


class NetworkdTestCase(DressingTestCase):
    """systemd-networkd has begun with a VF before the agent sees it."""

    def busy(self, nic):
        if nic.index not in self.seen:
            self.seen[nic.index] = []
            sysctl.write_changed(nic.name, {sysctl.ADDR_GEN_MODE: '0'})
        self.seen[nic.index] = [
            address for address in json.loads(self.guest.run(
                'ip', '-json', '-6', 'address', 'show', 'dev', nic.name,
                'scope', 'link'))[0:1] if address.get('addr_info')]
        return None if self.seen[nic.index] else 'systemd-networkd.service'

    def test_it_gets_the_link_local_address_that_it_waits_for(self):
        self.seen = {}
        put = mock.Mock(side_effect=dressing.put_on_primary)

        def put_then(*arguments):
            # Before the agent puts its own.
            self.assertTrue(all(self.seen.values()), self.seen)
            put(*arguments)

        with mock.patch.object(dressing, 'put_on_primary', put_then):
            self.come_back_with(configurators, 'busy', self.busy)

        put.assert_called_once()


class ExclusiveNicTestCase(DressingTestCase):
    """A VF that alone hears has to hear from the beginning."""

    MODE = nics.EXCLUSIVE

    def test_it_is_never_shut(self):
        with mock.patch.object(ingress.Ingress, 'shut',
                               autospec=True) as shut:
            self.assertEqual(list(range(_BURST)), self.heard_while_dressing())

        shut.assert_not_called()


class OtherNicTestCase(DressingTestCase):
    """The guest comes from a NIC that replicates to one that does not."""

    def attach_vf(self, host, port, number):
        self.net.hosts[host].nic.become(
            nics.EXCLUSIVE if number == 2 else nics.REPLICATING)
        super().attach_vf(host, port, number)

    def test_it_is_opened_as_soon_as_that_is_seen(self):
        self.assertEqual(list(range(_BURST)), self.heard_while_dressing())

    def test_it_is_opened_before_it_is_configured(self):
        self.assertEqual(list(range(_BURST)), self.heard_while_configured())

    def test_the_next_nic_replicates_again(self):
        self.attach_standby('alpha', self.port)
        self.run_mover('standby')
        self.detach_vf('alpha', self.port, 1)
        self.attach_vf('alpha', self.port, 2)
        with mock.patch.object(
                configurators, 'busy', autospec=True, return_value='unit'), (
                mock.patch.object(dressing, 'put_routes', autospec=True,
                                  side_effect=OSError('out of memory'))):
            self.assertRaises(overlap.Failed, self.run_mover, 'primary')
        self.detach_vf('alpha', self.port, 2)
        self.attach_vf('alpha', self.port, 3)
        self.useFixture(fixtures.MockPatchObject(wire, 'BRIEF',
                                                 wire._PATIENCE))
        heard = []
        with mock.patch.object(dressing, 'put_routes',
                               self.put_routes_hearing(heard)):
            self.run_mover('primary')

        self.assertEqual(list(range(_BURST)), sorted(heard))

    def test_it_is_asked_only_until_it_has_heard_an_answer(self):
        """What comes in meanwhile is lost."""
        asked = collections.Counter()
        send, hears_alone = wire.Wire.send, overlap.Overlap.hears_alone

        def ask(its, frame):
            asked.update([frame])
            send(its, frame)

        def hear(*arguments):
            with mock.patch.object(wire.Wire, 'send', ask):
                return hears_alone(*arguments)

        with mock.patch.object(overlap.Overlap, 'hears_alone', hear):
            self.heard_while_configured()

        # A busy machine may miss one answer, or two.
        self.assertIn(max(asked.values()), range(1, 4))


@ddt.ddt
class NeverDroppedTestCase(base.GuestTestCase):

    def test_it_comes_in_on_a_nic_that_is_shut(self):
        self.shut()
        self.assertFalse(self.net.reaches(self.ports[0], 6))

        with self.guest.inside(self.open_socket) as hearing, (
                self.net.peer.inside(self.open_socket)) as sending:
            hearing.bind(('::', 0))
            hearing.settimeout(5)
            index = self.net.peer.index('eth0')
            # All nodes of the link, as a router advertises.
            sending.sendto(b'to all', (
                'ff02::1', hearing.getsockname()[1], 0, index))

            self.assertEqual(b'to all', hearing.recv(16))

    def shut(self):
        kernel = self.guest.inside(netlink.Netlink)
        self.addCleanup(kernel.close)
        self.guest.inside(lambda: ingress.Ingress().shut(
            links.Links(kernel, frozenset()).named('eth0')))

    def test_answers_of_routers_come_in_on_a_nic_that_is_shut(self):
        """One that a router sends to a host that has asked."""
        own = str(self.ports[0].v6.ip)
        self.shut()

        with self.guest.inside(self.open_raw_socket) as hearing, (
                self.net.peer.inside(self.open_raw_socket)) as sending:
            hearing.settimeout(5)
            # Echo replies, before and behind a router advertisement.
            for kind in (129, 134, 129):
                sending.sendto(bytes([kind]) + bytes(15), (own, 0))
            heard = self.hear(hearing, 134)
            hearing.setblocking(False)

            self.assertNotIn(129, heard)
            self.assertRaises(BlockingIOError, self.hear, hearing, 129)

    @staticmethod
    def hear(hearing, kind):
        """The kinds of what comes in, until it is this one."""
        heard = []
        while kind not in heard:
            heard.append(hearing.recv(2048)[0])
        return heard

    @ddt.data((socket.AF_INET6, 546), (socket.AF_INET, 68))
    @ddt.unpack
    def test_leases_come_in_on_a_nic_that_is_shut(self, family, number):
        port, = self.ports
        own = str((port.v6 if family == socket.AF_INET6 else port.v4).ip)

        def open_socket():
            return socket.socket(family, socket.SOCK_DGRAM)

        with self.guest.inside(open_socket) as hearing, (
                self.guest.inside(open_socket)) as other, (
                self.net.peer.inside(open_socket)) as sending:
            hearing.bind((own, number))
            hearing.settimeout(5)
            other.bind((own, 0))
            other.setblocking(False)
            self.shut()
            sending.sendto(b'other', other.getsockname()[:2])
            sending.sendto(b'lease', (own, number))

            self.assertEqual(b'lease', hearing.recv(16))
            self.assertRaises(BlockingIOError, other.recv, 16)

    @staticmethod
    def open_socket():
        return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)

    @staticmethod
    def open_raw_socket():
        return socket.socket(socket.AF_INET6, socket.SOCK_RAW,
                             socket.IPPROTO_ICMPV6)
