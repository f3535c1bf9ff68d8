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

"""A cloud on which servers are operated through Nova's API."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.faults import cloud  # isort: skip

from collections.abc import Callable
import contextlib
import typing

import fixtures
from nova import objects
from nova.objects import fields
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional.api import client
from nova.virt.libvirt import driver as nova_driver

from tests.functional import endings
from tests.functional import invariants
from tests.simulation import hypervisor
from tests.simulation import paper_agent
from tests.stateful import model

VFS = 8
#: looks after which nobody whose guest works is degraded
LOOKS = 6
# The longest pause between two attempts, see [vf_failover]
# recovery_longest_pause; and some more.
_LONG = 4000
# Seconds that an agent may take. It answers at once where its processor has
# nothing else to do.
_PATIENCE = 4
# Seconds until a caller of the message bus gives up. Nobody is silent here,
# and a boot that ends for a busy machine ends a share of hours.
_RPC_PATIENCE = 60

#: what may be wrong with the agent of a guest
MOODS = tuple(mood for mood in paper_agent.Mood if mood.value in (
    'missing', 'silent', 'refusing', 'failing', 'mute', 'stuck'))

Act = Callable[[dict[str, typing.Any]], object]


class Refused(Exception):
    """Nova did not do it."""


class StatefulCloud(cloud.FaultyCloud):
    """Two hosts, and whatever is done to servers on them."""

    def setUp(self) -> None:
        super().setUp()
        self.flags(rpc_response_timeout=_RPC_PATIENCE)
        self.endings = self.useFixture(endings.Endings())
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.driver.LibvirtDriver.'
            'migrate_disk_and_power_off', _leave_disks))

    def shorten_timeouts(self) -> None:
        """Silent guests are waited for, and a busy machine is not silent."""
        super().shorten_timeouts()
        self.flags(check_timeout=_PATIENCE, failover_timeout=_PATIENCE,
                   failback_timeout=_PATIENCE, group='vf_failover')

    def start_hosts(self, alpha: dict[str, typing.Any] | None = None,
                    beta: dict[str, typing.Any] | None = None) -> None:
        vfs = {'num_vfs': VFS}
        super().start_hosts(vfs, vfs)

    def _get_connection(self, host_info: typing.Any = None,
                        *arguments: typing.Any, **keywords: typing.Any,
                        ) -> typing.Any:
        large = fakelibvirt.HostInfo(
            cpu_nodes=2, cpu_sockets=2, cpu_cores=8, cpu_threads=2,
            kB_mem=64 * 1024 * 1024)
        return super()._get_connection(large, *arguments, **keywords)

    # -- what operators do ----------------------------------------------------

    def create(self, vlans: list[str | None], host: str) -> model.Server:
        """Boot a server with VF ports on these VLANs."""
        ports = [self.add_port(vlan) for vlan in vlans]
        return model.Server(self.boot(*ports, host=host)['id'], host, ports)

    def act(self, server: model.Server, act: Act) -> None:
        """Do something to a server.

        :raises Refused: Nova does not
        """
        try:
            act({'id': server.uuid})
        except client.OpenStackApiException as error:
            raise Refused(str(error)) from error

    def live_migrate(self, server: dict[str, typing.Any],
                     meanwhile: Act = lambda _: None) -> str:
        """How the migration ends.

        :param meanwhile: done while the memory is copied
        """
        world = self.hosts.world.migrations
        world.running.clear()
        world.proceed.clear()
        known = len(self.endings.of(server['id']))
        try:
            self.api.post_server_action(server['id'], {
                'os-migrateLive': {'host': None, 'block_migration': 'auto'}})
            self.until(lambda: world.running.is_set() or self._ended(
                server, known))
            if world.running.is_set():
                meanwhile(server)
        finally:
            world.proceed.set()
        self.until(lambda: self._ended(server, known))
        return self.endings.of(server['id'])[-1]

    def _ended(self, server: dict[str, typing.Any], known: int) -> bool:
        """Whether more migrations than were known have ended."""
        return (len(self.endings.of(server['id'])) > known
                and not self._busy(server))

    def _busy(self, server: dict[str, typing.Any]) -> bool:
        return objects.Instance.get_by_uuid(
            self.ctxt, server['id'], expected_attrs=[]).task_state is not None

    def migrations(self, server: dict[str, typing.Any],
                   ) -> list[dict[str, typing.Any]]:
        """Those of a server, the last one last."""
        return sorted(self.api.api_get(
            f'/os-migrations?instance_uuid={server["id"]}'
        ).body['migrations'], key=lambda each: each['id'])

    def cancel(self, server: dict[str, typing.Any]) -> None:
        """Abort the live migration that goes on."""
        known = len(self.endings.of(server['id']))
        self.api.delete_migration(
            server['id'], self.migrations(server)[-1]['id'])
        self.until(lambda: self._ended(server, known))

    def force(self, server: dict[str, typing.Any]) -> None:
        """Have Nova stop the guest so that its copy comes to an end."""
        self.api.force_complete_migration(
            server['id'], self.migrations(server)[-1]['id'])
        uuid = server['id']
        self.until(lambda: any(
            domain.info()[0] == fakelibvirt.VIR_DOMAIN_PAUSED
            for connection in self.hosts.world.connections.values()
            for domain in list(connection._vms.values())
            if domain.UUIDString() == uuid))

    def cold_migrate(self, server: dict[str, typing.Any],
                     confirm: bool) -> None:
        """Move a server that is off meanwhile, or move it and back."""
        self._migrate_server(server)
        if confirm:
            self._confirm_resize(server)
        else:
            self.api.post_server_action(server['id'], {'revertResize': None})
            self._wait_for_state_change(server, model.ACTIVE)
            self._wait_for_migration_status(server, ['reverted'])
        self.until(lambda: not self._busy(server))

    def evacuate(self, server: dict[str, typing.Any], host: str) -> None:
        """Have a server start anew elsewhere: its host is taken for dead."""
        service = self.computes[host]
        service.stop()
        # Nova asks for a host that is off: the guest has gone with it.
        self.domain(host, server).destroy()
        self.api.put_service(service.service_ref.uuid, {'forced_down': True})
        try:
            self._evacuate_server(server)
        finally:
            # It gives up what has left it before it may be up again.
            self.restart_host(host)
            self.api.put_service(
                service.service_ref.uuid, {'forced_down': False})
        self._start_server(server)

    def ask_evacuation(self, server: dict[str, typing.Any]) -> None:
        self.api.post_server_action(server['id'], {'evacuate': {}})

    def unshelve(self, server: dict[str, typing.Any]) -> None:
        """Have a server start anew wherever there is room."""
        self._unshelve_server(server)

    def pause(self, server: dict[str, typing.Any]) -> None:
        self.api.post_server_action(server['id'], {'pause': None})
        self._wait_for_state_change(server, model.PAUSED)

    def unpause(self, server: dict[str, typing.Any]) -> None:
        self.api.post_server_action(server['id'], {'unpause': None})
        self._wait_for_state_change(server, model.ACTIVE)

    # -- what happens ---------------------------------------------------------

    def lose_free_vf(self, host: str) -> None:
        """Take a VF away that nobody has."""
        self.hosts.lose_vf(host, self._vfs(
            host, fields.PciDeviceStatus.AVAILABLE)[-1])

    def lose_claimed_vf(self, host: str) -> None:
        """Take a VF away that is claimed for a server on its way."""
        self.hosts.lose_vf(host, self._vfs(
            host, fields.PciDeviceStatus.CLAIMED)[0])

    def _vfs(self, host: str, status: str) -> list[str]:
        return [device.address for device
                in self.computes[host].manager.rt.pci_tracker.pci_devs
                if device.status == status and device.dev_type == 'type-VF'
                and device.address in self.hosts.planes[host].vfs]

    @contextlib.contextmanager
    def vfs_kept(self) -> typing.Iterator[None]:
        """Guests do not answer meanwhile when they are asked for a VF."""
        releases = self.hosts.world.releases
        releases['hostdev'] = hypervisor.IGNORES
        try:
            yield
        finally:
            del releases['hostdev']

    def reset_guest(self, server: model.Server) -> None:
        """A guest starts anew of its own accord."""
        self.domain(str(server.host), {'id': server.uuid}).reset()

    def set_mood(self, server: model.Server, mood: paper_agent.Mood) -> None:
        """Have the agent of a guest behave like that from now on."""
        self.hosts.agents[server.uuid].mood = mood

    def wait_long(self) -> None:
        """Time goes by, and recovery tries everybody once more."""
        for _ in range(LOOKS):
            self.clock.forward(_LONG)
            self.look()

    def left_away(self, servers: list[model.Server]) -> list[str]:
        """Who of these is degraded even when recovery has had its time."""
        if any(map(self.degraded, servers)):
            self.wait_long()
        return [f'its agent works, and recovery leaves {away} of {server} '
                'on standbys' for server in servers
                if (away := self.degraded(server))]

    # -- what is there --------------------------------------------------------

    def host(self, server: model.Server) -> str | None:
        shown = self.api.get_server(server.uuid)
        host = shown['OS-EXT-SRV-ATTR:host']
        return None if host is None else str(host)

    def wrong(self, servers: list[model.Server]) -> list[str]:
        """What is not as the model has it."""
        there = [server for server in servers if server.host]
        found = [str(violation) for violation
                 in self.invariants.at_rest(map(_shown, there))]
        for server in servers:
            shown = self.api.get_server(server.uuid)
            is_ = (shown['status'], shown['OS-EXT-SRV-ATTR:host'])
            if is_ != (server.status, server.host):
                found.append(f'server {server.uuid} is {is_} and should be '
                             f'{(server.status, server.host)}')
            found += self._unbound(server) if not server.host else []
        return found

    def _unbound(self, server: model.Server) -> list[str]:
        """The ports of a shelved server that are bound all the same."""
        return [f'port {port["id"]} of a shelved server is bound to '
                f'{self.neutron.show_port(port["id"])["port"]}'
                for port in server.ports
                if self.neutron.show_port(port['id'])['port'].get(
                    'binding:host_id')]

    def degraded(self, server: model.Server) -> set[str]:
        return self.invariants.degraded(_shown(server))


def _shown(server: model.Server) -> invariants.Server:
    return invariants.Server.of(
        server.uuid, server.ports, server.status, server.since)


def _leave_disks(driver: nova_driver.LibvirtDriver, context: typing.Any,
                 instance: objects.Instance, dest: str, flavor: typing.Any,
                 network_info: typing.Any, *_: typing.Any,
                 **__: typing.Any) -> str:
    """All that Nova does to a guest that moves while it is off, but disks."""
    driver.power_off(instance, 0, 0)
    driver.unplug_vifs(instance, network_info)
    return '{}'


@contextlib.contextmanager
def running() -> typing.Iterator[StatefulCloud]:
    """A cloud outside of a test."""
    its = StatefulCloud.outside_of_a_test()
    try:
        its.setUp()
        yield its
    finally:
        its.doCleanups()
