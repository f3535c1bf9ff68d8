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

from unittest import mock

from oslo_config import cfg
from oslo_config import fixture as config
from oslotest import base

from nova_vf_failover.channels import intent as intents
from nova_vf_failover import conf
from nova_vf_failover import conversation
from nova_vf_failover import exception
from nova_vf_failover import journal
from nova_vf_failover import ledger
from nova_vf_failover import ports

State = intents.ReportState


class ConversationTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        conf.register_opts(cfg.CONF)
        self.useFixture(config.Config(cfg.CONF)).config(
            group='vf_failover', failover_timeout=7, failback_timeout=11)
        guest = mock.Mock(**{
            'read_journal.return_value': journal.Journal(5)})
        self.channel = mock.Mock()
        self.said = []
        for method in ('check', 'tell', 'ask'):
            getattr(self.channel, method).side_effect = self.answer
        self.reports = [intents.Report(5, State.DONE, '')]
        self.conversation = conversation.Conversation(
            guest, ledger.Ledger(guest), self.channel, mock.Mock())
        self.ports = [ports.Port('port', 'fa:16:3e:00:00:01', None)]

    def answer(self, _guest, intent, timeout=None):
        self.said.append((intent.use.value, intent.timeout, timeout))
        return self.reports.pop(0)

    def test_on_the_way_out(self):
        self.conversation.send_to_standby(self.ports)

        self.assertEqual([('standby', 7, 7)], self.said)

    def test_on_the_way_back(self):
        self.reports = [intents.Report(5, State.ARMED, ''),
                        intents.Report(5, State.DONE, '')]

        self.conversation.arm(self.ports)
        self.conversation.await_primary(self.ports)

        self.assertEqual([('primary', 11, None), ('primary', 11, 11)],
                         self.said)

    def test_one_that_is_still_at_it_when_the_time_is_up(self):
        """It may have gone, or not."""
        for ask in (self.conversation.send_to_standby,
                    self.conversation.await_primary):
            self.reports = [intents.Report(5, State.WORKING, '')]
            self.assertRaises(exception.ChannelError, ask, self.ports)

    def test_one_that_does_not_go(self):
        for state in (State.REFUSED, State.FAILED):
            self.reports = [intents.Report(5, state, 'no carrier')]
            self.assertRaises(exception.GuestRefused,
                              self.conversation.send_to_standby, self.ports)
