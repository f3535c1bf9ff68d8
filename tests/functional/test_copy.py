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

"""nova-compute of the source dies while the memory is copied.

Nova has libvirt abort the copy when it starts anew, and takes the server for
one that is not on its way any more, also where libvirt does not: after
post-copy has begun nobody can (nova/compute/manager.py,
``_reset_live_migration``). The guest is left alone as long as it is copied.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.faults import cloud  # isort: skip

import fixtures

from tests.faults import processes
from tests.simulation import errors


class CopyTestCase(cloud.FaultyCloud):

    def setUp(self):
        if not processes.can_be_told_apart():
            self.skipTest('Under eventlet it is not known which process a '
                          'thread belongs to.')
        super().setUp()
        self.server = self.boot(self.add_port())
        self.copy = self.hosts.world.migrations
        self.copy.proceed.clear()
        self.addCleanup(self.copy.proceed.set)

    def die(self):
        """nova-compute of the source dies in the copy, and starts anew."""
        self.api.post_server_action(self.server['id'], {
            'os-migrateLive': {'host': None, 'block_migration': 'auto'}})
        self.assertTrue(self.copy.running.wait(60))
        self.processes['alpha'].died.set()
        self.restart_dead()

    def keep_copying(self):
        def refuse(domain):
            raise errors.invalid('cannot abort migration in post-copy mode')

        self.useFixture(fixtures.MonkeyPatch(
            'tests.simulation.hypervisor.Domain.abortJob', refuse))

    def end_copy(self, failure=None):
        self.copy.failure = failure
        self.copy.proceed.set()
        self.until(lambda: not self.copy.running.is_set())

    def test_nova_aborts_the_copy_and_the_vf_comes_back(self):
        self.die()
        self.until(lambda: not self.copy.running.is_set())

        self.look()

        self.assertWorld(self.server, 'alpha')

    def test_the_guest_is_left_alone_while_it_is_copied(self):
        self.keep_copying()
        self.die()
        before = self.domain('alpha', self.server).XMLDesc(0)

        self.look()
        self.look()

        self.assertTrue(self.copy.running.is_set())
        self.assertEqual(before, self.domain('alpha', self.server).XMLDesc(0))
        # Whoever tries waits for libvirt half a minute, and in vain.
        self.assertNotIn('cannot be brought back', self.stdlog.logger.output)

    def test_the_vf_comes_back_when_the_copy_has_failed(self):
        self.keep_copying()
        self.die()
        self.look()
        self.end_copy('load of migration failed')

        self.look()

        self.assertWorld(self.server, 'alpha')

    def test_the_guest_is_reached_when_the_copy_has_worked(self):
        # Nova does not hear of it, with this plugin or without.
        self.keep_copying()
        self.die()
        self.look()
        self.end_copy()

        self.look()
        self.look()

        self.assertReachable(self.server, 'beta')
