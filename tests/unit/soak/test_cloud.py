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


"""What the soak makes of servers that have arrived; the cloud is none."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.soak import cloud  # isort: skip

from unittest import mock

from oslotest import base

from tests.functional import invariants


def _heard(half):
    return {'event_type': f'vf_failover.{half}.end', 'payload': {
        'nova_object.data': {'server_id': 'one', 'duration_s': 1.0,
                             'steps': []}}}


class MoveTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.server = invariants.Server('one', {})
        self.cloud = mock.Mock(spec=cloud.SoakCloud, servers=[self.server])
        self.cloud.invariants = mock.Mock(spec=invariants.Invariants)
        self.cloud.invariants.where.return_value = 'beta'
        self.cloud.invariants.degraded.return_value = set()
        self.cloud.notifier = mock.Mock(versioned_notifications=[])
        self.cloud.labour = mock.Mock()
        self.cloud.labour.take.return_value = {'one': 0.5}
        self.cloud._errors.return_value = 'what went wrong'

    def move(self, *heard):
        self.cloud._await.side_effect = lambda *_: (
            self.cloud.notifier.versioned_notifications.extend(heard))
        return cloud.SoakCloud.move(self.cloud, [self.server],
                                    lambda arrived: None)

    def check(self):
        cloud.SoakCloud._check(self.cloud, {'one': 'beta'})

    def test_both_halves_make_a_move(self):
        move, = self.move(_heard('failover'), _heard('failback'))

        self.assertEqual(('one', 2.0), (move.server, move.added))

    def test_a_move_without_its_failback_is_an_error(self):
        error = self.assertRaises(cloud.SoakError, self.move,
                                  _heard('failover'))

        self.assertIn("['one']", str(error))

    def test_a_server_on_its_vfs_is_as_it_should_be(self):
        self.check()

    def test_a_degraded_server_is_an_error(self):
        self.cloud.invariants.degraded.return_value = {'its port'}

        error = self.assertRaises(cloud.SoakError, self.check)

        self.assertIn("not on their VFs again: ['one']", str(error))
