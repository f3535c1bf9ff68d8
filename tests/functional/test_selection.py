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


import dataclasses

import ddt
import fixtures

from tests.functional import test_reclaim


class SelectionTestCase(test_reclaim.ReclaimTestCase):

    def setUp(self):
        super().setUp()
        self.flags(policy='required', group='vf_failover')

    def next_claimed(self, server):
        """The VFs that Nova will claim on beta, for it is always the same."""
        self.hold_the_copy(server)
        claimed = self.vfs('beta', 'claimed')
        self.abort(server, 'running')
        self.hosts.world.migrations.proceed.set()
        return claimed


@ddt.ddt
class UselessVFTestCase(SelectionTestCase):

    def spoil(self, how, address):
        if how != 'bridged':
            return super().spoil(how, address)
        links = self.plane('beta').links
        pf = self.pf(address)
        links[pf] = dataclasses.replace(
            links[pf], master='br-ex', master_kind='bridge')

    @ddt.data('gone', 'down', 'unplugged', 'bridged')
    def test_another_one_is_claimed(self, how):
        first, = self.next_claimed(self.server)
        self.spoil(how, first)

        self.migrate(self.server)

        self.assertWorld(self.server, 'beta')
        self.assertNotEqual(first, self.bound)
        if how != 'gone':
            self.assertNotEqual(self.pf(first), self.pf(self.bound))
        self.assertIn(first, self.vfs('beta', 'available'))
        self.assertEqual([], self.vfs('beta', 'claimed'))
        self.assertIn('Other VFs are claimed', self.stdlog.logger.output)

    def test_another_one_than_that_of_another_domain(self):
        first, = self.next_claimed(self.server)
        self.spoil('busy', first)

        self.migrate(self.server)

        self.assertPorts(self.server, 'beta')
        self.assertNotEqual(first, self.bound)
        # Before Nova's periodic update could have seen to it.
        self.assertEqual([], self.vfs('beta', 'claimed'))

    def test_other_ports_have_theirs(self):
        self._delete_server(self.server)
        self.ports.clear()
        server = self.boot(self.add_port(), self.add_port('43'))
        first, _ = self.next_claimed(server)
        self.spoil('gone', first)

        self.migrate(server)

        self.assertWorld(server, 'beta')
        self.assertNotIn(first, self.vfs('beta', 'allocated'))
        self.assertEqual(2, len(self.vfs('beta', 'allocated')))
        self.assertEqual([], self.vfs('beta', 'claimed'))

    def test_who_cannot_be_looked_at_is_moved(self):
        self.useFixture(fixtures.MockPatchObject(
            self.computes['beta'].driver._bench.claims, 'fault',
            side_effect=RuntimeError('libvirt is away')))

        self.migrate(self.server)

        self.assertWorld(self.server, 'beta')
        self.assertIn('It cannot be found out whether VF',
                      self.stdlog.logger.output)

    def test_nobody_is_moved_who_could_not_claim(self):
        first, = self.next_claimed(self.server)
        self.spoil('down', first)
        self.useFixture(fixtures.MockPatchObject(
            self.computes['beta'].driver._bench.selection, '_claim',
            side_effect=RuntimeError('the database is away')))

        refusal = self.refusal(self.server)

        self.assertIn('cannot be found out', refusal)
        self.assertWorld(self.server, 'alpha')
        self.assertEqual([], self.vfs('beta', 'claimed'))


class NoOtherVFTestCase(SelectionTestCase):

    VFS = {'num_vfs': 2}

    def test_is_refused(self):
        first, = self.next_claimed(self.server)
        self.spoil('down', first)

        refusal = self.refusal(self.server)

        self.assertIn('PF betapf0 is down', refusal)
        self.assertWorld(self.server, 'alpha')
        self.assertEqual([], self.vfs('beta', 'claimed'))
        self.assertIn('There are no other VFs', self.stdlog.logger.output)

    def test_native_has_what_nova_claims(self):
        self.flags(policy='native', group='vf_failover')
        first, = self.next_claimed(self.server)
        self.spoil('down', first)

        self.migrate(self.server)

        self.assertEqual([self.bound], self.vfs('beta', 'allocated'))
        self.assertEqual([], self.vfs('beta', 'claimed'))
