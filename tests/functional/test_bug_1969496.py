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
"""Bug 1969496: VFs that nobody has are unavailable for good.

The PCI tracker makes the VFs of a PF that is in use unavailable, and a PF
with a VF in use; clouds were found with a PF that was available and VFs of it
that were not. Such VFs are given to nobody.

The plugin takes and gives back VFs by the resource tracker's own methods,
each with its PF: whatever way a server has gone, what it does not have is
available, in memory and in the database.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

from nova import objects
from nova.objects import fields

_Status = fields.PciDeviceStatus


class AvailabilityTestCase(base.FailoverTestCase):
    """``beta`` has two PFs."""

    def setUp(self):
        super().setUp()
        self.start_hosts(beta={'num_pfs': 2, 'num_vfs': 8})
        self.server = self.boot(self.add_port())

    def assertAvailable(self, host=None):
        """Nothing is out of use but a VF on a host, and its PF."""
        self._run_periodics()
        self._run_periodics()
        for name, compute in self.computes.items():
            stored = objects.PciDeviceList.get_by_compute_node(
                self.ctxt, objects.ComputeNode.get_by_nodename(
                    self.ctxt, name).id)
            for devices in (compute.manager.rt.pci_tracker.pci_devs, stored):
                self.assertEqual(
                    self._expected(devices, name == host),
                    {device.address: device.status for device in devices})

    def _expected(self, devices, here):
        expected = {device.address: _Status.AVAILABLE for device in devices}
        if here:
            bound = self.neutron.show_port(self.ports[0]['id'])['port'][
                'binding:profile']['pci_slot']
            parent, = [device.parent_addr for device in devices
                       if device.address == bound]
            expected |= {bound: _Status.ALLOCATED,
                         parent: _Status.UNAVAILABLE}
        return expected

    def test_moved(self):
        self.migrate(self.server)

        self.assertAvailable('beta')

    def test_aborted(self):
        self.hold_the_copy(self.server)
        self.abort(self.server, 'running')

        self.assertAvailable('alpha')

    def test_vf_of_another_pf_was_taken(self):
        self.hold_the_copy(self.server)
        pci_tracker = self.computes['beta'].manager.rt.pci_tracker
        claimed, = [device.address for device in pci_tracker.pci_devs
                    if device.status == _Status.CLAIMED]
        pf = self.hosts.functions.pfs[claimed]
        self.plane('beta').links[pf].carrier = False
        self.finish(self.server)

        self.assertAvailable('beta')

        self._delete_server(self.server)

        self.assertAvailable()
