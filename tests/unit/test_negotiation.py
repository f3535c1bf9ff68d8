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

from nova.network import model
from nova import objects
from oslotest import base

from nova_vf_failover import negotiation


def vf_port(**changes):
    return model.VIF(**{
        'id': 'port-1', 'address': 'fa:16:3e:00:00:01', 'type': 'hw_veb',
        'vnic_type': 'direct', 'profile': {'pci_slot': '0000:81:00.2'},
        'details': {'vlan': '42'}, 'network': model.Network(id='net')
    } | changes)


def sent(data):
    """What arrives at the other host."""
    objects.register_all()
    return objects.LibvirtLiveMigrateData.obj_from_primitive(
        data.obj_to_primitive())


class NegotiationTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        objects.register_all()
        self.network_info = model.NetworkInfo([
            vf_port(),
            vf_port(id='port-2', address='fa:16:3e:00:00:02', type='ovs',
                    vnic_type='normal', profile={})])

    def offered(self):
        data = objects.LibvirtLiveMigrateData()
        negotiation.offer(data, self.network_info, True)
        return sent(data)

    def test_only_vf_ports_of_the_nic_switch_are_offered(self):
        offers = negotiation.offers(self.offered())

        self.assertEqual(['port-1'], [
            offer.source_vif['id'] for offer in offers])
        self.assertTrue(offers[0].required)
        for other in (vf_port(vnic_type='direct-physical'),
                      vf_port(type='ovs'), vf_port(profile={}),
                      vf_port(vnic_type='macvtap')):
            self.assertFalse(negotiation.is_vf(other))

    def test_a_port_that_is_away_is_not_for_nova(self):
        self.network_info.append(vf_port(id='port-3'))
        data = objects.LibvirtLiveMigrateData()

        negotiation.offer(data, self.network_info, False, {'port-3'})

        self.assertEqual(
            [('port-1', False), ('port-3', True)],
            [(offer.source_vif['id'], offer.required)
             for offer in negotiation.offers(sent(data))])

    def test_the_network_info_of_the_server_stays_as_it_was(self):
        self.offered()

        self.assertEqual({}, self.network_info[0]['meta'])

    def test_a_destination_without_the_plugin_gives_no_answer(self):
        returned = sent(self.offered())

        self.assertEqual({'port-1'}, negotiation.unanswered(returned))

    def test_the_answer_is_what_nova_plugs_on_the_destination(self):
        data = self.offered()
        standby = vf_port(type='macvtap', vnic_type='normal', profile={},
                          details={'macvtap_source': 'pf'})
        data.vifs[0].vif_type = 'hw_veb'
        negotiation.offers(data)[0].answer(standby)

        returned = sent(data)

        offer, = negotiation.offers(returned)
        self.assertTrue(offer.answered)
        self.assertEqual(set(), negotiation.unanswered(returned))
        plugged = returned.vifs[0].get_dest_vif()
        self.assertEqual(
            ('macvtap', 'normal', {'macvtap_source': 'pf'}, {}),
            (plugged['type'], plugged['vnic_type'], plugged['details'],
             plugged['profile']))
        self.assertEqual('direct', offer.source_vif['vnic_type'])

    def test_a_declined_offer_is_none(self):
        data = self.offered()
        negotiation.offers(data)[0].decline('PF down')

        returned = sent(data)

        self.assertEqual([], negotiation.offers(returned))
        self.assertEqual(set(), negotiation.unanswered(returned))
        self.assertEqual(['port-1'], [
            vif['id'] for vif in negotiation.source_vfs(returned)])

    def test_a_migration_without_vifs_has_no_offers(self):
        self.assertEqual([], negotiation.offers(None))
        self.assertEqual([], negotiation.offers(
            objects.LibvirtLiveMigrateData()))
