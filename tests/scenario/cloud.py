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

"""What the scenario asks of a cloud, by openstacksdk."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import time
import typing

import openstack

NAME = 'vf-failover-scenario'
_PAUSE = 1.0

Server: typing.TypeAlias = typing.Any
Port: typing.TypeAlias = typing.Any


class Unexpected(Exception):
    """The cloud has done something else; the message says what."""


class Cloud:
    """A cloud of which the user is an administrator.

    :param connection: to it
    :param timeout: seconds that a server may take to start or to move
    """

    def __init__(self, connection: openstack.connection.Connection,
                 timeout: float) -> None:
        self._connection = connection
        self._compute = connection.compute
        self._timeout = timeout

    @contextlib.contextmanager
    def port(self, network: str) -> Iterator[Port]:
        """A port on a VF of this network, removed in the end."""
        found = self._connection.network.find_network(
            network, ignore_missing=False)
        port = self._connection.network.create_port(
            network_id=found.id, name=NAME, binding_vnic_type='direct')
        try:
            yield port
        finally:
            self._connection.network.delete_port(port, ignore_missing=True)

    @contextlib.contextmanager
    def server(self, port: Port, image: str, flavor: str,
               host: str | None) -> Iterator[Server]:
        """A server on this port that runs, removed in the end."""
        wanted: dict[str, typing.Any] = {'host': host} if host else {}
        server = self._compute.create_server(
            name=NAME, networks=[{'port': port.id}],
            image_id=self._connection.image.find_image(
                image, ignore_missing=False).id,
            flavor_id=self._compute.find_flavor(
                flavor, ignore_missing=False).id, **wanted)
        try:
            yield self._compute.wait_for_server(
                server, wait=self._timeout)
        finally:
            self._compute.delete_server(server)
            self._compute.wait_for_delete(server, wait=self._timeout)

    def migrate(self, server: Server, host: str | None) -> Server:
        """Live migrate and wait until it is over.

        :returns: the server as it is then
        :raises Unexpected: it did not come to another host
        """
        left = server.compute_host
        self._compute.live_migrate_server(server, host=host,
                                          block_migration='auto')
        until = time.monotonic() + self._timeout
        # It is ACTIVE all the time, and has a task for as long as it moves.
        while time.monotonic() < until:
            server = self._compute.get_server(server.id)
            status = self._migration_status(server)
            if status in ('error', 'failed', 'cancelled'):
                raise Unexpected(
                    f'The live migration is "{status}": see "openstack '
                    f'server event list {server.id}".')
            if status == 'completed' and not server.task_state:
                break
            time.sleep(_PAUSE)
        if server.status != 'ACTIVE' or server.compute_host == left:
            raise Unexpected(
                f'After {self._timeout:g} s the server is {server.status} on '
                f'{server.compute_host}.')
        return server

    def _migration_status(self, server: Server) -> str:
        """How the newest migration of a server stands."""
        newest = max(
            self._compute.migrations(server_id=server.id),
            key=lambda migration: migration.id, default=None)
        return newest.status if newest else ''

    def events(self, server: Server) -> dict[str, str]:
        """The results of the events of the server's live migration."""
        request = next(
            action.request_id for action
            in self._compute.server_actions(server)
            if action.action == 'live-migration')
        action = self._compute.get_server_action(request, server)
        return {event['event']: event['result'] for event in action.events}
