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
"""Bug 2102161: ``live_migratable`` does not count for ports.

Nova leaves a VF that is ``live_migratable`` in ``[pci] device_spec`` in its
guest while this is live migrated. It does not look at that of a device with a
``physical_network``, so that a server with a port on such a VF loses its
network like any other.

The plugin swaps it like any other.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from oslo_serialization import jsonutils


class LiveMigratableTestCase(base.FailoverTestCase):

    PCI_DEVICE_SPEC = [jsonutils.dumps({
        'vendor_id': fakelibvirt.PCI_VEND_ID, 'product_id': product,
        'physical_network': 'physnet4', 'live_migratable': migratable,
    }) for product, migratable in ((fakelibvirt.PF_PROD_ID, 'no'),
                                   (fakelibvirt.VF_PROD_ID, 'yes'))]

    def setUp(self):
        super().setUp()
        # MIN_VFIO_PCI_VARIANT_* of Nova's libvirt driver
        for name, version in (('LIBVIRT', 10000000), ('QEMU', 8002002)):
            self.useFixture(fixtures.MonkeyPatch(
                f'nova.tests.fixtures.libvirt.FAKE_{name}_VERSION', version))

    def test_vf_is_swapped(self):
        self.start_hosts()
        server = self.boot(self.add_port())

        self.migrate(server)

        self.assertWorld(server, 'beta')
        events = self.events(server)
        self.assertEqual(('Success', 'Success'), (
            events['compute_vf_failover'], events['compute_vf_failback']))
