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
"""Bug 1621076: a NIC is detached by a MAC that another one has too.

Nova looks for the NIC to detach by its MAC, and libvirt refuses a detach that
matches two. While a server is on its way, and for longer where its guest does
not say which NIC it uses, each of its ports has two NICs of one MAC.

The plugin finds a NIC by its kind and detaches the element that libvirt has
printed, with its PCI address; and a port that its owner takes away goes with
both of its NICs.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

from nova import objects
from nova.objects import fields

from tests.simulation import paper_agent


class DetachTestCase(base.TwoPortsTestCase):

    def kinds(self, mac):
        return sorted(nic.kind for nic in self.domain(
            'alpha', self.server).nics() if nic.mac == mac)

    def allocated(self):
        return [device.address for device
                in objects.PciDeviceList.get_by_instance_uuid(
                    self.ctxt, self.server['id'])
                if device.status == fields.PciDeviceStatus.ALLOCATED]

    def test_owner_detaches_a_port_that_has_two_nics(self):
        self.agent.mood = paper_agent.Mood.MUTE
        self.migrate(self.server, 'failed')
        gone, kept = (port['mac_address'] for port in self.ports)
        self.assertEqual(['direct', 'hostdev'], self.kinds(gone))

        self._detach_interface(self.server, self.ports[0]['id'])

        self.assertEqual([], self.kinds(gone))
        self.assertEqual(['direct', 'hostdev'], self.kinds(kept))
        self.assertEqual(1, len(self.allocated()))
        self.assertEqual([], [vf for vf in self.plane('alpha').vfs.values()
                              if vf.owner and vf.mac == gone])
        del self.ports[0]
        self.agent.mood = paper_agent.Mood.GOOD
        self.recover('alpha')
        self.assertWorld(self.server, 'alpha')
