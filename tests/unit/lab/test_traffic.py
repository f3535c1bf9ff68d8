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

"""Traffic that has nothing of what was before a round; nothing is sent."""

import array
import base64
import os
import socket
from unittest import mock

import fixtures
from oslotest import base

from tests.lab.compare import endpoint
from tests.lab.compare import fabric
from tests.lab.compare import guest
from tests.lab.compare import traffic
from tests.lab import conversation
from tests.simulation.fabric import namespace


class EndTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MockPatchObject(
            endpoint.socket, 'socket', autospec=True))

    def end(self, session):
        return endpoint.End('192.0.2.1', '192.0.2.2', 0.01, session)

    def sent(self, end):
        """What one more datagram of an end is."""
        end._send()
        return end._udp.sendto.call_args.args[0]

    def received(self, end, *datagrams):
        """The numbers that an end notes."""
        end._udp.recv.side_effect = [*datagrams, BlockingIOError]
        end._receive()
        return end.received.tolist()[::2]

    def test_both_number_what_they_send(self):
        # Those of a mock are one, whoever has made it.
        one = self.end(7)
        datagrams = [self.sent(one), self.sent(one)]

        self.assertEqual([0, 1], self.received(self.end(7), *datagrams))

    def test_what_another_session_has_sent_is_none_of_it(self):
        earlier = [self.sent(end) for end in (self.end(7), self.end(9))]

        self.assertEqual([0], self.received(self.end(9), *earlier))


class TrafficTestCase(base.BaseTestCase):

    def start(self):
        """The last words of both ends."""
        agent = mock.Mock(spec=conversation.GuestAgent)
        peer = mock.Mock(spec=namespace.Namespace)
        peer.command.side_effect = lambda *argv: argv
        started = mock.Mock()
        with fixtures.MockPatchObject(traffic.subprocess, 'Popen', started):
            traffic.Traffic(peer, agent)
        theirs = agent.start.call_args.args
        ours = started.call_args.args[0]
        return [argv[argv.index('--session') + 1:] for argv in (theirs, ours)]

    def test_each_has_a_session_of_its_own_at_both_ends(self):
        first, second = self.start(), self.start()

        for guests, peers in (first, second):
            self.assertEqual(list(guests), list(peers))
        self.assertNotEqual(first[0], second[0])


class LeftoverTestCase(base.BaseTestCase):

    def taps(self):
        """Of a host: what QEMU reads, and what fills it."""
        reading, filling = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for its in (reading, filling):
            self.addCleanup(its.close)
        return reading.fileno(), filling

    def test_a_tap_is_empty_for_the_next_guest(self):
        net = fabric.Fabric()
        pairs = {name: self.taps() for name in (fabric.VF, fabric.PF)}
        net.taps = {'b': {name: its for name, (its, _) in pairs.items()}}
        for _, filling in pairs.values():
            for frame in (b'one', b'another'):
                filling.send(frame)

        net.forget('b')

        for descriptor, filling in pairs.values():
            filling.send(b'later')
            self.assertEqual(b'later', os.read(descriptor, 100))

    def test_it_is_before_a_guest_comes_to_where_one_has_been(self):
        net = mock.Mock(spec=fabric.Fabric, taps={
            host: {fabric.VF: 1, fabric.PF: 2} for host in fabric.HOSTS})
        turns = mock.Mock()
        turns.attach_mock(net.forget, 'forget')
        self.useFixture(fixtures.MockPatchObject(
            guest.machines, 'Machine', turns.start))
        its = guest.Guest(net, None, None, (), {})
        self.addCleanup(its.close)
        turns.reset_mock()

        its.prepare_target((guest.STANDBY,))

        self.assertEqual(['forget', 'start'], [
            name for name, _, _ in turns.mock_calls
            if name in ('forget', 'start')])
        net.forget.assert_called_once_with('b')


class MeasureTestCase(base.BaseTestCase):
    """A move from 4 s to 6 s, after two seconds of quiet, and its traffic."""

    SENT = [number / 10 for number in range(100)]

    def measure(self, missing=(), again=(), resent=()):
        """The round.

        :param missing: spans in which nothing gets through
        :param again: numbers that come twice, right one after the other
        :param resent: when a segment was sent again
        """
        through = [number for number, at in enumerate(self.SENT) if not any(
            start <= at < end for start, end in missing)]
        came = sorted([*through, *again])
        peer = {
            'sent': self.SENT,
            'received': [part for number in came
                         for part in (number, self.SENT[number])],
            'stream': [part for number in through for part in (
                self.SENT[number], float(number),
                float(sum(at <= self.SENT[number] for at in resent)))]}
        guest = {'sent': self.SENT, 'received': base64.b64encode(
            array.array('I', came).tobytes()).decode()}
        return traffic.measure(peer, guest, {'copy': (4.0, 6.0)}, 2.0, 0.25)

    def figures(self, **happened):
        its = self.measure(**happened)
        return ([(way.lost, way.duplicated, len(way.gaps))
                 for way in its.ways],
                round(its.stream.stall, 6), its.stream.again)

    def test_what_happened_in_the_quiet_is_not_the_moves(self):
        self.assertEqual(
            ([(0, 0, 0)] * 2, 0.1, 0),
            self.figures(missing=[(2.5, 3.5)], again=[21, 39],
                         resent=[3.6]))

    def test_the_quiet_itself_has_it(self):
        quiet = self.measure(missing=[(2.5, 3.5)]).quiet

        for pause in (quiet.inwards, quiet.outwards, quiet.stream):
            self.assertAlmostEqual(1.1, pause)

    def test_what_happened_in_the_move_is(self):
        self.assertEqual(
            ([(5, 2, 1)] * 2, 0.6, 1),
            self.figures(missing=[(4.5, 5.0)], again=[41, 60],
                         resent=[5.0]))

    def test_a_gap_and_a_stall_that_reach_into_it_are_whole(self):
        its = self.measure(missing=[(3.75, 4.45)], resent=[4.5])

        for way in its.ways:
            self.assertEqual(7, way.lost)
            self.assertAlmostEqual(0.5, way.interruption(4.0, 6.0))
            self.assertAlmostEqual(0.8, way.gaps[0].end - way.gaps[0].start)
        self.assertAlmostEqual(0.8, its.stream.stall)
        self.assertEqual(1, its.stream.again)
