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


import nova.tests.functional  # noqa: F401 isort: skip

from unittest import mock

import fixtures
from nova import objects
from nova.virt import event as virt_events
from oslo_utils.fixture import uuidsentinel as uuids
from oslotest import base

from nova_vf_failover import driver


class StopTestCase(base.BaseTestCase):
    """What of nova-compute's stop is ours comes before what is Nova's."""

    def setUp(self):
        super().setUp()
        self.cleanup = self.useFixture(fixtures.MockPatch(
            'nova.virt.libvirt.driver.LibvirtDriver.cleanup_host')).mock
        # What Nova's own makes is not asked for.
        self.driver = object.__new__(driver.FailoverLibvirtDriver)

    def test_before_the_start_has_come_to_its_end(self):
        self.driver.cleanup_host('here')

        self.cleanup.assert_called_once_with('here')

    def test_ours_fails(self):
        self.driver._recovery = mock.Mock(**{
            'stop.side_effect': RuntimeError('no')})

        self.assertRaises(RuntimeError, self.driver.cleanup_host, 'here')

        self.cleanup.assert_called_once_with('here')


class EventTestCase(base.BaseTestCase):

    def test_before_the_start_has_come_to_its_end(self):
        heard = self.useFixture(fixtures.MockPatch(
            'nova.virt.libvirt.driver.LibvirtDriver.emit_event')).mock
        event = virt_events.LifecycleEvent(
            'server', virt_events.EVENT_LIFECYCLE_STARTED)

        object.__new__(driver.FailoverLibvirtDriver).emit_event(event)

        heard.assert_called_once_with(event)


class MigrateTestCase(base.BaseTestCase):
    """Nova's own live migration of a server whose VFs are swapped fails."""

    def setUp(self):
        super().setUp()
        self.offer = mock.Mock(answered=True)
        self.useFixture(fixtures.MockPatchObject(
            driver.negotiation, 'offers', lambda data: [self.offer]))
        self.undo = mock.Mock()
        self.tells = True
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.driver.LibvirtDriver.live_migration',
            self.live_migration))

    def live_migration(self, novas, context, instance, dest, post_method,
                       recover_method, block_migration, migrate_data):
        if self.tells:
            recover_method(context, instance, dest)
        raise RuntimeError('QEMU said no')

    def migrate(self):
        object.__new__(driver.FailoverLibvirtDriver)._migrate(
            None, objects.Instance(uuid=uuids.server), 'beta', mock.Mock(),
            self.undo, False, None)

    def test_it_is_told_once(self):
        self.migrate()

        self.undo.assert_called_once()

    def test_what_nobody_has_undone_is_told(self):
        self.tells = False

        self.assertRaises(RuntimeError, self.migrate)

    def test_what_is_undone_in_part_is_told(self):
        self.undo.side_effect = ValueError('no')

        self.assertRaises(ValueError, self.migrate)

    def test_without_a_standby_it_is_as_nova_has_it(self):
        self.offer.answered = False

        self.assertRaises(RuntimeError, self.migrate)


class RollbackTestCase(base.BaseTestCase):

    def test_recovery_looks_whether_the_guest_keeps_a_vf(self):
        objects.register_all()
        self.useFixture(fixtures.MockPatch(
            'nova.virt.libvirt.driver.LibvirtDriver.'
            'rollback_live_migration_at_source'))
        ours = object.__new__(driver.FailoverLibvirtDriver)
        ours._journey = mock.Mock(**{'failback.return_value': set()})
        ours._recovery = mock.Mock()

        ours.rollback_live_migration_at_source(
            None, objects.Instance(uuid=uuids.server),
            objects.LibvirtLiveMigrateData())

        ours._recovery.watch.assert_called_once_with(uuids.server)
