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

"""A degraded server whose domain is started anew with its standby."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import os

import ddt
from nova.tests.functional.api import client

from tests.simulation import paper_agent


@ddt.ddt
class StartedAnewTestCase(base.FailoverTestCase):

    def degraded(self, vlan):
        self.start_hosts()
        server = self.boot(self.add_port(vlan))
        self.agent.mood = paper_agent.Mood.STUCK
        self.migrate(server)
        self.assertWorld(server, 'beta', base.STANDBY)
        # Recovery has tried, and will not for a while.
        self.flags(recovery_interval=3600, group='vf_failover')
        self.recover('beta')
        return server

    def assertOnStandby(self, server):
        """It is reached there, and hears every group after a look."""
        self.recover('beta')

        self.assertWorld(server, 'beta', base.STANDBY)
        self.assertEqual([True], [
            macvtap.all_groups
            for macvtap in self.plane('beta').macvtaps.values()])

    @ddt.data('42', None)
    def test_soft_reboot(self, vlan):
        server = self.degraded(vlan)

        self._reboot_server(server)

        self.assertOnStandby(server)

    @ddt.data('42', None)
    def test_rescue(self, vlan):
        server = self.degraded(vlan)
        # Where the disks would be.
        os.makedirs(os.path.join(base.CONF.instances_path, server['id']))

        self.api.post_server_action(server['id'], {'rescue': {}})
        self._wait_for_state_change(server, 'RESCUE')
        self._run_periodics()
        self.api.post_server_action(server['id'], {'unrescue': None})
        self._wait_for_state_change(server, 'ACTIVE')

        self.assertOnStandby(server)

    def test_suspend(self):
        server = self.degraded('42')

        self.assertRaises(
            client.OpenStackApiException, self.api.post_server_action,
            server['id'], {'suspend': {}})

        self.assertOnStandby(server)

    def test_suspend_of_a_server_that_is_on_its_vfs(self):
        self.start_hosts()
        server = self.boot(self.add_port())

        self.api.post_server_action(server['id'], {'suspend': {}})

        self._wait_for_state_change(server, 'SUSPENDED')
