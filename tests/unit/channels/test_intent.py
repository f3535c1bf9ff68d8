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

from nova_vf_failover.channels import intent
from nova_vf_failover import exception
from oslo_serialization import jsonutils
from oslotest import base

REPORT = {'version': 1, 'generation': 5, 'use': 'standby', 'state': 'done',
          'message': '', 'ports': [{'id': 'port', 'proven': True}]}


class IntentTestCase(base.BaseTestCase):

    def test_names_every_port_with_its_mac(self):
        text = intent.Intent(5, intent.Use.STANDBY, 30.0, {
            'port': 'fa:16:3e:00:00:01'}).to_json()

        self.assertEqual(
            {'version': 1, 'generation': 5, 'use': 'standby',
             'timeout': 30.0,
             'ports': [{'id': 'port', 'mac': 'fa:16:3e:00:00:01'}]},
            jsonutils.loads(text))


class ReportTestCase(base.BaseTestCase):

    def test_reads_what_the_agent_prints(self):
        report = intent.Report.parse(jsonutils.dumps(REPORT))

        self.assertEqual((5, intent.ReportState.DONE), (
            report.generation, report.state))
        self.assertEqual({'port': True}, report.proven)
        self.assertTrue(report.finished)
        self.assertFalse(report.stayed)

    def test_ports_whose_vf_hears_the_network_are_told(self):
        ports = [{'id': 'a', 'overlap': True}, {'id': 'b', 'overlap': False},
                 {'id': 'c'}, {'id': 'd', 'overlap': 'yes'}]

        report = intent.Report.parse(
            jsonutils.dumps(REPORT | {'ports': ports}))

        self.assertEqual({'a'}, report.overlap)

    def test_a_generation_that_was_taken(self):
        for taken, expected in ((7, 7), (0, 0), (-1, 0), (2 ** 53 - 1, 0),
                                (2 ** 53 - 2, 2 ** 53 - 2), (None, 0)):
            report = intent.Report.parse(
                jsonutils.dumps(REPORT | {'taken': taken}))
            self.assertEqual(expected, report.taken)
        for taken in ('7', True, 7.5, [7]):
            self.assertRaises(
                exception.ChannelError, intent.Report.parse,
                jsonutils.dumps(REPORT | {'taken': taken}))

    def steps(self, *steps):
        return intent.Report.parse(jsonutils.dumps(REPORT | {
            'ports': [{'id': 'port', 'steps': list(steps)}]})).steps

    def test_steps_that_cannot_be_understood_are_left_out(self):
        step = {'name': 'prove', 'start': 1, 'end': 2.5}

        self.assertEqual(
            (intent.GuestStep('prove', 1.0, 2.5),),
            self.steps(None, 5, [], {}, {'name': 'prove'},
                       step | {'start': 'now'}, step | {'start': 3},
                       step | {'end': float('inf')},
                       step | {'start': float('nan')},
                       step | {'end': 10 ** 400}, step))
        self.assertEqual((), intent.Report.parse(jsonutils.dumps(
            REPORT | {'ports': [{'id': 'port', 'steps': 5}]})).steps)

    def test_steps_are_few_and_have_short_names(self):
        found = self.steps(*[{'name': '\n' + 'x' * 1000, 'start': 1,
                              'end': 2}] * 50)

        self.assertEqual(intent.MOST_STEPS, len(found))
        self.assertTrue(found[0].name.isprintable())
        self.assertLessEqual(len(found[0].name), intent.LONGEST_STEP)

    def test_refused_and_failed_mean_that_the_guest_stayed(self):
        for state in ('refused', 'failed'):
            report = intent.Report.parse(
                jsonutils.dumps(REPORT | {'state': state}))
            self.assertTrue(report.stayed, state)

    def test_an_answer_that_is_no_report_is_an_error_of_the_channel(self):
        nonsense = [
            '', 'hello', '[]', '5', '"done"', 'null',
            jsonutils.dumps(REPORT | {'version': 2}),
            jsonutils.dumps(REPORT | {'state': 'fine'}),
            jsonutils.dumps(REPORT | {'generation': 'five'}),
            jsonutils.dumps(REPORT | {'generation': True}),
            jsonutils.dumps(REPORT | {'ports': [1]}),
            jsonutils.dumps(REPORT | {'ports': 5}),
            jsonutils.dumps(REPORT | {'ports': [{'proven': True}]}),
            jsonutils.dumps({'version': 1}),
            '[' * 100_000,
            'x' * (intent.LONGEST_REPORT + 1),
        ]
        for text in nonsense:
            self.assertRaises(exception.ChannelError, intent.Report.parse,
                              text)

    def test_what_a_guest_says_is_cut_and_made_printable(self):
        report = intent.Report.parse(jsonutils.dumps(
            REPORT | {'message': 'a\n\x1b[31m' + 'b' * 10_000}))

        self.assertTrue(report.message.isprintable())
        self.assertLessEqual(len(report.message), intent.LONGEST_MESSAGE)
