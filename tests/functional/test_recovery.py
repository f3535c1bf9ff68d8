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

"""What a crash has left is finished or undone when nova-compute is back."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import threading

import ddt
import fixtures

from tests.functional import crashes


class CrashTestCase(base.FailoverTestCase):

    def setUp(self):
        super().setUp()
        # A call to a dead nova-compute is given up soon.
        self.flags(rpc_response_timeout=3, long_rpc_timeout=3)
        self.start_hosts()
        self.server = self.boot(self.add_port(), self.add_port('43'))

    def die(self, death, host):
        """Migrate, and end the nova-compute of a host in the middle."""
        with death:
            self.begin_migration(self.server)
            self.hosts.world.migrations.proceed.set()
            self.assertTrue(death.died.wait(30))
        self.restart_host(host)

    def assertRecovered(self, host, status='ACTIVE'):
        self.assertReachable(self.server, host)
        self.recover(host)
        self.assertWorld(self.server, host, status=status)


@ddt.ddt
class SourceTestCase(CrashTestCase):
    """It ends during a failover: the server is back where it was."""

    # attaching, switching, detaching, and standby for each of two ports
    @ddt.data(*crashes.moments(5))
    @ddt.unpack
    def test_ends(self, number, before):
        self.die(crashes.Death(number, before), 'alpha')
        self._wait_for_state_change(self.server, 'ACTIVE')

        self.assertRecovered('alpha')


@ddt.ddt
class DestinationTestCase(CrashTestCase):
    """It ends during a failback: the server gets its VFs there."""

    # returning, clearing, and the end of each of two ports; after that there
    # is nothing unfinished but what Nova does by itself
    @ddt.data(*crashes.moments(4)[:-1])
    @ddt.unpack
    def test_ends(self, number, before):
        # The source has written five times.
        self.die(crashes.Death(number + 5, before), 'beta')

        self.assertArrives()

    def test_ends_before_it_was_told_of_the_arrival(self):
        died = threading.Event()
        with fixtures.MonkeyPatch(
                'nova.compute.manager.ComputeManager.'
                'post_live_migration_at_destination', crashes.dying(died)):
            self.begin_migration(self.server)
            self.hosts.world.migrations.proceed.set()
            self.assertTrue(died.wait(30))
            self.restart_host('beta')

            self.assertArrives()

    def assertArrives(self):
        self._wait_for_migration_status(self.server, ['error', 'failed'])
        self._wait_for_server_parameter(
            self.server, {'OS-EXT-SRV-ATTR:host': 'beta',
                          'OS-EXT-STS:task_state': None})
        # Nova's word for a migration whose last step was not answered.
        self.assertRecovered('beta', 'ERROR')
