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

"""What there should be of a cloud: hosts with VFs, and servers on them."""

import dataclasses
import typing

HOSTS = ('alpha', 'beta')

MOST_SERVERS = 3
MOST_PORTS = 3
# So that there is always one for who is moved.
FEWEST_VFS = 6

ACTIVE, PAUSED, SHELVED = 'ACTIVE', 'PAUSED', 'SHELVED_OFFLOADED'

#: in which states of a server Nova does something with it
#: (nova/compute/api.py, ``check_instance_state``)
ALLOWED = {
    'live migrate': {ACTIVE, PAUSED},
    'soft reboot': {ACTIVE},
    'hard reboot': {ACTIVE, PAUSED},
    'pause': {ACTIVE},
    'unpause': {PAUSED},
    'attach': {ACTIVE, PAUSED},
    'detach': {ACTIVE, PAUSED},
    'cold migrate': {ACTIVE},
    'evacuate': {ACTIVE},
    'shelve': {ACTIVE, PAUSED},
    'unshelve': {SHELVED},
    'delete': {ACTIVE, PAUSED, SHELVED},
}


@dataclasses.dataclass
class Server:
    """A server as it should be.

    :ivar host: where it is; nothing once it is shelved
    :ivar ports: its VF ports as Neutron had them when they were made
    :ivar well: whether the agent in its guest works
    :ivar since: its last migration before it was shelved
    """

    uuid: str
    host: str | None
    ports: list[dict[str, typing.Any]]
    status: str = ACTIVE
    well: bool = True
    since: int = 0

    def may(self, act: str) -> bool:
        """Whether Nova does this with a server in its state."""
        return self.status in ALLOWED[act]


class Model:
    """All servers and hosts.

    :param vfs: of each host
    :ivar stale: hosts that have lost VFs of which Nova does not know
    """

    def __init__(self, vfs: int) -> None:
        self.servers: list[Server] = []
        self.vfs = dict.fromkeys(HOSTS, vfs)
        self.stale: set[str] = set()

    def lose_vf(self, host: str) -> None:
        self.vfs[host] -= 1
        self.stale.add(host)

    def free(self, host: str) -> int:
        """The VFs of a host that no server has."""
        return self.vfs[host] - sum(
            len(server.ports) for server in self.servers
            if server.host == host)

    def mendable(self) -> list[Server]:
        """Servers that are not to stay degraded: their guests run and work.

        Where a host has lost more VFs than it had to spare somebody has to.
        """
        return [server for server in self.servers
                if server.well and server.status == ACTIVE
                and self.free(str(server.host)) >= 0]

    def roomy(self, wanted: int) -> list[str]:
        """The hosts with so many free VFs."""
        return [host for host in HOSTS if self.free(host) >= wanted]


def other(host: str | None) -> str:
    """The host that this one is not."""
    return HOSTS[HOSTS.index(host or HOSTS[0]) ^ 1]
