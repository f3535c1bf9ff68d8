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

"""What standbys have left on a host goes, and nothing else."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import threading

import fixtures
from nova.compute import manager

from nova_vf_failover.standby import macvtap
from tests.functional import crashes
from tests.simulation import paper


class LeftoversTestCase(base.FailoverTestCase):

    def setUp(self):
        super().setUp()
        self.start_hosts()
        self.plane_ = self.plane('alpha')

    def leave(self, name, source='alphapf0', alias=None):
        """A macvtap whose guest is no domain of this host."""
        self.plane_.macvtaps[name] = paper.PaperMacvtap(
            'ghost', source, 'fa:16:3e:0f:0f:01', alias=alias)

    def leave_vlan(self, vlan, alias=None):
        name = f'alphapf0.{vlan}'
        self.plane_.add_vlan('alphapf0', name, vlan)
        self.plane_.links[name].alias = alias
        return name

    def look(self, times):
        for _look in range(times):
            self._run_periodics()

    def test_what_is_ours_goes_at_the_second_look(self):
        self.leave_vlan('41', macvtap.MARK)
        # libvirt had made it, and nova-compute died before it was marked.
        self.leave('macvtap7', self.leave_vlan('42', macvtap.MARK))
        self.leave('macvtap8', alias=macvtap.MARK)

        self.look(1)
        self.assertEqual({'macvtap7', 'macvtap8'},
                         set(self.plane_.macvtaps))
        self.look(1)

        self.assertEqual(self.clean['alpha'], self.plane_.snapshot())

    def test_what_is_of_others_stays(self):
        self.leave_vlan('41')
        self.leave('macvtap7', self.leave_vlan('42', 'backbone'))
        self.leave('macvtap8', alias='router')
        self.leave('macvtap9')
        self.plane_.links['alphapf0'].alias = macvtap.MARK
        before = self.plane_.snapshot()

        self.look(3)

        self.assertEqual(before, self.plane_.snapshot())
        self.assertIn('alphapf0', self.plane_.links)

    def test_a_claim_that_nobody_waits_for_does_not_keep_it(self):
        server = self.boot(self.add_port('42'))
        died = threading.Event()
        prepare = manager.ComputeManager._do_pre_live_migration_from_source

        def die(*arguments):
            prepare(*arguments)
            died.set()
            raise crashes.Killed()

        with fixtures.MonkeyPatch(
                'nova.compute.manager.ComputeManager.'
                '_do_pre_live_migration_from_source', die):
            self.begin_migration(server)
            self.assertTrue(died.wait(30))
        self.assertIn('betapf0.42', self.plane('beta').links)
        self.restart_host('alpha')
        self._wait_for_state_change(server, 'ACTIVE')

        self.look(2)

        # The migration is "preparing", and the claim stays: Nova has nobody
        # who would end them.
        self.assertIn('claimed', {
            device.status for device
            in self.computes['beta'].manager.rt.pci_tracker.pci_devs})
        self.assertNotIn('betapf0.42', self.plane('beta').links)

    def test_the_vlan_device_of_a_server_whose_claim_is_lost_stays(self):
        server = self.boot(self.add_port('42'))
        tracker = self.computes['beta'].manager.rt.pci_tracker
        prepare = manager.ComputeManager._do_pre_live_migration_from_source

        def lose_claim(*arguments):
            answer = prepare(*arguments)
            # As an update of the tracker does before the conductor has
            # written where the server goes.
            tracker.clean_usage([], [])
            self.look(1)
            return answer

        with fixtures.MonkeyPatch(
                'nova.compute.manager.ComputeManager.'
                '_do_pre_live_migration_from_source', lose_claim):
            self.hold_the_copy(server)
        self.hosts.world.migrations.proceed.set()

        self._wait_for_migration_status(server, ['completed'])
        self._wait_for_state_change(server, 'ACTIVE')
        self.assertWorld(server, 'beta')

    def test_the_standby_of_a_server_stays(self):
        server = self.boot(self.add_port('42'))
        self.hold_the_copy(server)
        alive = self.plane_.snapshot()
        self.assertEqual(1, len(alive['macvtaps']))

        self.look(3)

        self.assertEqual(alive, self.plane_.snapshot())
        self.finish(server)
        self.assertWorld(server, 'beta')
