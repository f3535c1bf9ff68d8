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

"""Two hosts with many servers."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

from collections.abc import Callable
from concurrent import futures
import itertools
import queue
import typing

import fixtures
from nova.tests.fixtures import libvirt as fakelibvirt

from tests.functional import endings
from tests.functional import invariants
from tests.soak import departures
from tests.soak import labour
from tests.soak import locks
from tests.soak import timing

VFS = 2
# Servers on one VLAN, and so on one device of each host.
_SHARERS = 10
# Seconds in which nothing at all may happen.
_STANDSTILL = 120.0
# Seconds after which a thread that has nothing to do looks around. All
# services are in this one process: with the hundredth of a second that Nova's
# tests make of it, their hundreds of threads leave no time for anything else.
_IDLE = 2


class SoakError(Exception):
    """A migration has not ended as it should have."""


class SoakCloud(base.FailoverTestCase):
    """As many servers on the one host as on the other.

    :ivar servers: the servers, with the MACs of their ports
    """

    def prepare(self, count: int, limit: int,
                told: Callable[[str], None]) -> None:
        """Start the hosts and boot the servers.

        :param count: of servers
        :param limit: Nova's ``max_concurrent_live_migrations``
        :param told: is called when a server has booted
        """
        self.setUp()
        self.flags(max_concurrent_live_migrations=limit)
        self.useFixture(fixtures.MonkeyPatch(
            'futurist._thread.ThreadWorker.MAX_IDLE_FOR', _IDLE))
        self.flags(instances=-1, cores=-1, ram=-1, group='quota')
        # While all move, a host has its own VFs, and those claimed on it for
        # who comes; a server that is moved alone is one more.
        vfs = {'num_vfs': VFS * (count + 2), 'num_pfs': 1}
        self.start_hosts(alpha=vfs, beta=vfs)
        self.endings = self.useFixture(endings.Endings())
        self.locks = self.useFixture(locks.Locks())
        self.labour = self.useFixture(labour.Labour())
        self.departures = self.useFixture(departures.Departures())
        self.servers = []
        for number, host in zip(range(count),
                                itertools.cycle(['alpha', 'beta'])):
            ports = [self.add_port(str(100 + number // _SHARERS))
                     for _ in range(VFS)]
            server = self.boot(*ports, host=host)
            self.servers.append(invariants.Server.of(server['id'], ports))
            told(server['id'])

    def shorten_timeouts(self) -> None:
        """All guests answer, and may have to wait for their turn."""

    def _get_connection(self, host_info: typing.Any = None,
                        *arguments: typing.Any, **keywords: typing.Any,
                        ) -> typing.Any:
        large = fakelibvirt.HostInfo(
            cpu_nodes=2, cpu_sockets=2, cpu_cores=16, cpu_threads=2,
            kB_mem=256 * 1024 * 1024)
        return super()._get_connection(large, *arguments, **keywords)

    # -- moves ---------------------------------------------------------------

    def move(self, servers: list[invariants.Server],
             told: Callable[[int], None]) -> list[timing.Move]:
        """Live migrate servers to where they are not, all at once.

        :param told: is given the number of those that have arrived
        :returns: what the plugin has said about each
        :raises SoakError: one has not arrived, or is not as it must be
        """
        self.labour.take()
        heard = len(self.notifier.versioned_notifications)
        goals = {server.uuid: self._other(server) for server in servers}
        with futures.ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(self._ask, servers))
        self._await(goals, told)
        self._check(goals)
        moves = timing.moves(
            self.notifier.versioned_notifications[heard:],
            self.labour.take())
        unheard = goals.keys() - {move.server for move in moves}
        if unheard:
            # A failback that leaves a server on its standby tells of no end.
            raise SoakError('these have arrived, and nobody has heard of '
                            f'both halves: {sorted(unheard)}\n'
                            + self._errors())
        return moves

    def _other(self, server: invariants.Server) -> str:
        return {'alpha': 'beta', 'beta': 'alpha'}[
            self.invariants.where(server) or '']

    def _ask(self, server: invariants.Server) -> None:
        self.api.post_server_action(server.uuid, {
            'os-migrateLive': {'host': None, 'block_migration': 'auto'}})

    def _await(self, goals: dict[str, str],
               told: Callable[[int], None]) -> None:
        for arrived in range(len(goals)):
            told(arrived)
            try:
                self.endings.next(_STANDSTILL)
            except queue.Empty:
                raise SoakError(
                    f'{arrived} of {len(goals)} have arrived, none in the '
                    f'last {_STANDSTILL} s') from None
        told(len(goals))

    def _check(self, goals: dict[str, str]) -> None:
        for uuid, goal in goals.items():
            self._wait_for_state_change({'id': uuid}, 'ACTIVE')
        strayed = [server.uuid for server in self.servers
                   if server.uuid in goals
                   and self.invariants.where(server) != goals[server.uuid]]
        if strayed:
            raise SoakError(f'not where they should be: {strayed}\n'
                            + self._errors())
        degraded = [server.uuid for server in self.servers
                    if server.uuid in goals
                    and self.invariants.degraded(server)]
        if degraded:
            raise SoakError(f'not on their VFs again: {degraded}\n'
                            + self._errors())

    def _errors(self) -> str:
        """What the services have noted as errors."""
        return '\n'.join(
            line for line in self.stdlog.logger.output.splitlines()
            if ' ERROR ' in line or 'Error: ' in line)

    def look(self) -> list[invariants.Violation]:
        """What is not as it must be, with nobody on its way."""
        self._run_periodics()
        self._run_periodics()
        return self.invariants.at_rest(self.servers)
