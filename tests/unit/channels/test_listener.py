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

"""Listening, in a process that has the privileges itself, or has none."""

import errno
import socket

import ddt
import fixtures
from oslo_privsep import daemon
from oslotest import base

from nova_vf_failover.channels import frames
from nova_vf_failover.channels import intent as intents
from nova_vf_failover.channels import listener
from nova_vf_failover import exception
from nova_vf_failover.guest import intent as guest_intents
from nova_vf_failover.guest import reportframe
from nova_vf_failover.guest import voice
from nova_vf_failover import privileges

MAC = 'fa:16:3e:00:00:01'
GENERATION = 5

# Of a failback, in their order.
STATES = (guest_intents.ARMED, guest_intents.WORKING, guest_intents.DONE)


class HearTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MockPatchObject(
            privileges.net_raw, 'client_mode', False))
        ours, self.guest = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (ours, self.guest):
            self.addCleanup(end.close)
        ours.setblocking(False)
        self.useFixture(fixtures.MockPatchObject(
            listener, '_open', lambda devices, generation: 7))
        self.useFixture(fixtures.MockPatchObject(
            listener, '_open_sockets', {7: {ours: MAC}}))

    def say(self, state):
        intent = guest_intents.Intent(
            GENERATION, 'primary', 5.0, [guest_intents.Port('port', MAC)])
        self.guest.send(reportframe.build(
            MAC, [], guest_intents.Report(intent, state)))

    def test_all_that_a_guest_says_of_an_intent_at_once(self):
        """Nobody has listened before it was over."""
        for state in STATES:
            for _ in range(len(voice.PAUSES) + 1):
                self.say(state)

        with listener.Listening({MAC: 'macvtap0'}, GENERATION) as listening:
            heard = listening.hear(0)

        self.assertEqual(
            (MAC, frames.Report(GENERATION, intents.Use.PRIMARY,
                                intents.ReportState.DONE, None)), heard[-1])


class WaitTestCase(base.BaseTestCase):

    def test_a_call_keeps_the_daemon_busy_for_a_short_time_only(self):
        waited = []
        for name, stand_in in (
                ('_open', lambda devices, generation: 7),
                ('_hear', lambda _, timeout: waited.append(timeout) or []),
                ('_close', lambda number: None)):
            self.useFixture(fixtures.MockPatchObject(
                listener, name, stand_in))

        with listener.Listening({MAC: 'macvtap0'}, GENERATION) as listening:
            listening.hear(600)
            listening.hear(0.5)

        self.assertEqual([listener.LONGEST_WAIT, 0.5], waited)


@ddt.ddt
class UnprivilegedTestCase(base.BaseTestCase):
    """nova-compute cannot start the helper of oslo.privsep."""

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MockPatchObject(
            privileges.net_raw, 'client_mode', True))
        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.privileges.net_raw.channel', None))

    def fail(self, error):
        self.useFixture(fixtures.MockPatchObject(
            privileges.net_raw, 'start', side_effect=error))

    @ddt.named_data(
        ['refused', daemon.FailedToDropPrivileges(
            'privsep helper command exited non-zero (99)')],
        ['no_sudo', FileNotFoundError('sudo')])
    def test_it_cannot_be_listened(self, error):
        self.fail(error)

        refusal = self.assertRaises(
            exception.ChannelError, listener.Listening,
            {MAC: 'macvtap0'}, GENERATION)

        self.assertIn(str(error), str(refusal))
        self.assertIn('macvtap0', str(refusal))

    def test_it_cannot_be_listened_at_all(self):
        self.fail(daemon.FailedToDropPrivileges('no'))

        refusal = self.assertRaises(
            exception.ChannelError, listener.Listening, {}, GENERATION)

        self.assertIn('cannot be heard: no', str(refusal))

    def test_the_daemon_ends_meanwhile_and_is_not_started_again(self):
        self.useFixture(fixtures.MockPatchObject(
            listener, '_open', lambda devices, generation: 7))
        log = self.useFixture(fixtures.FakeLogger())
        self.fail(daemon.FailedToDropPrivileges('exited'))

        with listener.Listening({MAC: 'macvtap0'}, GENERATION) as listening:
            self.assertRaises(exception.ChannelError, listening.hear, 0)

        # With the daemon its sockets have gone.
        self.assertIn('exited', log.output)


class RightTestCase(base.BaseTestCase):

    def test_a_host_that_may_not_is_found_without_a_device(self):
        self.useFixture(fixtures.MockPatchObject(
            privileges.net_raw, 'client_mode', False))
        with fixtures.MockPatchObject(
                socket, 'socket', side_effect=PermissionError(
                    errno.EPERM, 'Operation not permitted')):
            error = self.assertRaises(
                exception.ChannelError, listener.Listening, {}, GENERATION)

        self.assertIn('Operation not permitted', str(error))
