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

from nova import objects
from oslotest import base

from nova_vf_failover import selection

SERVER = '7c1c6bb1-8d3f-4a0e-9f3e-0d3f6a3c1b11'
PORTS, FLAVORS, OTHER = (f'0000:81:00.{number}' for number in (1, 2, 3))


class Compute:
    """nova-compute's manager, as far as it claims VFs for ports."""

    def __init__(self, *devices):
        self.rt = self
        self.pci_tracker = types.SimpleNamespace(pci_devs=list(devices))

    def unclaim_pci_devices(self, context, device, instance):
        device.status = 'available'
        device.instance_uuid = None

    def _claim_pci_for_instance_vifs(self, context, instance):
        device = next(device for device in self.pci_tracker.pci_devs
                      if device.status == 'available')
        device.status = 'claimed'
        device.instance_uuid = instance.uuid
        return [device]

    def _update_migrate_vifs_profile_with_pci(self, vifs, devices):
        for vif, device in zip(vifs, devices, strict=True):
            vif.profile = {'pci_slot': device.address}


class SelectionTestCase(base.BaseTestCase):

    def improve(self, named, faults, *addresses):
        """Have useless VFs of one port's server exchanged.

        :param named: the VF that Nova has told the source
        :param faults: which VFs are useless, and why
        :param addresses: of the VFs that are claimed; one more is free
        :returns: the VFs that are claimed then, and the one that is named
        """
        compute = Compute(*(objects.PciDevice(
            address=address, status='claimed', instance_uuid=SERVER)
            for address in addresses), objects.PciDevice(
                address=OTHER, status='available', instance_uuid=None))
        vif = types.SimpleNamespace(profile={'pci_slot': named})
        selection.Selection(compute).improve(
            None, types.SimpleNamespace(uuid=SERVER),
            types.SimpleNamespace(vifs=[vif]),
            lambda: {address: fault for address, fault in faults.items()
                     if address == vif.profile['pci_slot']})
        return ([device.address for device in compute.pci_tracker.pci_devs
                 if device.status == 'claimed'], vif.profile['pci_slot'])

    def test_the_vf_of_its_flavor_stays(self):
        self.assertEqual(
            ([FLAVORS, OTHER], OTHER),
            self.improve(PORTS, {PORTS: 'it is down'}, FLAVORS, PORTS))

    def test_one_that_is_named_and_not_claimed_is_not_asked_for_for_ever(self):
        self.assertEqual(
            ([FLAVORS], PORTS),
            self.improve(PORTS, {PORTS: 'it is down'}, FLAVORS))
