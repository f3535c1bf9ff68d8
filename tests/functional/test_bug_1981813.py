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
"""Bug 1981813: nova-compute meets a port whose type has changed.

A direct port that someone makes a macvtap in Neutron stopped nova-compute when
it started anew; since the bug was closed such a server is left aside, and an
error is logged at each look at its ports.

A standby is a macvtap. It is one in the domain only: Neutron, and the cache
that Nova heals from there, have the direct port all the time, also while a
server is degraded.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

from nova import objects

from tests.simulation import errors


class DegradedTestCase(base.OnePortTestCase):

    def setUp(self):
        super().setUp()
        self.plane('beta').fail_next(
            'assign_vf', errors.internal('no monitor'))
        self.migrate(self.server)
        self.assertPorts(self.server, 'beta', base.STANDBY)

    def vnic_types(self):
        cache = objects.InstanceInfoCache.get_by_instance_uuid(
            self.ctxt, self.server['id'])
        return [vif['vnic_type'] for vif in cache.network_info]

    def test_cache_is_healed(self):
        manager = self.computes['beta'].manager
        for _server in range(2):
            manager._heal_instance_info_cache(self.ctxt)

        self.assertEqual(['direct'], self.vnic_types())
        self.assertNotIn('vnic_type of the bound port',
                         self.stdlog.logger.output)

    def test_nova_compute_starts(self):
        self.restart_host('beta')

        self.assertPorts(self.server, 'beta', base.STANDBY)
        self.assertEqual(['direct'], self.vnic_types())
        self.recover('beta')
        self.assertWorld(self.server, 'beta')
