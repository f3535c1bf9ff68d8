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

"""NICs that do not deliver a MAC to the PF while a VF has it."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import settings  # isort: skip

import errno

import fixtures
from pyroute2.netlink import exceptions

from nova_vf_failover import exception
from nova_vf_failover.steering import base as steering
from tests.functional import crashes
from tests.simulation import hypervisor
from tests.simulation import paper
from tests.simulation import paper_agent

Mood = paper_agent.Mood


class SteeringTestCase(settings.ExclusiveNics):

    STEERING = 'placeholder'
    DRIVER = 'i40e'

    def setUp(self):
        super().setUp()
        self.start_hosts()
        self.server = self.boot(self.add_port())
        self.mac = self.ports[0]['mac_address']

    def calls(self, host='alpha'):
        """What was done to a VF, and to the filter of a standby."""
        return [call for call in self.plane(host).calls if call in (
            'assign_vf', 'set_vf_mac', 'renew_filter', 'return_vf')]

    def hold_the_vf(self):
        """Live migrate, with a guest that lets the VF go when it is told."""
        self.hosts.world.answers.clear()
        self.addCleanup(self.hosts.world.answers.set)
        # The guest is in no hurry, and nobody gives up on it.
        self.flags(device_detach_attempts=8, device_detach_timeout=20,
                   group='libvirt')
        self.begin_migration(self.server)
        self.until(lambda: '<interface type="hostdev"' not in self.domain(
            'alpha', self.server).XMLDesc(2))

    def hears(self, role, host='alpha'):
        return bool(self.plane(host).delivers(
            self.server['id'], self.mac, role))

    def macs(self, host='alpha'):
        return {vf.mac for vf in self.plane(host).vfs.values() if vf.mac}

    def told(self):
        """How the step went."""
        kinds = [notification['event_type'].split('.') for notification
                 in self.notifier.versioned_notifications]
        return [kind[2] for kind in kinds
                if kind[:2] == ['vf_failover', 'steering']]

    def refuse(self, method, times=1):
        self.plane('alpha').fail_next(
            method, exceptions.NetlinkError(errno.EBUSY, 'busy'), times)


class PlaceholderTestCase(SteeringTestCase):

    def test_standby_is_heard_before_the_vf_leaves(self):
        self.hold_the_vf()

        self.assertEqual(['assign_vf', 'set_vf_mac'], self.calls())
        self.assertEqual((False, True), (
            self.hears('primary'), self.hears('standby')))

        self.hosts.world.answers.set()
        self.finish(self.server)
        self.assertWorld(self.server, 'beta')
        self.assertEqual(['assign_vf', 'set_vf_mac', 'return_vf'],
                         self.calls())
        self.assertEqual(['assign_vf'], self.calls('beta'))

    def test_journal_is_written_before_the_nic_is_touched(self):
        states = []
        plane = self.plane('alpha')
        set_vf_mac = plane.set_vf_mac

        def watch(address, mac):
            states.append(self.domain('alpha', self.server).XMLDesc(0))
            set_vf_mac(address, mac)

        plane.set_vf_mac = watch

        self.migrate(self.server)

        self.assertEqual(['start', 'end'], self.told())
        self.assertEqual(1, len(states))
        self.assertIn('state="detaching"', states[0])

    def test_refused_placeholder_leaves_the_plain_way(self):
        self.refuse('set_vf_mac')

        self.migrate(self.server)

        self.assertWorld(self.server, 'beta')
        self.assertIn('goes on delivering port', self.stdlog.logger.output)
        self.assertEqual(['start', 'error'], self.told())

    def test_vf_that_stays_has_its_mac_again(self):
        self.hosts.world.releases['hostdev'] = hypervisor.IGNORES

        self.migrate(self.server, 'failed')

        self.assertWorld(self.server, 'alpha')
        self.assertEqual({self.mac}, self.macs())
        self.assertEqual(['assign_vf', 'set_vf_mac', 'set_vf_mac'],
                         self.calls())

    def test_interrupted_move_is_made_again(self):
        # Neither lets the guest the VF go, nor can that have its MAC back.
        self.hosts.world.releases['hostdev'] = hypervisor.IGNORES
        self.agent.mood = Mood.ORPHANED
        plane = self.plane('alpha')
        set_vf_mac, plane.set_vf_mac = plane.set_vf_mac, self.only_once()
        self.migrate(self.server, 'failed')
        self.assertEqual({steering.placeholder(self.mac)}, self.macs())
        self.assertReachable(self.server, 'alpha')

        plane.set_vf_mac = set_vf_mac
        self.restart_host('alpha')
        del self.hosts.world.releases['hostdev']
        self.agent.mood = Mood.GOOD
        # Nova frees what the first migration has claimed in this.
        self._run_periodics()
        self.migrate(self.server)

        self.assertWorld(self.server, 'beta')

    def only_once(self):
        plane = self.plane('alpha')
        set_vf_mac = plane.set_vf_mac

        def limited(address, mac):
            if mac == self.mac:
                raise exceptions.NetlinkError(errno.EBUSY, 'busy')
            set_vf_mac(address, mac)

        return limited

    def test_placeholder_that_libvirt_has_left_is_taken_away(self):
        self.plane('alpha').forgetful = True

        self.migrate(self.server)

        self.assertWorld(self.server, 'beta')
        self.assertIn('was left with a placeholder',
                      self.stdlog.logger.output)


class ReplicatingTestCase(SteeringTestCase):

    MODE = paper.REPLICATING

    def test_vf_is_left_alone(self):
        self.migrate(self.server)

        self.assertWorld(self.server, 'beta')
        self.assertEqual(['assign_vf', 'return_vf'], self.calls())


class NoneTestCase(SteeringTestCase):

    STEERING = 'none'

    def test_vf_is_left_alone(self):
        self.migrate(self.server)

        self.assertEqual([], self.told())
        self.assertWorld(self.server, 'beta')
        self.assertEqual(['assign_vf', 'return_vf'], self.calls())

    def test_placeholder_of_another_driver_is_undone(self):
        self.hosts.world.releases['hostdev'] = hypervisor.IGNORES
        vf, = [address for address, vf in self.plane('alpha').vfs.items()
               if vf.owner]
        plane = self.plane('alpha')
        plane.set_vf_mac(vf, steering.placeholder(self.mac))
        plane.set_vf_mac(vf, steering.placeholder(self.mac))

        self.migrate(self.server, 'failed')

        self.assertWorld(self.server, 'alpha')
        self.assertEqual({self.mac}, self.macs())


class RefusingTestCase(SteeringTestCase):
    """Nor does the NIC remember what it has refused."""

    MODE = paper.REFUSING

    def finish(self, server):
        super().finish(server)
        self.assertWorld(server, 'beta')


class RefilterTestCase(RefusingTestCase):

    STEERING = 'refilter'

    def test_filter_is_asked_for_when_the_vf_has_left(self):
        self.hold_the_copy(self.server)

        self.assertTrue(self.hears('standby'))
        self.assertEqual(['assign_vf', 'return_vf', 'renew_filter'],
                         self.calls())
        self.finish(self.server)

    def test_refused_once_more(self):
        self.refuse('renew_filter')

        self.hold_the_copy(self.server)

        self.assertFalse(self.hears('standby'))
        self.assertIn('down, then up', self.stdlog.logger.output)
        self.finish(self.server)

    def test_nova_compute_ends_before_the_vf_leaves(self):
        with crashes.Death(3, before=False) as death:
            self.begin_migration(self.server)
            self.assertTrue(death.died.wait(30))
        self.hosts.world.migrations.proceed.set()
        self.restart_host('alpha')
        self._wait_for_state_change(self.server, 'ACTIVE')

        with fixtures.MockPatch(
                'nova_vf_failover.claims.ServerClaims.reclaim',
                side_effect=exception.VFFailoverError('none is free')):
            self.recover('alpha')

        self.assertEqual(['direct'], [
            nic.kind for nic in self.domain('alpha', self.server).nics()])
        self.assertTrue(self.hears('standby'))


class NoRefilterTestCase(RefusingTestCase):

    STEERING = 'none'

    def test_standby_hears_nothing_during_the_copy(self):
        self.hold_the_copy(self.server)

        self.assertFalse(self.hears('standby'))
        self.finish(self.server)


class AutoTestCase(SteeringTestCase):

    STEERING = 'auto'
    DRIVER = 'ice'

    def test_driver_of_the_pf_decides(self):
        self.migrate(self.server)

        self.assertWorld(self.server, 'beta')
        self.assertEqual(
            ['assign_vf', 'set_vf_mac', 'renew_filter', 'return_vf'],
            self.calls())

    def test_half_done_is_undone(self):
        self.refuse('renew_filter')

        self.migrate(self.server)

        self.assertWorld(self.server, 'beta')
        self.assertEqual(
            ['assign_vf', 'set_vf_mac', 'renew_filter', 'set_vf_mac',
             'return_vf'], self.calls())
