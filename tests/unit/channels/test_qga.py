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

import base64
import threading
import time
from unittest import mock

import ddt
import fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from oslo_serialization import jsonutils
from oslotest import base

from nova_vf_failover.channels import intent as intents
from nova_vf_failover.channels import qga
from nova_vf_failover import exception
from tests.simulation import errors
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
        ['status_a_list', [PID, '{"return": []}'], 'nonsense'],
        ['status_null', [PID, '{"return": null}'], 'nonsense'],
        ['status_a_text', [PID, '{"return": "x"}'], 'nonsense'],
        ['status_a_number', [PID, '{"return": 5}'], 'nonsense'],
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

    def test_a_long_exit_code_is_told_in_brief(self):
        self.answers.said[:] = [PID, jsonutils.dumps({'return': {
            'exited': True, 'exitcode': 'x' * 1000000}})]

        error = self.assertRaises(
            exception.ChannelError, qga.QemuGuestAgentChannel().check,
            mock.Mock(), INTENT)

        self.assertLess(len(str(error)), 500)

    @ddt.data(
        errors.error(errors.VIR_ERR_AGENT_COMMAND_FAILED,
                     'guest agent command failed: \x1b[2J\nERROR nova'),
        jsonutils.dumps({'return': {
            'exited': True, 'exitcode': '\x1b[2J\nERROR nova'}}))
    def test_what_a_guest_says_forges_no_line(self, answer):
        self.answers.said[:] = [PID, answer]

        error = self.assertRaises(
            exception.ChannelError, qga.QemuGuestAgentChannel().check,
            mock.Mock(), INTENT)

        self.assertIn('[2J ERROR nova', str(error))
        self.assertTrue(str(error).isprintable(), str(error))


def ended(**changed):
    """The program has printed a report."""
    report = {'version': 1, 'generation': INTENT.generation, 'state': 'done',
              'message': '', 'ports': [{'id': 'port', 'proven': True}]}
    return jsonutils.dumps({'return': {
        'exited': True, 'exitcode': 0, 'out-data': base64.b64encode(
            jsonutils.dump_as_bytes(report | changed)).decode()}})


RUNS = jsonutils.dumps({'return': {'exited': False}})
DONE = ended()

# As of libvirt's src/qemu/qemu_agent.c and src/qemu/qemu_domainjob.c.
UNRESPONSIVE = errors.error(
    fakelibvirt.VIR_ERR_AGENT_UNRESPONSIVE, 'Guest agent is not responding: '
    'Guest agent not available for now')
COMMAND_TIMEOUT = errors.error(
    errors.VIR_ERR_AGENT_COMMAND_TIMEOUT, 'guest agent command timed out: '
    "guest agent didn't respond to command within '10' seconds")
UNSYNCED = errors.error(
    errors.VIR_ERR_AGENT_UNSYNCED, 'guest agent replied with wrong id to '
    'guest-sync command')
LOCKED = errors.error(
    fakelibvirt.VIR_ERR_OPERATION_TIMEOUT, 'Timed out during operation: '
    'cannot acquire state change lock (held by '
    'agent=remoteDispatchDomainGetGuestInfo)')

UNKNOWN_PID = errors.internal(
    "unable to execute QEMU agent command 'guest-exec-status': Invalid "
    "parameter 'pid'")
UNKNOWN_PID_NEW = errors.error(
    errors.VIR_ERR_AGENT_COMMAND_FAILED, 'guest agent command failed: unable '
    "to execute QEMU agent command 'guest-exec-status': Invalid parameter "
    "'pid'")
OFF = errors.invalid('domain is not running')


@ddt.ddt
class PollTestCase(base.BaseTestCase):
    """Looks at a program in the guest that meet with an error."""

    def setUp(self):
        super().setUp()
        self.answers = self.useFixture(guest_agent.Answers())
        for name in ('VIR_ERR_AGENT_UNSYNCED',
                     'VIR_ERR_AGENT_COMMAND_TIMEOUT',
                     'VIR_ERR_AGENT_COMMAND_FAILED'):
            self.useFixture(fixtures.MonkeyPatch(
                f'nova.tests.fixtures.libvirt.{name}',
                getattr(errors, name)))

    def ask(self, timeout=10):
        return qga.QemuGuestAgentChannel().ask(mock.Mock(), INTENT, timeout)

    def refusal(self, timeout=10):
        return str(self.assertRaises(exception.ChannelError, self.ask,
                                     timeout))

    @ddt.named_data(
        ['busy', UNRESPONSIVE], ['busy_with_the_command', COMMAND_TIMEOUT],
        ['out_of_step', UNSYNCED], ['held_by_another_client', LOCKED])
    def test_the_next_one_may_be_answered(self, error):
        self.answers.said[:] = [PID, error, RUNS, error, DONE]

        self.assertEqual(intents.ReportState.DONE, self.ask().state)

    @ddt.named_data(['restarted', UNKNOWN_PID],
                    ['restarted_new_libvirt', UNKNOWN_PID_NEW],
                    ['off', OFF])
    def test_an_error_that_stays_ends_the_wait(self, error):
        self.answers.said[:] = [PID, UNRESPONSIVE, error, DONE]

        said = self.refusal()

        self.assertIn(error.get_error_message(), said)
        self.assertEqual([DONE], self.answers.said)

    @ddt.named_data(
        ['busy', UNRESPONSIVE], ['busy_with_the_command', COMMAND_TIMEOUT],
        ['out_of_step', UNSYNCED], ['held_by_another_client', LOCKED])
    def test_a_start_is_not_tried_again(self, error):
        self.answers.said[:] = [error, PID, DONE]

        self.assertIn(error.get_error_message(), self.refusal())

        self.assertEqual([PID, DONE], self.answers.said)

    def test_a_guest_has_its_whole_time_and_the_way_back(self):
        self.answers.said[:] = [PID, RUNS, RUNS, DONE]

        self.assertEqual(intents.ReportState.DONE, self.ask(0).state)

    def test_pauses_do_not_grow_for_ever(self):
        pauses = []
        self.useFixture(fixtures.MockPatchObject(
            qga, 'time', mock.Mock(wraps=time, sleep=pauses.append)))
        self.answers.said[:] = [PID, *[RUNS] * 20, DONE]

        self.ask()

        self.assertEqual((20, qga.LONGEST_PAUSE), (len(pauses), max(pauses)))

    def test_an_answer_to_another_intent(self):
        self.answers.said[:] = [PID, ended(generation=4)]

        self.assertIn('generation 4 and was asked about 5', self.refusal())

    def test_an_intent_that_was_refused_unread(self):
        self.answers.said[:] = [PID, ended(generation=0, state='refused')]

        self.assertTrue(self.ask().stayed)

    def test_the_last_one_is_told_at_the_deadline(self):
        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.channels.qga.WAY_TIMEOUT', 0))
        self.answers.said[:] = [PID, UNRESPONSIVE] + [LOCKED] * 50

        said = self.refusal(0.1)

        self.assertIn('has not answered within', said)
        self.assertIn(LOCKED.get_error_message(), said)

    def test_a_program_that_runs_is_told_at_the_deadline(self):
        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.channels.qga.WAY_TIMEOUT', 0))
        self.answers.said[:] = [PID, UNRESPONSIVE] + [RUNS] * 50

        said = self.refusal(0.1)

        self.assertIn('has not answered within', said)
        self.assertNotIn(UNRESPONSIVE.get_error_message(), said)


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
