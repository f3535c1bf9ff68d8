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
"""Bug 2044235: an error of the checks before a migration is a server's.

Nova asks both hosts whether a server can be live migrated. An answer that is
none of the errors that Nova has for this purpose puts the server into
``ERROR``, although nothing has been done to it. Since the bug was closed that
is so for what the destination itself runs into.

What the plugin asks in these checks, of libvirt and of the kernel, may fail in
any way; the answer is one that Nova knows, or Nova's way without a standby.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import errno

import ddt
import fixtures

from tests.simulation import errors


@ddt.ddt
class CheckTestCase(base.OnePortTestCase):

    ERROR = OSError(errno.ENOBUFS, 'No buffer space available')

    def break_check(self, host):
        """The kernel of a host cannot say how its PF is."""
        self.useFixture(fixtures.MockPatchObject(
            self.computes[host].driver._bench.standby, 'check',
            side_effect=self.ERROR))

    @ddt.data('alpha', 'beta')
    def test_required(self, host):
        self.flags(policy='required', group='vf_failover')
        self.break_check(host)

        refusal = self.refusal(self.server)

        self.assertIn('Migration pre-check error', refusal)
        self.assertIn('No buffer space available', refusal)
        self.assertWorld(self.server, 'alpha')

    def test_recovery_does_not_make_way(self):
        self.flags(rpc_response_timeout=17)
        self.flags(policy='required', group='vf_failover')
        operations = self.computes['alpha'].driver._operations

        with operations.begin_yielding(self.server['id']) as recovering:
            refusal = self.refusal(self.server)

        self.assertIn(f'Server {self.server["id"]}: Recovery is still moving '
                      'ports of server', refusal)
        self.assertTrue(recovering.cancelled.is_set())
        self.assertWorld(self.server, 'alpha')

    @ddt.data('alpha', 'beta')
    def test_native(self, host):
        self.break_check(host)

        self.migrate(self.server)

        self.assertWorld(self.server, 'beta')
        self.assertNotIn('plug_macvtap', self.plane('alpha').calls)
        self.assertIn('No buffer space available', self.stdlog.logger.output)

    def test_journal_cannot_be_asked_for(self):
        # Whether Nova's way would break a server that is degraded is unknown.
        self.useFixture(fixtures.MockPatch(
            'nova_vf_failover.domain.Domain.read_journal',
            side_effect=errors.internal('client socket is closed')))

        refusal = self.refusal(self.server)

        self.assertIn('Migration pre-check error', refusal)
        self.assertIn('client socket is closed', refusal)
