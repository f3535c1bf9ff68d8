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

"""NICs whose filter the host moves before the VF has gone."""

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401 isort: skip

from nova_vf_failover.steering import placeholder
from nova_vf_failover.steering import refilter
from tests.guest import base
from tests.guest import test_move
from tests.simulation.fabric import host as hosts
from tests.simulation.fabric import nic as nics

DEVICE = 'macvtap0'


class Steered(base.GuestTestCase):

    MODE = nics.EXCLUSIVE
    RESETS = False

    def setUp(self):
        super().setUp()
        self.port, = self.ports
        self.host = self.net.hosts['alpha']
        self.host.nic.resets = self.RESETS
        self.steering = self.make_steering(hosts.FabricFunctions(self.host))
        self.vif = {'id': 'port-1', 'address': self.port.mac,
                    'profile': {'pci_slot': '0000:81:00.1'}}

    def make_steering(self, functions):
        return placeholder.PlaceholderSteering(functions)

    def switch(self):
        """The guest uses its standby, which does not hear yet."""
        self.attach_standby('alpha', self.port)
        report = self.done(self.intent('standby'))
        self.assertEqual([True], [
            port['overlap'] for port in report['ports']])

    def leave(self):
        """As the host does after the guest's answer."""
        self.steering.to_standby(self.vif, DEVICE)
        self.detach_vf('alpha', self.port, 1)
        self.steering.vf_left(self.vif, DEVICE)

    def assertNothingLeft(self):
        self.assertEqual({nics.NO_MAC}, set(self.host.nic.macs.values()))


class PlaceholderTestCase(test_move.Lossless, Steered):

    def fail_over(self):
        self.switch()
        self.leave()

    def test_there_and_back(self):
        # On the way back the NIC delivers to the VF from its attach on, and
        # what comes in before the guest has it up is lost.
        self.assertNothingLost(self.sessions(), self.fail_over)
        self.assertNothingLeft()
        self.carry_standby(self.port)
        self.assertReachable()
        self.fail_back()
        self.assertReachable()

    def test_vf_that_never_left(self):
        before = self.configuration()
        self.switch()
        self.steering.to_standby(self.vif, DEVICE)
        self.assertReachable()

        self.assertNothingLost(self.sessions(), self.return_to_vf)

        self.assertReachable()
        self.assertEqual(before, self.configuration())
        self.assertEqual(self.port.mac,
                         self.host.nic.macs['0000:81:00.1'])

    def return_to_vf(self):
        self.steering.to_primary(self.vif)
        self.done(self.intent('primary'))
        self.detach_standby('alpha', self.port)


class ResettingTestCase(PlaceholderTestCase):
    """The VF loses its link, and comes back with the placeholder."""

    RESETS = True

    def test_vf_that_never_left(self):
        before = self.configuration()
        self.switch()
        self.steering.to_standby(self.vif, DEVICE)
        self.assertReachable()

        self.return_to_vf()

        self.assertReachable()
        self.assertEqual(before, self.configuration())


class RefilterTestCase(Steered):
    """A NIC that refuses the standby, and does not remember it."""

    MODE = nics.REFUSING

    def make_steering(self, functions):
        return refilter.RefilterSteering(functions)

    def test_standby_hears_when_the_vf_has_left(self):
        self.switch()
        self.assertReachable()

        self.leave()

        self.assertReachable()
        self.assertNothingLeft()

    def test_without_it_it_never_does(self):
        self.switch()

        self.detach_vf('alpha', self.port, 1)

        self.assertFalse(self.net.reaches(self.port, 4))
        self.steering.vf_left(self.vif, DEVICE)
        self.assertReachable()
