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

"""The demonstration's cloud with a real Neutron, and one live migration.

A process of its own, as :mod:`tests.demo.cloud`: Nova's services ask Neutron
with Nova's own client, and Neutron tells Nova of ports that come up. The
SR-IOV agents see in files what the hosts' data planes do with VFs.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.demo import cloud as demo  # isort: skip

import pathlib
import sys
import time
import typing

import fixtures
from nova.network import neutron as nova_neutron

from tests.demo import command_line
from tests.demo import doors
from tests.neutron import door
from tests.neutron import server
from tests.neutron import settings
from tests.neutron import vf_files
from tests.simulation import dataplane
from tests.simulation import hosts

# Before the harness puts its stand-in in its place.
_GET_CLIENT = nova_neutron.get_client

# Seconds until Neutron's agent has seen a VF; it looks every two seconds.
_PATIENCE = 60


class WatchedPlane:
    """A host's data plane whose VFs are seen by the SR-IOV agent.

    :param files: where the agent looks
    """

    def __init__(self, plane: dataplane.DataPlane, pf: str,
                 files: vf_files.VfFiles) -> None:
        self._plane = plane
        self._pf = pf
        self._files = files

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self._plane, name)

    def assign_vf(self, guest: str, nic: dataplane.Nic) -> None:
        self._plane.assign_vf(guest, nic)
        self._files.give(self._pf, nic.vf or '', nic.mac)

    def return_vf(self, guest: str, nic: dataplane.Nic) -> None:
        self._plane.return_vf(guest, nic)
        self._files.take_back(self._pf, nic.vf or '')


class WatchedHosts(demo.FabricHosts):
    """Hosts of the fabric with an SR-IOV agent each.

    :ivar files: where the agents look
    """

    files: vf_files.VfFiles

    def make_plane(self, host: str,
                   pfs: dict[str, list[str]]) -> typing.Any:
        (pf, vfs), = pfs.items()
        self.files.add_pf(pf, vfs)
        return WatchedPlane(super().make_plane(host, pfs), pf, self.files)


class RealNeutron:
    """What Nova's client is made with, in the place of the stand-in."""

    _get_client = staticmethod(_GET_CLIENT)


class NeutronCloud(demo.Cloud):
    """Nova's services, and Neutron behind a door of its own."""

    def make_hosts(self) -> hosts.SimulatedHosts:
        super().make_hosts()
        watched = WatchedHosts(self.net)
        watched.files = self._files = vf_files.VfFiles(pathlib.Path(
            self.useFixture(fixtures.TempDir()).path))
        return watched

    def live_migrate(self) -> None:
        # The demonstration's own counts what Nova asks it.
        self.neutron = RealNeutron()
        # Neutron says when a VF is there, and Nova waits for it.
        self.flags(vif_plugging_timeout=_PATIENCE)
        super().live_migrate()
        self._look_for_trouble()

    def start_hosts(self, *arguments: typing.Any,
                    **keywords: typing.Any) -> None:
        self._start_neutron()
        super().start_hosts(*arguments, **keywords)
        for host in ('alpha', 'beta'):
            self._say(f'Starting neutron-sriov-nic-agent on {host}')
            self._server.start_agent(host, f'{host}pf0', self._files)

    def _start_neutron(self) -> None:
        tokens = doors.Tokens(self.api_fixture.project_id)
        compute = self.useFixture(doors.Door(doors.ComputeDoor(
            self.api_fixture.app(), tokens)))
        network = door.NetworkDoor(tokens)
        network_door = self.useFixture(doors.Door(network))
        others = self.useFixture(doors.Door(doors.OtherDoors(
            tokens, compute.url, self._images, self._networks, lambda: [],
            self._make_port, self._remove_port, network_door.url)))
        self._identity = f'{others.url}/identity'
        self._say('Starting RabbitMQ, neutron-rpc-server and Neutron\'s API')
        self._server = self.useFixture(server.Server(self._account()))
        network.target = self._server.url
        self._network = self._server.make_network(
            'sriov', self.api_fixture.project_id)

    def _account(self) -> dict[str, str]:
        """As whom Nova and Neutron ask each other."""
        return {'identity': self._identity, 'user': doors.SERVICE_USER,
                'password': doors.PASSWORD, 'project': doors.PROJECT_NAME}

    def _more_configuration(self) -> str:
        return settings.credentials('neutron', self._account())

    def _open_doors(self) -> command_line.OpenStack:
        return command_line.OpenStack(self._identity)

    def _create_port(self, openstack: command_line.OpenStack) -> None:
        super()._create_port(openstack)
        self._port_id, mac = (openstack.ask('port', 'show', 'vf')[key]
                              for key in ('id', 'mac_address'))
        self._remember_port(mac)

    # -- what has become of the port -----------------------------------------

    def _check_where_it_is(self, openstack: command_line.OpenStack) -> None:
        super()._check_where_it_is(openstack)
        self._say('openstack port show vf')
        self._wait_until_up()
        port, bindings = self._ask_neutron()
        vf = port['binding:profile'].get('pci_slot')
        found = {
            'binding:host_id': port['binding:host_id'],
            'binding:vif_type': port['binding:vif_type'],
            'binding:vnic_type': port['binding:vnic_type'],
            'bindings': {one['host']: one['status'] for one in bindings},
            'MAC of the VF': self._files.read('betapf0', vf)['mac'],
        }
        expected = {
            'binding:host_id': 'beta', 'binding:vif_type': 'hw_veb',
            'binding:vnic_type': 'direct', 'bindings': {'beta': 'ACTIVE'},
            'MAC of the VF': port['mac_address'],
        }
        if found != expected:
            raise command_line.CommandFailed(
                f'Neutron\'s port should be {expected} and is {found}')
        self._say(f'Neutron: ACTIVE on beta, hw_veb on {vf}, one binding')

    def _wait_until_up(self) -> None:
        end = time.monotonic() + _PATIENCE
        while True:
            port, _ = self._ask_neutron()
            if port['status'] == 'ACTIVE':
                return
            if time.monotonic() > end:
                raise command_line.CommandFailed(
                    f'Neutron has not brought the port up: {port}')
            time.sleep(0.2)

    def _ask_neutron(self) -> tuple[server.Document,
                                    list[server.Document]]:
        path = f'/ports/{self._port_id}'
        return (self._server.ask('GET', path)[1]['port'],
                self._server.ask('GET', f'{path}/bindings')[1]['bindings'])

    def _look_for_trouble(self) -> None:
        trouble = self._server.trouble()
        if trouble:
            raise command_line.CommandFailed(
                'Neutron has errors in its logs:\n' + '\n'.join(trouble))


if __name__ == '__main__':
    sys.exit(demo.main(NeutronCloud))
