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

"""A part of ``tox -e faults``, and whether that sees what it looks for."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.faults import cloud as clouds  # isort: skip

import contextlib
import threading

import fixtures
from oslotest import base

from nova_vf_failover import domain
from nova_vf_failover import driver
from nova_vf_failover import exception
from nova_vf_failover import operations
from nova_vf_failover.standby import macvtap
from tests.faults import campaign
from tests.faults import faults
from tests.faults import points
from tests.faults import processes
from tests.faults import scenes
from tests.faults import trial as trials
from tests.functional import invariants

Fault = faults.Fault
Scene = scenes.Scene


class StageTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        if not processes.can_be_told_apart():
            self.skipTest('Under eventlet it is not known which process a '
                          'thread belongs to.')

    def stage(self, vfs, scene=Scene.MOVE):
        stage = trials.Stage(vfs, kind=clouds.of(scene))
        self.addCleanup(stage.close)
        return stage


class ReducedTestCase(StageTestCase):
    """Calls with which the plugin changes something, each with one fault."""

    def setUp(self):
        super().setUp()
        self.calls = set()

    def play(self, vfs, *acted, skipped=()):
        stage = self.stage(vfs, acted[0])
        recorded = {course: [] for course in skipped}
        for scene in acted:
            recorded[vfs, scene] = stage.record(scene)
            self.calls |= {(point.kind, point.call)
                           for point in recorded[vfs, scene]}
        for trial in campaign.reduced(recorded):
            outcome = stage.play(trial)
            self.assertTrue(outcome.hit, outcome.trial)
            self.assertEqual(
                [], [str(violation) for violation in outcome.violations
                     if not self.is_novas(outcome, violation)],
                outcome.trial)
            yield outcome

    def is_novas(self, outcome, violation):
        """Nova's word for a server whose arrival nobody has confirmed.

        The destination does not answer, for it was killed; recovery.rst.
        """
        return (outcome.trial.point.role == points.DESTINATION
                and outcome.trial.fault.kills
                and violation.text == trials.IN_ERROR)

    def test_one_vf(self):
        outcomes = list(self.play(1, Scene.MOVE))

        # All faults, and all ways to end.
        self.assertEqual(set(Fault), {
            outcome.trial.fault for outcome in outcomes})
        self.assertEqual(
            {trials.PRIMARY, trials.STANDBY, trials.UNDONE},
            {outcome.ended for outcome in outcomes})
        self.assertEqual([], [
            str(outcome.trial) for outcome in outcomes
            if outcome.ended == trials.STANDBY
            and outcome.recovery_s is None])

    def test_three_vfs(self):
        self.assertNotEqual([], list(self.play(
            3, Scene.MOVE, skipped=[(1, Scene.MOVE)])))

    def test_nics_that_are_steered(self):
        self.assertNotEqual([], list(self.play(
            1, Scene.STEERED, skipped=[(1, Scene.MOVE)])))
        # Of both drivers.
        self.assertLessEqual(
            {(faults.HOST, 'set_mac'), (faults.HOST, 'renew_filter')},
            self.calls)

    def test_guest_that_is_told_through_metadata(self):
        self.assertNotEqual([], list(self.play(
            1, Scene.METADATA, skipped=[(1, Scene.MOVE)])))
        self.assertLessEqual(
            {(faults.LISTENER, 'open'), (faults.LISTENER, 'hear'),
             (faults.LISTENER, 'close'),
             (faults.DATABASE, 'Instance.delete_metadata_key')}, self.calls)
        self.assertNotIn(faults.CHANNEL, {kind for kind, _ in self.calls})

    def test_recovery(self):
        outcomes = list(self.play(1, Scene.DEGRADED, Scene.CRASHED,
                                  skipped=[(1, Scene.MOVE)]))

        self.assertEqual({Scene.DEGRADED, Scene.CRASHED}, {
            outcome.trial.scene for outcome in outcomes})
        self.assertEqual([], [
            str(outcome.trial) for outcome in outcomes
            if outcome.recovery_s is None])


class SeenTestCase(StageTestCase):
    """The plugin is broken once in the sense of each invariant."""

    def setUp(self):
        super().setUp()
        self.stage_ = self.stage(1)

    def broken(self, method, stand_in):
        self.useFixture(fixtures.MonkeyPatch(
            f'nova_vf_failover.{method}', stand_in))

    def assertSeen(self, invariant, text, point=None, fault=None):
        outcome = self.stage_.play(trials.Trial(
            1, point and points.Point.parse(point), fault))
        self.assertTrue(outcome.hit)
        self.assertIn(invariant, {violation.invariant
                                  for violation in outcome.violations})
        self.assertIn(text, ' '.join(
            violation.text for violation in outcome.violations
            if violation.invariant == invariant))

    def test_nothing_is_seen_where_nothing_is_wrong(self):
        outcome = self.stage_.play(trials.Trial(1))

        self.assertEqual(([], trials.PRIMARY),
                         (outcome.violations, outcome.ended))

    def test_network(self):
        # The VF is taken from a guest that was not told to leave it.
        self.broken('conversation.Conversation.send_to_standby',
                    lambda conversation, ports: [])

        self.assertSeen(invariants.NETWORK, 'is not reached')

    def test_network_of_another_vlan(self):
        self.broken(
            'standby.macvtap.MacvtapStandby._provide',
            lambda standby, lower, source, vlan: standby._links.add_vlan(
                lower, source, vlan + 1, macvtap.MARK))

        self.assertSeen(invariants.NETWORK, 'is not reached')

    def test_one_nic(self):
        self.broken('domain.Domain.detach_standby', lambda guest, mac: None)

        self.assertSeen(invariants.ONE_NIC, "['direct', 'hostdev']")

    def test_agreement(self):
        # What a killed source has arranged is not taken back.
        self.broken('aftermath.Aftermath.clear', lambda *_, **__: None)

        self.assertSeen(
            invariants.AGREEMENT, "has the bindings",
            'source:libvirt:detachDeviceFlags@_detach_sync#1',
            Fault.KILLED_AFTER)

    def test_not_back(self):
        def fail(swapped, ports):
            raise exception.Degraded({'port': 'no VF'})

        self.broken('swap.Swap.failback', fail)

        self.assertSeen(invariants.AGREEMENT, trials.NOT_BACK)

    def test_truth(self):
        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.driver.FailoverLibvirtDriver._migrate',
            driver.libvirt_driver.LibvirtDriver.live_migration))

        self.assertSeen(
            invariants.TRUTH, "it is ('ERROR', None)",
            'source:libvirt:migrateToURI3@_live_migration_operation#1',
            Fault.LOST)

    def test_recovery_that_does_not_wait_for_a_move(self):
        @contextlib.contextmanager
        def begin(begun, server):
            yield operations.Operation(yields=True)

        self.broken('operations.Operations.begin_yielding', begin)
        self.broken('attempt.Attempt._need_rest', lambda *_: None)

        self.assertSeen(
            invariants.NETWORK, 'is not reached',
            'source:libvirt:setMetadata@detach_primaries#2', Fault.LATE)

    def test_truth_of_a_guest_that_stands_still(self):
        detach = domain.Domain.detach_standby

        def detach_and_stop(guest, mac):
            detach(guest, mac)
            guest.libvirt_domain.suspend()

        self.broken('domain.Domain.detach_standby', detach_and_stop)

        self.assertSeen(invariants.TRUTH, 'stands still')

    def test_device(self):
        for method in ('release', 'sweep'):
            self.broken(f'standby.macvtap.MacvtapStandby.{method}',
                        lambda *_: None)

        self.assertSeen(invariants.LEAKS, 'are left')

    def test_thread(self):
        over = threading.Event()
        self.addCleanup(over.set)
        # The run is not over while it goes on.
        self.useFixture(fixtures.MonkeyPatch(
            'tests.faults.trial.LONGEST', 10.0))

        def start_and_forget(standby, device):
            threading.Thread(target=over.wait, daemon=True,
                             args=(3600,)).start()

        self.broken('standby.macvtap.MacvtapStandby.attached',
                    start_and_forget)

        self.assertSeen(invariants.LEAKS, 'goes on')
