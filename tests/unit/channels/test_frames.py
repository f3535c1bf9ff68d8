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

import socket

import ddt
from oslotest import base

from nova_vf_failover.channels import frames
from nova_vf_failover.channels import intent as intents
from nova_vf_failover.guest import intent as guest_intents
from nova_vf_failover.guest import packetfilter
from nova_vf_failover.guest import reportframe

MAC = 'fa:16:3e:00:00:01'
GENERATION = 0x123456789abcd


def made(state='done', use='standby', proven=None, own=(), overlap=False):
    report = guest_intents.Report(guest_intents.Intent(
        GENERATION, use, 5.0, [guest_intents.Port('port', MAC)]), state)
    report.ports[MAC].update(proven=proven, overlap=overlap)
    return reportframe.build(MAC, list(own), report)


def changed(offset, value):
    frame = made()
    return frame[:offset] + value + frame[offset + len(value):]


@ddt.ddt
class ParseTestCase(base.BaseTestCase):

    @ddt.data('armed', 'working', 'done', 'refused', 'failed', 'none')
    def test_every_state(self, state):
        self.assertEqual(
            frames.Report(GENERATION, intents.Use.STANDBY,
                          intents.ReportState(state), None),
            frames.parse(made(state)))

    @ddt.data(None, True, False)
    def test_use_and_proof(self, proven):
        report = frames.parse(made(use='primary', proven=proven))

        self.assertEqual((intents.Use.PRIMARY, proven),
                         (report.use, report.proven))

    @ddt.data(True, False)
    def test_overlap(self, overlap):
        self.assertIs(overlap, frames.parse(made(overlap=overlap)).overlap)

    def test_it_is_a_gratuitous_arp_of_the_shortest_length(self):
        frame = made(own=[(socket.AF_INET6, 'fd00::1'),
                          (socket.AF_INET, '192.0.2.7')])

        address = socket.inet_aton('192.0.2.7')
        self.assertEqual((60, address, address),
                         (len(frame), frame[28:32], frame[38:42]))

    @ddt.named_data(
        ['empty', b''], ['short', made()[:59]],
        ['magic', changed(42, b'x')], ['version', changed(46, b'\2')],
        ['use', changed(55, b'\0')], ['state', changed(56, b'\xff')],
        ['proof', changed(57, b'\3')], ['overlap', changed(58, b'\2')],
        ['rest', changed(59, b'\1')],
        ['noise', bytes(range(60))])
    def test_nonsense(self, frame):
        self.assertIsNone(frames.parse(frame))


@ddt.ddt
class FilterTestCase(base.BaseTestCase):
    """The kernel runs the program, on datagrams in the place of frames."""

    def setUp(self):
        super().setUp()
        self.ours, self.theirs = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (self.ours, self.theirs):
            self.addCleanup(end.close)
        self.ours.setblocking(False)

    def passes(self, frame, more=()):
        packetfilter.load(self.ours, packetfilter.program(
            [[*more, *frames.conditions(MAC, GENERATION)]], frames.LENGTH))
        self.theirs.send(frame)
        try:
            return self.ours.recv(1000)
        except BlockingIOError:
            return None

    def test_a_report(self):
        self.assertEqual(made(), self.passes(made()))

    def test_what_is_behind_it_is_cut_off(self):
        self.assertEqual(made(), self.passes(made() + b'x' * 500))

    def test_a_frame_that_does_not_leave(self):
        self.assertIsNone(self.passes(
            made(), [packetfilter.OUTGOING]))

    @ddt.named_data(
        ['short', made()[:40]], ['protocol', changed(12, b'\x86\xdd')],
        ['reply', changed(20, b'\0\2')],
        ['sender_of_the_frame', changed(11, b'\2')],
        ['sender_of_the_frame_too', changed(6, b'\2')],
        ['sender_of_the_arp', changed(27, b'\2')],
        ['magic', changed(45, b'x')], ['version', changed(46, b'\2')],
        ['older', changed(50, b'\0')], ['newer', changed(54, b'\xce')])
    def test_anything_else(self, frame):
        self.assertIsNone(self.passes(frame))
