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
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from oslo_config import cfg
import oslo_messaging
from oslotest import base

from nova_vf_failover.channels import intent as intents
from nova_vf_failover import conf
from nova_vf_failover import exception
from nova_vf_failover import moves
from nova_vf_failover import reporting


class EventTestCase(base.BaseTestCase):
    """A server of whose actions none is known any more."""

    def setUp(self):
        super().setUp()
        for method, effect in (
                ('InstanceAction.action_start', None),
                ('InstanceAction.action_finish', None),
                ('InstanceActionEvent.event_start', None),
                ('InstanceActionEvent.event_finish_with_failure',
                 nova_exception.InstanceActionNotFound(
                     request_id='req-1', instance_uuid='server'))):
            self.useFixture(fixtures.MockPatch(
                f'nova.objects.{method}',
                side_effect=effect))
        conf.register_opts(cfg.CONF)
        self.notifier = self.useFixture(fixtures.MockPatch(
            'nova.rpc.get_versioned_notifier')).mock.return_value
        self.guest = mock.Mock()
        self.guest.libvirt_domain.XMLDesc.return_value = '<domain/>'
        self.reporter = reporting.Reporter(
            nova_context.get_admin_context(),
            objects.Instance(uuid='server'), 'alpha')

    def moving(self):
        return self.reporter.move(moves.FAILBACK, ['port'], self.guest)

    def test_what_goes_wrong_is_not_swallowed(self):
        def fail():
            with self.moving():
                raise ValueError('the VF has gone')

        self.assertRaises(ValueError, fail)
        self.assertEqual('vf_failover.failback.error',
                         self.notifier.error.call_args.args[1])

    def test_what_goes_well_goes_on(self):
        done = mock.Mock()

        with self.moving():
            done()

        done.assert_called_once_with()
        self.notifier.error.assert_not_called()

    def test_a_guest_that_had_no_nic_does_not_know_for_how_long(self):
        report = intents.Report(
            1, intents.ReportState.DONE, '',
            steps=(intents.GuestStep('switch', 10.0, 10.001),))

        told = []
        for without in (False, True):
            with self.moving():
                if without:
                    self.reporter.without_nic()
                self.reporter.heard(report)
            payload = self.notifier.info.call_args.args[2]
            told.append(payload['nova_object.data']['interruption_s'])

        self.assertAlmostEqual(0.001, told[0])
        self.assertIsNone(told[1])

    def test_what_cannot_be_stored_is_no_reason_to_stop(self):
        for place in ('InstanceActionEvent.event_start',
                      'InstanceActionEvent.event_finish_with_failure',
                      'InstanceAction.action_start',
                      'InstanceAction.action_finish'):
            with fixtures.MockPatch(
                    f'nova.objects.{place}',
                    side_effect=oslo_messaging.MessagingTimeout()) as stored:
                done = mock.Mock()
                with self.reporter.action('vf_recovery'), self.moving():
                    done()
                done.assert_called_once_with()
                self.assertTrue(stored.mock.called, place)
        self.notifier.error.assert_not_called()

    def test_what_has_failed_is_told_though_it_cannot_be_stored(self):
        def fail():
            with self.moving():
                raise exception.SwapCancelled('aborted')

        with fixtures.MockPatch(
                'nova.objects.InstanceActionEvent.event_finish_with_failure',
                side_effect=oslo_messaging.MessagingTimeout()):
            self.assertRaises(exception.SwapCancelled, fail)
        self.assertEqual('vf_failover.failback.error',
                         self.notifier.error.call_args.args[1])
