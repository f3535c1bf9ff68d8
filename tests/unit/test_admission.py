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

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401 isort: skip

import types
from unittest import mock

from nova.compute import power_state
from nova import exception as nova_exception
from oslo_config import cfg
from oslo_config import fixture as config
from oslo_messaging import conffixture
from oslotest import base

from nova_vf_failover import admission
from nova_vf_failover import conf
from nova_vf_failover import exception
from nova_vf_failover import journal
from nova_vf_failover import negotiation
from nova_vf_failover import operations

PORT = '5b0e3d0e-5d5c-4a3f-9c55-d7a4f04d6f01'
VIF = {'id': PORT, 'vnic_type': 'direct', 'type': 'hw_veb', 'meta': {},
       'profile': {'pci_slot': '0000:81:00.1'}}
DEGRADED = journal.Journal().moved(
    PORT, 'fa:16:3e:00:00:01', journal.State.STANDBY)

Refused = nova_exception.MigrationPreCheckError


class AdmissionTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        conf.register_opts(cfg.CONF)
        self.useFixture(conffixture.ConfFixture(cfg.CONF))
        self.conf = self.useFixture(config.Config(cfg.CONF))
        self.bench = mock.Mock(operations=operations.Operations())
        self.bench.power_state.return_value = power_state.RUNNING
        self.read_journal = self.bench.domain.return_value.read_journal
        self.read_journal.return_value = journal.Journal()
        self.instance = types.SimpleNamespace(
            uuid='server', get_network_info=lambda: [VIF],
            flavor=types.SimpleNamespace(extra_specs={}), system_metadata={})
        self.admission = admission.Admission(self.bench)


class OfferTestCase(AdmissionTestCase):
    """On the source, where the host's policy is ``native``."""

    def offers(self):
        data = types.SimpleNamespace()
        with mock.patch.object(negotiation, 'offer',
                               autospec=True) as offer:
            self.admission.offer(None, self.instance, data)
        return offer.called

    def test_it_can_be_swapped(self):
        self.assertTrue(self.offers())

    def test_a_degraded_server_is_never_left_to_nova(self):
        self.read_journal.return_value = DEGRADED
        self.bench.swap.return_value.check.side_effect = exception.CannotSwap(
            exception.server('server'), 'its guest is silent.', '')

        error = self.assertRaises(Refused, self.offers)

        self.assertIn('its guest is silent', str(error))

    def test_nor_is_one_of_which_nobody_knows_whether_it_is(self):
        self.read_journal.side_effect = exception.JournalError('illegible')

        error = self.assertRaises(Refused, self.offers)

        self.assertIn('illegible', str(error))

    def test_a_guest_that_does_not_run_cannot_change_nics(self):
        self.bench.power_state.return_value = power_state.PAUSED

        self.assertFalse(self.offers())

        self.bench.swap.assert_not_called()

    def test_it_has_answered_before_nobody_waits_any_more(self):
        self.bench.operations = mock.MagicMock()
        for longest, patience in ((60, 20.0), (30, 1.0)):
            self.conf.config(rpc_response_timeout=longest)
            self.conf.config(group='vf_failover', check_timeout=25)

            self.offers()

            self.bench.operations.begin.assert_called_with('server', patience)


class ForgetTestCase(AdmissionTestCase):

    def test_claims_of_an_earlier_try_are_given_back(self):
        self.admission.forget(None, self.instance)

        self.bench.claims.release.assert_called_once_with(None, self.instance)

    def test_a_server_without_vf_ports_is_left_to_nova(self):
        self.instance.get_network_info = lambda: [{**VIF, 'type': 'ovs'}]

        self.admission.forget(None, self.instance)

        self.bench.claims.release.assert_not_called()


class WeighTestCase(AdmissionTestCase):
    """On the destination, where no standby could be."""

    def weigh(self, policy):
        """What is said to the source."""
        self.bench.standby.check.side_effect = exception.CannotSwap(
            exception.ports(PORT), 'its PF is down.', '')
        vif = {**VIF, 'meta': {negotiation.KEY: {'policy': policy}}}
        migrate_vif = mock.MagicMock(
            source_vif=vif, profile=VIF['profile'], **{
                '__contains__.return_value': True})
        data = mock.MagicMock(vifs=[migrate_vif], **{
            '__contains__.return_value': True})
        self.admission.weigh(None, self.instance, data)
        return negotiation.Offer(migrate_vif).declined

    def test_what_is_claimed_is_given_back_with_a_refusal(self):
        self.assertRaises(Refused, self.weigh, 'required')

        self.bench.claims.release.assert_called_once_with(None, self.instance)

    def test_what_is_claimed_is_used_without_a_standby(self):
        self.assertIn('its PF is down', self.weigh('native'))

        self.bench.claims.release.assert_not_called()

    def test_a_refusal_is_one_though_nothing_can_be_given_back(self):
        self.bench.claims.release.side_effect = OSError('no database')

        error = self.assertRaises(Refused, self.weigh, 'required')

        self.assertIn('its PF is down', str(error))
