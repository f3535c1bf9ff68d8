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

"""A cloud whose every call can go wrong, and whose processes can die."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import settings  # isort: skip

from collections.abc import Callable
import threading
import time
import typing

import fixtures
from nova import context as nova_context
from oslo_log import log as logging

from tests.faults import boundary
from tests.faults import points
from tests.faults import processes
from tests.faults import scenes
from tests.faults import watch
from tests.functional import base
from tests.functional import crashes

LOG = logging.getLogger(__name__)

# Seconds until a caller of the message bus gives up. Nobody takes that long
# here, but a machine that has other things to do may.
PATIENCE = 8
# Seconds that a call hangs. It ends with the caller's time-out, and what else
# goes on meanwhile is over by then.
HANG = 1.0
# Seconds for which a call waits for two looks meanwhile. Whoever makes it may
# hold a lock that these wait for; they go on when it is done then.
LONG_LOOKS = 3.0
# Of the periods in which recovery looks, as operators have it.
INTERVAL = 60


class Clock:
    """The time as recovery sees it; it can be put forward.

    It has what recovery and the journal use of the module ``time``.
    """

    def __init__(self, module: typing.Any) -> None:
        self._module = module
        self._ahead = 0.0

    def forward(self, seconds: float) -> None:
        self._ahead += seconds

    def time(self) -> float:
        return self._module.time() + self._ahead

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self._module, name)


class FaultyCloud(base.FailoverTestCase):
    """Two hosts whose calls pass a boundary.

    :ivar listener: told of each call
    """

    def setUp(self) -> None:
        self.listener: boundary.Listener = points.silent
        super().setUp()
        self.flags(rpc_response_timeout=PATIENCE,
                   long_rpc_timeout=2 * PATIENCE)
        # With the other policy a server whose agent does not answer is
        # migrated as Nova does, and has no network meanwhile.
        self.flags(policy='required', group='vf_failover')
        # It looks when the test has it look.
        self.flags(recovery_interval=INTERVAL, group='vf_failover')
        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.recovery.Recovery.start', lambda looks: None))
        # What has to be waited for has its own bounds.
        self.flags(http_retries=0, group='neutron')
        self.processes: dict[str, processes.Process] = {}
        self.duties = self.useFixture(processes.Processes())
        self.useFixture(boundary.Boundary(
            self.neutron, lambda *call: self.listener(*call)))
        self.clock = Clock(time)
        for module in ('attempt', 'recovery', 'journal'):
            self.useFixture(fixtures.MonkeyPatch(
                f'nova_vf_failover.{module}.time', self.clock))
        self.over = threading.Event()
        self.start_hosts()
        self.watch = self.useFixture(
            watch.Watch(self.invariants, self.hosts.world))

    # -- processes -----------------------------------------------------------

    def start_host(self, name: str, *arguments: typing.Any,
                   **keywords: typing.Any) -> None:
        self._start(name, lambda: super(FaultyCloud, self).start_host(
            name, *arguments, **keywords))

    def restart_host(self, name: str) -> None:
        self._start(name, lambda: super(FaultyCloud, self).restart_host(name))

    def _start(self, name: str, start: Callable[[], None]) -> None:
        process = processes.Process(name)
        with processes.running(process):
            start()
        self.processes[name] = process
        self.duties.adopt(self.computes[name].manager, process)

    def restart_dead(self) -> None:
        """Start anew every process that was killed."""
        for name, process in self.processes.items():
            if process.died.is_set():
                self.restart_host(name)

    def come_to_rest(self, asking: threading.Thread, bound: float) -> bool:
        """Wait until nobody works any more; whoever died is started anew.

        :param asking: has asked for something, and is part of it
        :returns: whether that was so in time
        """
        until = time.monotonic() + bound
        while time.monotonic() < until:
            self.restart_dead()
            asking.join(0.02)
            if not asking.is_alive() and self.duties.duty.wait_until_done(
                    0.2) and not self._anybody_dead():
                return True
        return False

    def _anybody_dead(self) -> bool:
        return any(process.died.is_set()
                   for process in self.processes.values())

    # -- what happens with time ----------------------------------------------

    def look(self, audit: bool = True) -> None:
        """A period goes by: Nova's periodic task, and recovery's look.

        :param audit: whether Nova compares its resources with what there is;
            it takes longer than recovery does
        """
        self.clock.forward(INTERVAL)
        for name in list(self.computes):
            if audit:
                self._at_its_time(name, self._audit)
            if self.PLUGIN:
                self._at_its_time(name, self.recover)

    def let_time_pass(self) -> None:
        """Two periods go by in the middle of a call."""
        looking = threading.Thread(target=self._look_twice)
        looking.start()
        looking.join(LONG_LOOKS)

    def _look_twice(self) -> None:
        for _period in range(2):
            self.look()

    def _audit(self, name: str) -> None:
        self.computes[name].manager.update_available_resource(
            nova_context.get_admin_context())

    def _at_its_time(self, name: str, work: Callable[[str], None]) -> None:
        """What goes wrong in it is for the next period, where calls do so.

        Nova's periodic tasks and recovery's thread write it into the log, and
        so does this.

        :raises Exception: of the look, where no call fails
        """
        try:
            with processes.running(self.processes[name]):
                work(name)
        except crashes.Killed:
            self.restart_dead()
        except Exception:
            if self.listener is points.silent:
                raise
            LOG.exception('A look of %s has failed', name)
        self.restart_dead()


class SteeredCloud(FaultyCloud, settings.ExclusiveNics):
    """Its NICs have to be told where to deliver a MAC."""


class MetadataCloud(FaultyCloud, settings.MetadataGuests):
    """Its guests look at Nova's metadata service."""

    # Nobody waits for an answer that an earlier run has left in the cache.
    CACHED = 0
    METADATA_DELAY = 5

    def boot(self, *ports: dict[str, typing.Any],
             **keywords: typing.Any) -> dict[str, typing.Any]:
        server = super().boot(*ports, **keywords)
        self.speak()
        return server


_CLOUDS: dict[scenes.Scene, type[FaultyCloud]] = {
    scenes.Scene.STEERED: SteeredCloud,
    scenes.Scene.METADATA: MetadataCloud,
}


def of(scene: scenes.Scene) -> type[FaultyCloud]:
    """The cloud in which a scene is played."""
    return _CLOUDS.get(scene, FaultyCloud)
