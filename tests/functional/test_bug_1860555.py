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
"""Bug 1860555: VFs stay claimed for a live migration that is not made.

The destination claims VFs while it is being asked whether it would take a
server. Nobody tells it when the answer is no, or when the migration is undone
later; only a periodic update frees the VFs, and where a second try comes
before that, the claims of the first one are forgotten by the server and never
freed.

A destination of ours that refuses gives back what it has claimed, at once; and
before Nova claims VFs for a server it gives back those of an earlier try.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import fixtures
from nova.objects import fields
from oslo_db import exception as db_exc


class ClaimTestCase(base.FailoverTestCase):

    def setUp(self):
        super().setUp()
        self.flags(policy='required', group='vf_failover')
        # With a claim that is not given back there is none left.
        self.start_hosts(beta={'num_vfs': 1})
        self.server = self.boot(self.add_port())

    def claimed(self):
        return [device.address for device
                in self.computes['beta'].manager.rt.pci_tracker.pci_devs
                if device.status == fields.PciDeviceStatus.CLAIMED]

    def test_refused_by_the_destination(self):
        pf = self.plane('beta').links['betapf0']
        pf.up = False
        self.assertIn('PF betapf0 is down', self.refusal(self.server))

        self.assertEqual([], self.claimed())
        pf.up = True
        self.migrate(self.server)

        self.assertWorld(self.server, 'beta')

    def test_tried_again_at_once(self):
        self.hosts.world.migrations.failure = 'load of migration failed'
        self.migrate(self.server, 'failed')
        self.assertEqual(1, len(self.claimed()))
        self.hosts.world.migrations.failure = None

        self.migrate(self.server)

        self.assertWorld(self.server, 'beta')

    def fail_to_release(self):
        """Have the database fail whenever the plugin gives back."""
        self.useFixture(fixtures.MockPatchObject(
            self.computes['beta'].driver._bench.claims, 'release',
            side_effect=db_exc.DBConnectionError()))

    def test_nothing_can_be_given_back_before_a_move(self):
        self.fail_to_release()

        self.migrate(self.server)

        self.assertWorld(self.server, 'beta')
        self.assertIn('stays claimed', self.stdlog.logger.output)

    def test_nothing_can_be_given_back_after_a_refusal(self):
        self.fail_to_release()
        self.plane('beta').links['betapf0'].up = False

        self.assertIn('PF betapf0 is down', self.refusal(self.server))

        self.assertEqual('ACTIVE', self.api.get_server(
            self.server['id'])['status'])
