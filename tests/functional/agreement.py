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

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import invariants  # isort: skip

import typing

from nova.tests.functional.libvirt import test_pci_sriov_servers as sriov

from tests.functional import domains

# Where a port may stand when nothing is being done to it.
PRIMARY, STANDBY = 'primary', 'standby'


class Agreement(sriov._PCIServersTestBase):
    """Assertions of :class:`tests.functional.base.FailoverTestCase`.

    :ivar invariants: those of its hosts
    """

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
        its = self._its(server, status)
        # Not what Nova says of its migrations: where a test ends a process,
        # one stays in progress for good.
        self.assertNone([*self.invariants.agreement(its),
                         *self.invariants.foreign([its])])
        if standing == STANDBY:
            self._assert_host_of_standbys(host)

    def assertPorts(self, server: dict[str, typing.Any], host: str,
                    standing: str = PRIMARY, status: str = 'ACTIVE') -> None:
        """Nova, Neutron and libvirt agree on a server and its ports."""
        shown = self.api.get_server(server['id'])
        self.assertEqual((status, host, None), (
            shown['status'], shown['OS-EXT-SRV-ATTR:host'],
            shown['OS-EXT-STS:task_state']))
        its = self._its(server, status)
        self.assertNone([*self.invariants.one_nic(its),
                         *self.invariants.ports(its)])
        self.assertEqual(set() if standing == PRIMARY else set(its.macs),
                         self.invariants.degraded(its))
        if standing == STANDBY:
            self._assert_standbys(server, host)
        self.assertReachable(server, host)

    def assertReachable(self, server: dict[str, typing.Any],
                        host: str) -> None:
        for port in self.ports:
            self.assertTrue(self.reached(host, server, port), port['id'])

    def reached(self, host: str, server: dict[str, typing.Any],
                port: dict[str, typing.Any]) -> bool:
        """Whether a guest gets what comes for one of its ports to a host."""
        reached: bool = self.plane(host).reaches(
            server['id'], port['mac_address'],
            self.neutron.vlan_of(port['id']))
        return reached

    def assertNone(self, violations: list[invariants.Violation]) -> None:
        self.assertEqual([], [str(violation) for violation in violations])

    def _its(self, server: dict[str, typing.Any],
             status: str) -> invariants.Server:
        """A server of a test has all ports of the test."""
        return invariants.Server.of(server['id'], self.ports, status)

    def _assert_standbys(self, server: dict[str, typing.Any],
                         host: str) -> None:
        """Its guest has standbys only, and will start with them.

        As invariants go, it may still have the VF beside one of them.
        """
        for persistent in (False, True):
            self.assertEqual(
                [(mac, 'direct') for mac in self._macs()],
                sorted((nic.mac, nic.kind) for nic in domains.nics_of(
                    self.domain(host, server), persistent)
                    if nic.is_vf or nic.is_macvtap))

    def _assert_host_of_standbys(self, host: str) -> None:
        """The host has a device for each port, and no VF is in use."""
        now = self.plane(host).snapshot()
        self.assertEqual(self._macs(),
                         sorted(mac for _, mac, _ in now['macvtaps']))
        self.assertEqual([], now['vfs'])

    def _macs(self) -> list[str]:
        return sorted(port['mac_address'] for port in self.ports)
