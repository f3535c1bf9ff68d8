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

from unittest import mock

from nova.virt.libvirt import guest as libvirt_guest

from nova_vf_failover import domain as vf_domain
from nova_vf_failover import exception
from nova_vf_failover import ports as vf_ports
from nova_vf_failover import readiness
from tests.unit.simulation import contract
from tests.unit.simulation import test_hypervisor


class SlotsTestCase(test_hypervisor.HypervisorTestCase):
    """A guest with a VF, whose standby needs a slot."""

    def start(self, ports):
        self.domain = self.define(contract.domain(
            test_hypervisor.HOSTDEV, ports=ports))
        self.domain.createWithFlags(0)

    def check(self):
        vif = {'id': 'port', 'address': contract.MAC}
        instance = mock.Mock(**{'get_network_info.return_value': [vif]})
        guest = vf_domain.Domain(
            libvirt_guest.Guest(self.domain), contract.UUID, None)
        readiness.Readiness(
            instance, guest, mock.Mock(), mock.Mock(), mock.Mock()).check(
                [vf_ports.Port('port', contract.MAC, vif)])

    def test_none_is_free(self):
        self.start(1)

        error = self.assertRaises(exception.CannotSwap, self.check)

        self.assertIn('has 0 free PCI slots', str(error))

    def test_one_is_free(self):
        self.start(2)

        self.check()

    def test_a_standby_that_is_there_needs_none(self):
        self.start(2)
        self.domain.attachDeviceFlags(
            test_hypervisor.macvtap('alpha'), contract.LIVE)

        self.check()
