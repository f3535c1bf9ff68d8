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

"""What must be true of a server and of its hosts when nothing moves."""

import typing

from lxml import etree
from nova import objects
from nova.objects import fields as object_fields
from nova.tests.fixtures import libvirt as fakelibvirt

from nova_vf_failover import domain_xml

# Where a port may stand when nothing is being done to it.
PRIMARY, STANDBY = 'primary', 'standby'


class Agreement:
    """Assertions of :class:`tests.functional.base.FailoverTestCase`."""

    def assertWorld(self, server: dict[str, typing.Any], host: str,
                    standing: str = PRIMARY, status: str = 'ACTIVE') -> None:
        """Tracker, Placement, Neutron, libvirt and hosts agree on a server.

        :param standing: whether its ports are on their VFs or degraded
        """
        self.assertPorts(server, host, standing, status)
        # Nova lets a claim of a migration that was given up stand until the
        # next periodic update (bug 1860555); the device that its standby left
        # on the destination goes in the one after.
        self._run_periodics()
        self._run_periodics()
        self._assert_trackers(server, host)
        self._assert_hosts(server, host, standing)

    def assertPorts(self, server: dict[str, typing.Any], host: str,
                    standing: str = PRIMARY, status: str = 'ACTIVE') -> None:
        """Nova, Neutron and libvirt agree on a server and its ports."""
        shown = self.api.get_server(server['id'])
        self.assertEqual((status, host, None), (
            shown['status'], shown['OS-EXT-SRV-ATTR:host'],
            shown['OS-EXT-STS:task_state']))
        for port in self.ports:
            self._assert_port(server, host, port, standing)
        self._assert_domains(server, host, standing)

    def assertReachable(self, server: dict[str, typing.Any],
                        host: str) -> None:
        for port in self.ports:
            self.assertTrue(self.plane(host).reaches(
                server['id'], port['mac_address']), port['id'])

    def _assert_port(self, server: dict[str, typing.Any], host: str,
                     port: dict[str, typing.Any], standing: str) -> None:
        bindings = self.neutron._port_bindings[port['id']]
        if bindings:
            self.assertEqual({host: 'ACTIVE'}, {
                name: binding['status']
                for name, binding in bindings.items()})
        shown = self.neutron.show_port(port['id'])['port']
        self.assertEqual(('direct', 'hw_veb', host), (
            shown['binding:vnic_type'], shown['binding:vif_type'],
            shown['binding:host_id']))
        nics = {nic.kind: nic for nic in self.domain(host, server).nics()
                if nic.mac == port['mac_address']}
        self.assertEqual(
            {'hostdev' if standing == PRIMARY else 'direct'}, set(nics))
        if standing == PRIMARY:
            self.assertEqual(shown['binding:profile']['pci_slot'],
                             nics['hostdev'].vf)
        self.assertTrue(self.plane(host).reaches(
            server['id'], port['mac_address']))

    def _assert_trackers(self, server: dict[str, typing.Any],
                         host: str) -> None:
        expected = {self.neutron.show_port(port['id'])['port'][
            'binding:profile']['pci_slot'] for port in self.ports}
        for name, compute in self.computes.items():
            devices = compute.manager.rt.pci_tracker.pci_devs
            stored = objects.PciDeviceList.get_by_compute_node(
                self.ctxt, objects.ComputeNode.get_by_nodename(
                    self.ctxt, name).id)
            for known in (devices, stored):
                held = {device.address for device in known
                        if device.status in (
                            object_fields.PciDeviceStatus.ALLOCATED,
                            object_fields.PciDeviceStatus.CLAIMED)
                        and device.dev_type == 'type-VF'}
                self.assertEqual(expected if name == host else set(), held)
        allocations = self._get_allocations_by_server_uuid(server['id'])
        self.assertIn(self.compute_rp_uuids[host], allocations)
        for name, provider in self.compute_rp_uuids.items():
            if name != host:
                self.assertNotIn(provider, allocations)

    def _assert_hosts(self, server: dict[str, typing.Any], host: str,
                      standing: str) -> None:
        for name, plane in self.hosts.planes.items():
            now, before = plane.snapshot(), self.clean[name]
            if name != host or standing == PRIMARY:
                self.assertEqual(before['links'], now['links'])
                self.assertEqual([], now['macvtaps'])
            else:
                self.assertEqual(
                    sorted(port['mac_address'] for port in self.ports),
                    sorted(mac for _, mac, _ in now['macvtaps']))
            owned = sorted(mac for _, mac, _ in now['vfs'])
            self.assertEqual(
                sorted(port['mac_address'] for port in self.ports)
                if (name, standing) == (host, PRIMARY) else [], owned)

    def _assert_domains(self, server: dict[str, typing.Any], host: str,
                        standing: str) -> None:
        domain = self.domain(host, server)
        for flags in (0, fakelibvirt.VIR_DOMAIN_XML_INACTIVE):
            tree = etree.fromstring(domain.XMLDesc(flags))
            found = sorted(
                (element.find('mac').get('address'), element.get('type'))
                for element in tree.iterfind('./devices/interface')
                if element.get('type') in ('hostdev', 'direct'))
            kind = 'hostdev' if standing == PRIMARY else 'direct'
            self.assertEqual(sorted((port['mac_address'], kind)
                                    for port in self.ports), found)
            self.assertEqual(
                standing == PRIMARY, not domain_xml.journal_of(tree).entries)
        for name, connection in self.hosts.world.connections.items():
            if name != host:
                self.assertNotIn(server['id'], [
                    other.UUIDString()
                    for other in connection._vms.values()])
