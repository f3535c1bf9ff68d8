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

"""A QEMU guest agent that answers what no QEMU guest agent answers."""

import threading
from unittest import mock

import ddt
import fixtures
from oslo_serialization import jsonutils
from oslotest import base

from nova_vf_failover.channels import intent as intents
from nova_vf_failover.channels import qga
from nova_vf_failover import exception
from tests.unit.channels import guest_agent
from tests.unit import green

PID = jsonutils.dumps({'return': {'pid': 7}})
INTENT = intents.Intent(5, intents.Use.STANDBY, 30.0,
                        {'port': 'fa:16:3e:00:00:01'})


@ddt.ddt
class NonsenseTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.answers = self.useFixture(guest_agent.Answers())

    @ddt.named_data(
        ['no_json', ['{'], 'nonsense'],
        ['a_list', ['[]'], 'nonsense'],
        ['no_pid', ['{"return": {}}'], 'nonsense'],
        ['depth', ['[' * 100000], 'nonsense'],
        ['no_base64', [PID, jsonutils.dumps({'return': {
            'exited': True, 'exitcode': 0, 'out-data': '!'}})],
         'not base64'],
        ['number_for_output', [PID, jsonutils.dumps({'return': {
            'exited': True, 'exitcode': 0, 'out-data': 5}})],
         'not base64'],
        ['nothing_said', [PID, jsonutils.dumps({'return': {
            'exited': True, 'exitcode': 127, 'err-data': 'bm8='}})],
         "exit code 127 and said nothing; on its standard error: 'no'"],
    )
    def test_is_an_error_of_the_channel(self, answers, words):
        self.answers.said[:] = answers

        error = self.assertRaises(
            exception.ChannelError, qga.QemuGuestAgentChannel().check,
            mock.Mock(), INTENT)

        self.assertIn(words, str(error))


class ThreadsTestCase(base.BaseTestCase):
    """In which thread libvirt is called, and who waits for it."""

    def test_silent_guest_does_not_hold_green_threads(self):
        self.assertEqual('instance-1 [True]', green.said(
            'tests.unit.channels.green_threads'))

    def test_called_as_it_is_in_native_threads(self):
        self.useFixture(guest_agent.Answers())
        called = []

        def note(domain, *arguments):
            called.append((domain, threading.get_ident()))
            return PID

        self.useFixture(fixtures.MonkeyPatch(
            'libvirt_qemu.qemuAgentCommand', note))

        self.assertEqual(PID, qga._ask(mock.sentinel.domain, '{}'))
        self.assertEqual(
            [(mock.sentinel.domain, threading.get_ident())], called)
