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
"""Bug 1944619: a rollback attaches VFs that were never detached.

Nova undoes a live migration by attaching each VF of the server, without
asking whether it was taken out; since the bug was closed it leaves that out
where the destination's preparation has failed, and still does it where the
migration is aborted during that preparation. The guest then gets a VF twice.

The plugin attaches only what its journal says is away, and of the other direct
ports those that are not in the domain.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import threading

import ddt
import fixtures
from nova import exception

from tests.simulation import paper_agent

_PREPARE = ('nova.virt.libvirt.driver.LibvirtDriver.'
            '_pre_live_migration_plug_vifs')


@ddt.ddt
class RollbackTestCase(base.TwoPortsTestCase):

    def assertNothingAttached(self):
        self.assertEqual(['assign_vf'] * 2, self.plane('alpha').calls)
        self.assertWorld(self.server, 'alpha')

    # A server without an agent is migrated as Nova does it.
    @ddt.data(paper_agent.Mood.GOOD, paper_agent.Mood.MISSING)
    def test_aborted_while_the_destination_prepares(self, mood):
        self.agent.mood = mood
        prepares, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)

        def prepare(*arguments):
            prepares.set()
            go_on.wait(60)

        with fixtures.MonkeyPatch(_PREPARE, prepare):
            self._ask_for_migration(self.server)
            self.assertTrue(prepares.wait(60))
            migration = self._wait_for_migration_status(
                self.server, ['preparing'])
            self.api.delete_migration(self.server['id'], migration['id'])
            waiting = self.computes['alpha'].manager._waiting_live_migrations
            self.until(lambda: self.server['id'] not in waiting)
            go_on.set()
            self._wait_for_migration_status(self.server, ['cancelled'])
        self._wait_for_state_change(self.server, 'ACTIVE')

        self.assertNothingAttached()

    @ddt.data(paper_agent.Mood.GOOD, paper_agent.Mood.MISSING)
    def test_the_destination_cannot_prepare(self, mood):
        self.agent.mood = mood
        with fixtures.MockPatch(
                _PREPARE, side_effect=exception.VirtualInterfacePlugException):
            self.migrate(self.server, 'failed')

        self.assertNothingAttached()
