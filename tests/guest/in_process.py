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

"""The agent's work is done by the process of the test, which can be patched.
"""

import fixtures

from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import mover
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import snapshot
from tests.guest import base


class InProcess(base.GuestTestCase):

    def setUp(self):
        super().setUp()
        # It would park a NIC that the mover below dresses.
        self.agent.kill()
        self.kernel = self.guest.inside(netlink.Netlink)
        self.addCleanup(self.kernel.close)
        self.folder = self.useFixture(fixtures.TempDir()).path
        self.start_anew()

    def start_anew(self):
        """As an agent does, with what the one before it has kept."""
        self.kept = snapshot.Snapshot(self.folder)
        self.mover = self.guest.inside(lambda: mover.Mover(
            self.kernel, links.Links(self.kernel, frozenset(['tun'])),
            self.kept))

    def run_mover(self, use, ports=None):
        """Carry an intent out, and the report.

        :param ports: if not all
        :raises overlap.Failed: as the mover does
        """
        intent = intents.from_document(self.intent(use, ports))
        report = intents.Report(intent)
        act = (self.mover.fail_over if use == intents.STANDBY
               else self.mover.fail_back)
        self.guest.inside(lambda: act(
            intent, report, lambda condition, *limits: condition()))
        return report
