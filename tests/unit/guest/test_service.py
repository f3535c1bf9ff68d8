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

"""What the service says when something happens that nobody thought of."""

import json
import threading
from unittest import mock

import fixtures
from oslotest import base

from nova_vf_failover.guest import mover
from nova_vf_failover.guest import overlap
from nova_vf_failover.guest import service

INTENT = {'version': 1, 'generation': 1, 'use': 'standby', 'timeout': 5,
          'ports': [{'id': 'port', 'mac': 'fa:16:3e:00:00:01'}]}


class ServiceTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.mover = self.useFixture(fixtures.MockPatchObject(
            mover, 'Mover', autospec=True)).mock.return_value
        # An attribute that its constructor makes, which no class shows.
        self.mover.addresses = mock.Mock()
        self.service = service.Service(
            self.useFixture(fixtures.TempDir()).path, frozenset(['tun']))
        threading.Thread(target=self.service._work, daemon=True).start()

    def apply(self, intent):
        return self.service.answer(json.dumps({
            'command': 'apply', 'wait': 5,
            'intent': json.dumps(intent)}).encode())

    def test_an_unknown_failure_is_not_told_as_staying(self):
        self.mover.fail_over.side_effect = OSError('no buffer space')

        report = self.apply(INTENT)

        self.assertEqual(('none', 'OSError: no buffer space'),
                         (report['state'], report['message']))
        self.assertIsNotNone(report['finished'])

    def test_a_known_failure_is(self):
        self.mover.fail_over.side_effect = overlap.Failed('nobody answers')

        self.assertEqual('failed', self.apply(INTENT)['state'])

    def test_then_the_next_intent_is_carried_out(self):
        self.mover.fail_over.side_effect = OSError('no buffer space')
        self.apply(INTENT)
        self.mover.fail_over.side_effect = None

        report = self.apply(dict(INTENT, generation=2))

        self.assertEqual('done', report['state'])

    def test_what_it_cannot_do_without_ends_it(self):
        with mock.patch('os._exit', autospec=True) as ended:
            service._vital(mock.Mock(side_effect=OSError))

        ended.assert_called_once_with(1)
