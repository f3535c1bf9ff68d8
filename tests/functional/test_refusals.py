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

"""Servers and hosts that cannot swap: refused, or migrated as Nova does."""

import dataclasses

import ddt
from nova.tests.fixtures import libvirt as fakelibvirt

from tests.functional import base
from tests.simulation import paper_agent

Mood = paper_agent.Mood


@ddt.ddt
class AgentTestCase(base.FailoverTestCase):
    """The guest cannot or will not, and says so before anything is done."""

    MOODS = (
        (Mood.MISSING, 'No such file or directory', 'The image needs'),
        (Mood.SILENT, 'has not answered within', 'The image needs'),
        (Mood.NONSENSE, 'Segmentation fault', 'The image needs'),
        (Mood.REFUSING, 'eth0 is a port of bridge br0', 'eth0 is a port of'),
    )

    @ddt.data(*MOODS)
    @ddt.unpack
    def test_required(self, mood, words, cure):
        self.flags(policy='required', group='vf_failover')
        self.start_hosts()
        server = self.boot(self.add_port())
        self.agent.mood = mood

        refusal = self.refusal(server)

        self.assertIn('Migration pre-check error', refusal)
        self.assertIn(f'Server {server["id"]}: its guest ', refusal)
        self.assertIn(cure, refusal)
        self.assertIn(words, self.stdlog.logger.output)
        self.assertWorld(server, 'alpha')

    @ddt.data(*MOODS)
    @ddt.unpack
    def test_native(self, mood, words, cure):
        self.start_hosts()
        server = self.boot(self.add_port())
        self.agent.mood = mood

        self.migrate(server)

        self.assertWorld(server, 'beta')
        self.assertNotIn('plug_macvtap', self.plane('alpha').calls)
        self.assertIn(words, self.stdlog.logger.output)
        self.assertIn(cure, self.stdlog.logger.output)

    def test_image_without_guest_agent(self):
        for image in self.glance.images.values():
            del image['properties']['hw_qemu_guest_agent']
        self.flags(policy='required', group='vf_failover')
        self.start_hosts()
        server = self.boot(self.add_port())

        refusal = self.refusal(server)

        self.assertIn('hw_qemu_guest_agent=yes', refusal)
        self.assertIn('QEMU guest agent is not configured',
                      self.stdlog.logger.output)


class TwinsTestCase(base.FailoverTestCase):
    """Another port of the server, on another network, has the MAC."""

    def test_required(self):
        self.flags(policy='required', group='vf_failover')
        self.start_hosts()
        other = self.neutron.port_1
        port = self.add_port()
        port['mac_address'] = other['mac_address']
        server = self.boot(port, other)

        refusal = self.refusal(server)

        self.assertIn(f'Port {port["id"]}: port {other["id"]} of the server '
                      'has the same MAC', refusal)
        self.assertNotIn('plug_macvtap', self.plane('alpha').calls)
        self.assertEqual('alpha', self.api.get_server(
            server['id'])['OS-EXT-SRV-ATTR:host'])


@ddt.ddt
class HostTestCase(base.FailoverTestCase):
    """A PF that cannot carry a standby, on either host."""

    FAULTS = (
        ({'up': False}, 'is down', 'ip link set {pf} up'),
        ({'carrier': False}, 'has no carrier', 'cable'),
        ({'master': 'br-ex', 'master_kind': 'bridge'},
         'is a port of the bridge br-ex', 'Take {pf} out of br-ex'),
    )

    def break_pf(self, host, fault):
        links = self.plane(host).links
        name = f'{host}pf0'
        links[name] = dataclasses.replace(links[name], **fault)
        return name

    def assertRefused(self, host, fault, words, cure):
        """The migration is refused, and the sentence names PF and cure."""
        self.flags(policy='required', group='vf_failover')
        self.start_hosts()
        server = self.boot(self.add_port())
        pf = self.break_pf(host, fault)

        refusal = self.refusal(server)

        self.assertIn(f'Port {self.ports[0]["id"]}: PF {pf} {words}', refusal)
        self.assertIn(cure.format(pf=pf), refusal)
        self.assertWorld(server, 'alpha')

    @ddt.data(*FAULTS)
    @ddt.unpack
    def test_source_required(self, fault, words, cure):
        self.assertRefused('alpha', fault, words, cure)

    @ddt.data(*FAULTS)
    @ddt.unpack
    def test_destination_required(self, fault, words, cure):
        self.assertRefused('beta', fault, words, cure)

    def test_destination_native(self):
        self.start_hosts()
        server = self.boot(self.add_port())
        self.break_pf('beta', {'master': 'br-ex', 'master_kind': 'bridge'})

        self.migrate(server)

        self.assertWorld(server, 'beta')
        self.assertNotIn('plug_macvtap', self.plane('alpha').calls)

    def test_destination_of_a_degraded_server(self):
        """A server on its standby has to go on with one."""
        self.start_hosts()
        server = self.boot(self.add_port())
        self.plane('beta').fail_next('assign_vf', fakelibvirt.libvirtError(
            'Unable to read from monitor: Connection reset by peer'))
        self.migrate(server)
        pf = self.break_pf('alpha', {'master': 'br-ex',
                                     'master_kind': 'bridge'})

        refusal = self.refusal(server)

        self.assertIn(f'PF {pf} is a port of the bridge br-ex', refusal)
        self.assertWorld(server, 'beta', base.STANDBY)

    def test_no_pcie_port_is_free(self):
        self.flags(policy='required', group='vf_failover')
        self.flags(hw_machine_type=['x86_64=q35'], group='libvirt')
        self.start_hosts()
        server = self.boot(self.add_port(), self.add_port(), self.add_port())

        refusal = self.refusal(server)

        self.assertIn(f'Server {server["id"]}: the guest has 2 free PCI '
                      'slots and its standby NICs need 3', refusal)
        self.assertIn('num_pcie_ports', refusal)
        self.assertWorld(server, 'alpha')
