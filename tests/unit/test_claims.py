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

import types

from nova import exception as nova_exception
from nova import objects
from oslotest import base

from nova_vf_failover import claims
from nova_vf_failover import exception

SERVER = '7c1c6bb1-8d3f-4a0e-9f3e-0d3f6a3c1b11'
REQUEST = 'b2a3c4d5-0000-4000-8000-000000000001'
OTHER_REQUEST = 'b2a3c4d5-0000-4000-8000-000000000002'
FIRST, SECOND, THIRD, FOURTH = (
    f'0000:81:00.{number}' for number in (1, 2, 3, 4))


class Tracker:
    """Nova's resource tracker, as far as it is asked."""

    def __init__(self, did, *devices):
        self.did = did
        self.topologies = []
        self.pci_tracker = types.SimpleNamespace(
            pci_devs=list(devices), node_id=1)

    def claim_pci_devices(self, context, requests, topology):
        self.topologies.append(topology)
        for device in self.pci_tracker.pci_devs:
            if device.status == 'available':
                device.status = 'claimed'
                device.instance_uuid = requests.instance_uuid
                device.request_id = requests.requests[0].request_id
                self.did.append(f'claim {device.address}')
                return [device]
        raise nova_exception.PciDeviceRequestFailed(requests=requests)

    def unclaim_pci_devices(self, context, device, instance):
        device.status = 'available'
        device.instance_uuid = device.request_id = None
        self.did.append(f'unclaim {device.address}')

    def allocate_pci_devices_for_instance(self, context, instance):
        for device in self.pci_tracker.pci_devs:
            if device.status == 'claimed':
                device.status = 'allocated'
                self.did.append(f'allocate {device.address}')


class Network:
    """Nova's network API: a binding names the server's one VF."""

    def __init__(self, did, instance):
        self.did = did
        self.instance = instance
        self.address = None

    def setup_instance_network_on_host(self, context, instance, host,
                                       provider_mappings):
        device, = instance.pci_devices.objects
        self.address = device.address
        self.did.append(f'bind {device.address} on {host}')

    def get_instance_nw_info(self, context, instance):
        return [vif('other', FIRST), vif('port', self.address)]


def vif(port, address):
    return {'id': port, 'profile': {'pci_slot': address}}


class ReclaimTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.did = []
        self.faults = {}

    def device(self, address, status='available'):
        mine = status != 'available'
        return objects.PciDevice(
            address=address, status=status, compute_node_id=1,
            instance_uuid=SERVER if mine else None,
            request_id=REQUEST if mine else None)

    def claims(self, *devices, requester='port'):
        instance = types.SimpleNamespace(
            uuid=SERVER, host='alpha', numa_topology=None,
            migration_context=None,
            pci_devices=objects.PciDeviceList(objects=[]),
            pci_requests=types.SimpleNamespace(requests=[
                objects.InstancePCIRequest(
                    request_id=REQUEST, requester_id=requester, count=1,
                    spec=[])]),
            get_network_info=lambda: [])
        return claims.ServerClaims(
            Tracker(self.did, *devices), Network(self.did, instance),
            'alpha', self.faults.get, None, instance)

    def reclaim(self, *devices, **keywords):
        return self.claims(*devices).reclaim(
            vif('port', FIRST), **keywords)['profile']['pci_slot']

    def confirm(self, read, *devices):
        claimed = self.claims(*devices)
        claimed._instance.pci_devices.objects.append(read)
        claimed.confirm(vif('port', FIRST))

    def test_a_vf_that_has_been_exchanged(self):
        error = self.assertRaises(
            exception.Busy, self.confirm, self.device(FIRST, 'allocated'),
            self.device(SECOND, 'allocated'))

        self.assertIn(f'in place of {FIRST}', str(error))

    def test_a_vf_that_is_still_the_one(self):
        device = self.device(FIRST, 'allocated')

        self.confirm(device, device)

    def test_a_vf_of_another_port_that_has_been_exchanged(self):
        other = self.device(SECOND, 'allocated')
        other.request_id = OTHER_REQUEST

        self.confirm(other, self.device(FIRST, 'allocated'))

    def test_a_vf_of_a_host_that_was_evacuated(self):
        """It is the server's until that host works again."""
        other = self.device(SECOND, 'allocated')
        other.compute_node_id = 2

        self.confirm(other, self.device(FIRST, 'allocated'))

    def test_another_port_that_holds_two_stays_bound_to_its_own(self):
        # Its nova-compute has died before the first was given back.
        other = [self.device(address, 'allocated')
                 for address in (SECOND, THIRD)]
        for device in other:
            device.request_id = OTHER_REQUEST
        self.faults[FIRST] = 'it has gone'
        claimed = self.claims(self.device(FIRST, 'allocated'), *other,
                              self.device(FOURTH))
        instance = claimed._instance
        instance.get_network_info = lambda: [
            vif('port', FIRST), vif('other', THIRD)]
        network = claimed._network_api
        network.setup_instance_network_on_host = (
            lambda context, instance, host, provider_mappings:
            setattr(network, 'address', FOURTH))

        claimed.reclaim(vif('port', FIRST))

        # Nova binds a port to the first device of its request
        # (nova/network/neutron.py, ``_get_port_pci_dev``).
        first = next(device for device in instance.pci_devices.objects
                     if device.request_id == OTHER_REQUEST)
        self.assertEqual(THIRD, first.address)

    def test_a_good_one_stays(self):
        self.assertEqual(FIRST, self.reclaim(
            self.device(FIRST, 'allocated'), self.device(SECOND)))
        self.assertEqual([], self.did)

    def test_another_one_is_bound_before_the_first_is_given_back(self):
        self.faults[FIRST] = 'it has gone'

        self.assertEqual(SECOND, self.reclaim(
            self.device(FIRST, 'allocated'), self.device(SECOND)))

        self.assertEqual(
            [f'claim {SECOND}', f'allocate {SECOND}',
             f'bind {SECOND} on alpha', f'unclaim {FIRST}'], self.did)

    def test_one_that_cannot_be_used_either_is_given_back(self):
        self.faults[FIRST] = self.faults[SECOND] = 'it has gone'

        self.assertEqual(THIRD, self.reclaim(
            self.device(FIRST, 'allocated'), self.device(SECOND),
            self.device(THIRD)))

        self.assertEqual(
            [f'claim {SECOND}', f'claim {THIRD}', f'unclaim {SECOND}',
             f'allocate {THIRD}', f'bind {THIRD} on alpha',
             f'unclaim {FIRST}'], self.did)

    def test_a_crash_before_the_binding_is_gone_on_from(self):
        self.faults[FIRST] = 'it has gone'

        self.assertEqual(SECOND, self.reclaim(
            self.device(FIRST, 'allocated'),
            self.device(SECOND, 'claimed'), self.device(THIRD)))

        self.assertEqual(
            [f'allocate {SECOND}', f'bind {SECOND} on alpha',
             f'unclaim {FIRST}'], self.did)

    def test_a_crash_after_the_binding_is_gone_on_from(self):
        self.assertEqual(FIRST, self.reclaim(
            self.device(SECOND, 'allocated'),
            self.device(FIRST, 'allocated')))

        self.assertEqual([f'unclaim {SECOND}'], self.did)

    def claimed_for(self, host):
        """The NUMA nodes for which a VF is claimed on alpha.

        :param host: of which Nova says that the server is there
        """
        self.faults[FIRST] = 'it has gone'
        claimed = self.claims(self.device(FIRST, 'allocated'),
                              self.device(SECOND))
        instance = claimed._instance
        instance.host = host
        instance.numa_topology = 'of the instance'
        instance.migration_context = types.SimpleNamespace(
            new_numa_topology='of the migration')
        claimed.reclaim(vif('port', FIRST))
        return claimed._resource_tracker.topologies

    def test_nodes_of_a_server_that_nova_has_not_moved_yet(self):
        self.assertEqual(['of the migration'], self.claimed_for('beta'))

    def test_nodes_of_a_server_whose_migration_is_undone(self):
        self.assertEqual(['of the instance'], self.claimed_for('alpha'))

    def test_none_is_left(self):
        self.faults[FIRST] = 'the first has gone'
        self.faults[SECOND] = 'the second is down'
        first, second = (self.device(FIRST, 'allocated'),
                         self.device(SECOND))

        error = self.assertRaises(exception.CannotSwap, self.reclaim,
                                  first, second)

        self.assertIn('the first has gone', str(error))
        self.assertIn('the second is down', str(error))
        self.assertEqual(('allocated', 'available'),
                         (first.status, second.status))

    def test_one_that_is_not_wanted(self):
        self.assertEqual(SECOND, self.reclaim(
            self.device(FIRST, 'allocated'), self.device(SECOND),
            spoiled=FIRST))

    def test_a_server_of_which_nova_knows_no_request(self):
        found = self.claims(self.device(FIRST, 'allocated'),
                            requester=None).reclaim(vif('port', FIRST))

        self.assertEqual(vif('port', FIRST), found)
        error = self.assertRaises(
            exception.CannotSwap,
            self.claims(self.device(SECOND), requester=None).reclaim,
            vif('port', FIRST))
        self.assertIn('has not allocated', str(error))

    def test_finding_changes_nothing(self):
        self.faults[FIRST] = 'it has gone'

        device = self.claims(self.device(FIRST, 'allocated')).find(
            vif('port', FIRST))

        self.assertEqual(FIRST, device.address)
        self.assertEqual([], self.did)

    def test_one_that_is_not_allocated_to_the_server_is_not_found(self):
        anothers = self.device(FIRST, 'allocated')
        anothers.instance_uuid = 'another'
        for device in (anothers, self.device(FIRST, 'claimed')):
            self.assertRaises(exception.CannotSwap,
                              self.claims(device).find, vif('port', FIRST))
