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

"""Looks at servers at each moment at which something of theirs changes."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import invariants  # isort: skip

from collections.abc import Callable
import functools
import threading
import typing

import fixtures

from tests.simulation import hypervisor
from tests.simulation import paper
from tests.simulation import paper_agent
from tests.simulation import world as worlds

# Whatever of a host, a guest or a domain decides about its network.
_CHANGES = (
    (paper.PaperDataPlane, (
        'assign_vf', 'return_vf', 'plug_macvtap', 'connect_macvtap',
        'disconnect_macvtap', 'unplug_macvtap', 'set_vf_mac', 'renew_filter',
        'remove_link', 'add_vlan')),
    (paper_agent.PaperAgent, ('_check', '_apply')),
    (hypervisor.Domain, ('attachDeviceFlags', 'setMetadata')),
)


class Watch(fixtures.Fixture):
    """Asks for the network and the NICs of servers, all the time.

    A guest that stands still in a stop-and-copy has no network and is not
    asked, and neither are the others in that moment.

    :param asked: the invariants of the cloud
    :param world: its hypervisors
    """

    def __init__(self, asked: invariants.Invariants,
                 world: worlds.World) -> None:
        self._invariants = asked
        self._world = world
        self._servers: list[invariants.Server] = []
        self._found: dict[invariants.Violation, None] = {}
        self._lock = threading.RLock()
        self._stopped = threading.Event()

    def _setUp(self) -> None:
        self._observe_stops()
        for owner, names in _CHANGES:
            for name in names:
                self.useFixture(fixtures.MonkeyPatch(
                    f'{owner.__module__}.{owner.__name__}.{name}',
                    self._then_look(getattr(owner, name))))

    def begin(self, servers: list[invariants.Server]) -> None:
        """Watch these servers, and forget what was seen."""
        with self._lock:
            self._servers = list(servers)
            self._found = {}

    def end(self) -> list[invariants.Violation]:
        """What was seen since the begin, each once."""
        with self._lock:
            self._servers = []
            return list(self._found)

    def look(self) -> None:
        """Look now."""
        with self._lock:
            if self._stopped.is_set():
                return
            for server in self._servers:
                for violation in [*self._invariants.network(server),
                                  *self._invariants.one_nic(server)]:
                    self._found.setdefault(violation)

    def _observe_stops(self) -> None:
        before = self._world.migrations.observer

        def observer(step: str, phase: str) -> None:
            if (step, phase) == ('stop', 'start'):
                self._stopped.set()
            before(step, phase)
            if (step, phase) == ('stop', 'end'):
                self._stopped.clear()

        self._world.migrations.observer = observer
        self.addCleanup(setattr, self._world.migrations, 'observer', before)

    def _then_look(self, original: Callable[..., typing.Any],
                   ) -> Callable[..., typing.Any]:
        @functools.wraps(original)
        def looked(*arguments: typing.Any, **keywords: typing.Any,
                   ) -> typing.Any:
            try:
                return original(*arguments, **keywords)
            finally:
                self.look()
        return looked
