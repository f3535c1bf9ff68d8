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

"""One live migration with one fault, from its begin to its recovery."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.faults import cloud as clouds  # isort: skip

import dataclasses
import re
import threading
import time
import typing

from nova.tests.functional.api import client

from tests.faults import faults
from tests.faults import points
from tests.faults import scenes
from tests.functional import invariants

# Seconds until a migration, with all that it waits for, has to be over.
LONGEST = 120.0
# Looks of recovery after which a server has to be well; one that fails is
# not followed by another one at once.
MOST_LOOKS = 6
MOST_LOOKS_THAT_FAIL = 12
# Migrations after which a cloud is made anew, for its log grows.
MOST_MIGRATIONS = 40

# What differs from run to run: PCI addresses, numbers of migrations.
_PASSING = re.compile(r'[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]'
                      r'|(?<=migration )\d+')

IN_ERROR = "it is ('ERROR', None) although its guest runs"
ON_ITS_WAY = "it is ('MIGRATING', 'migrating') although its guest runs"
NOT_BACK = 'its ports are not back on their VFs'

# Where a run ended, before recovery.
PRIMARY, STANDBY, UNDONE, ELSEWHERE = (
    'primary', 'standby', 'undone', 'elsewhere')


#: the number of VFs, the scene, the name of the point, the fault
Key = tuple[int, str, str, str]


@dataclasses.dataclass(frozen=True)
class Trial:
    """What is tried.

    :ivar point: none for a run without a fault
    """

    vfs: int
    point: points.Point | None = None
    fault: faults.Fault | None = None
    scene: scenes.Scene = scenes.Scene.MOVE

    def __str__(self) -> str:
        where = '' if self.scene is scenes.Scene.MOVE else (
            f'{self.scene.value}, ')
        return (f'{self.vfs} VF(s), {where}{self.point}, '
                f'{self.fault and self.fault.value}')

    @property
    def key(self) -> Key:
        """What it is told from others by, as a worker is told of it."""
        return (self.vfs, self.scene.value, str(self.point),
                self.fault.value if self.fault else '')


@dataclasses.dataclass
class Outcome:
    """What came of it.

    :ivar hit: whether the point was come by
    :ivar ended: on the VF of the destination, on the standby, undone on the
        source, or elsewhere; before recovery
    :ivar recovery_s: how long after the migration a server that was not on
        its VFs was back on them, by the cloud's clock; None if it never was
    :ivar violations: what was not as it must be
    :ivar seconds: how long the run took
    """

    trial: Trial
    hit: bool = False
    ended: str = ELSEWHERE
    recovery_s: float | None = None
    violations: list[invariants.Violation] = dataclasses.field(
        default_factory=list)
    seconds: float = 0.0


class Stage:
    """A cloud with one server that is migrated to and fro.

    It is made anew when a run has left it in another state than before.

    :param vfs: the number of the server's ports
    :param plugin: False for plain Nova
    :param kind: which cloud it is
    """

    def __init__(
        self, vfs: int, plugin: bool = True,
        kind: type[clouds.FaultyCloud] = clouds.FaultyCloud,
    ) -> None:
        self._vfs = vfs
        self._plugin = plugin
        self._kind = kind
        self._cloud: clouds.FaultyCloud | None = None
        self._migrations = 0
        # When its ports were on their VFs, by the cloud's clock.
        self._back: float | None = None

    def close(self) -> None:
        """Take the cloud down."""
        if self._cloud:
            cloud, self._cloud = self._cloud, None
            cloud.over.set()
            cloud.doCleanups()

    def record(self, scene: scenes.Scene = scenes.Scene.MOVE,
               ) -> list[points.Point]:
        """The points of a scene, as it has them both of two times.

        What depends on how long something takes is not among them.

        :raises RuntimeError: it has not worked; there would be few points,
            or none, and nothing wrong at them
        """
        first, second = [self._record(scene) for _time in range(2)]
        again = set(second)
        return [point for point in first if point in again]

    def play(self, trial: Trial) -> Outcome:
        """Migrate the server once, with a fault in that or in recovery."""
        began = time.monotonic()
        outcome = Outcome(trial)
        cloud = self._ready()
        moving, recovering = self._scripts(trial)
        cloud.watch.begin([self._server] if self._plugin else [])
        destination = self._other(cloud.invariants.where(self._server))
        over = self._migrate(moving, destination)
        degraded = cloud.invariants.degraded(self._server)
        outcome.ended = self._ended(destination, degraded)
        left, self._back = cloud.clock.time(), None
        found = self._recover(recovering)
        outcome.hit = all(script.complete for script in (moving, recovering)
                          if script)
        if degraded and self._back is not None:
            outcome.recovery_s = self._back - left
        if not over:
            found.append(invariants.Violation(
                invariants.LEAKS, self._server.uuid,
                f'it is not over after {LONGEST} s'))
        found = self._without_its_task(found)
        outcome.violations = self._comparable(
            [*cloud.watch.end(), *found], destination)
        outcome.seconds = time.monotonic() - began
        if not outcome.hit or not self._mend(outcome.violations):
            self.close()
        return outcome

    def _without_its_task(self, found: list[invariants.Violation],
                          ) -> list[invariants.Violation]:
        """What is left where an operator ends what Nova goes on with for good.

        As long as Nova has a server on its way nothing of it is removed.

        :param found: what is not well
        """
        endless = [violation for violation in found
                   if violation.text == ON_ITS_WAY]
        if not endless:
            return found
        self._reset_state()
        return [*endless, *self._recover(None)]

    def _reset_state(self) -> None:
        assert self._cloud
        self._cloud.api.post_server_action(self._server.uuid, {
            'os-resetState': {'state': 'active'}})

    def _mend(self, found: list[invariants.Violation]) -> bool:
        """Do what an operator does with a server that is well but in ERROR.

        :returns: whether the cloud can be used for the next run
        """
        if [violation.text for violation in found] == [IN_ERROR]:
            self._reset_state()
            return True
        return not found

    # -- the cloud -----------------------------------------------------------

    def _ready(self) -> clouds.FaultyCloud:
        if self._migrations >= MOST_MIGRATIONS:
            self.close()
        if self._cloud is None:
            self._open()
        self._migrations += 1
        assert self._cloud
        return self._cloud

    def _open(self) -> None:
        cloud = self._cloud = self._kind.outside_of_a_test()
        cloud.PLUGIN = self._plugin
        cloud.setUp()
        ports = [cloud.add_port(str(42 + number))
                 for number in range(self._vfs)]
        server = cloud.boot(*ports)
        self._server = invariants.Server.of(server['id'], ports)
        self._migrations = 0
        # The first one asks for things that are remembered afterwards.
        self._migrate(self._script(), 'beta')

    # -- a migration ---------------------------------------------------------

    def _record(self, scene: scenes.Scene) -> list[points.Point]:
        cloud = self._ready()
        moving, recovering = self._scripts(
            Trial(self._vfs, scene=scene))
        destination = self._other(cloud.invariants.where(self._server))
        over = self._migrate(moving, destination)
        # Plain Nova knows nothing of ports that are to be on VFs again.
        degraded = cloud.invariants.degraded(self._server)
        ended = self._ended(destination, degraded)
        wrong = self._recover(recovering) if self._plugin else []
        if not over or ended != (STANDBY if recovering else PRIMARY) or wrong:
            raise RuntimeError(
                f'{scene.value}: the migration is '
                f'{"" if over else "not "}over and has ended: {ended}; '
                + '; '.join(map(str, wrong)))
        return (recovering or moving).recorded

    def _scripts(self, trial: Trial,
                 ) -> tuple[points.Script, points.Script | None]:
        """For the migration, and for recovery where the scene is there."""
        spoilt = trial.point, trial.fault
        if trial.scene.accident is None:
            return self._script(*spoilt), None
        return self._script(*trial.scene.accident), self._script(*spoilt)

    def _script(self, point: points.Point | None = None,
                fault: faults.Fault | None = None) -> points.Script:
        assert self._cloud
        return points.Script(
            self._cloud.invariants.where(self._server) or '',
            faults.Calls(clouds.HANG, self._cloud.over,
                         self._cloud.let_time_pass), point, fault)

    def _migrate(self, script: points.Script, destination: str) -> bool:
        """:returns: whether everything that came of it is over"""
        cloud = self._cloud
        assert cloud
        cloud.listener = script
        try:
            asking = threading.Thread(
                target=self._ask_for_it, args=(destination,))
            asking.start()
            over = cloud.come_to_rest(asking, LONGEST)
        finally:
            cloud.listener = points.silent
        return over

    def _ask_for_it(self, destination: str) -> None:
        assert self._cloud
        try:
            self._cloud.api.post_server_action(self._server.uuid, {
                'os-migrateLive': {'host': destination,
                                   'block_migration': 'auto'}})
        except client.OpenStackApiException:
            # The harness makes the API wait for the conductor, whose errors
            # become the answer; they are in the server's migration as well.
            return

    def _recover(self, script: points.Script | None,
                 ) -> list[invariants.Violation]:
        """Let time go by until all is well.

        :param script: listens to the calls that are made for it
        :returns: what is not well even then
        """
        for _look in range(MOST_LOOKS_THAT_FAIL if script else MOST_LOOKS):
            found = self._not_well()
            if not found:
                return []
            self._look(script)
        return self._not_well()

    def _look(self, script: points.Script | None) -> None:
        assert self._cloud
        self._cloud.listener = script or points.silent
        try:
            self._cloud.look()
        finally:
            self._cloud.listener = points.silent
        # Something else may not be well, and looked at for longer.
        if self._cloud.invariants.degraded(self._server):
            self._back = None
        elif self._back is None:
            self._back = self._cloud.clock.time()

    def _not_well(self) -> list[invariants.Violation]:
        assert self._cloud
        found = self._cloud.invariants.at_rest([self._server])
        away = self._cloud.invariants.degraded(self._server)
        if away:
            found.append(invariants.Violation(
                invariants.AGREEMENT, self._server.uuid,
                NOT_BACK))
        return found

    def _comparable(self, found: list[invariants.Violation],
                    destination: str) -> list[invariants.Violation]:
        """The same text for the same thing, whichever run has seen it."""
        names = {self._server.uuid: 'the server', destination: 'destination',
                 self._other(destination): 'source'}
        for number, port in enumerate(self._server.macs, 1):
            names[port] = f'{number}'
            names[self._server.macs[port]] = f'MAC {number}'

        def told(text: str) -> str:
            for name, role in names.items():
                text = text.replace(name, role)
            return _PASSING.sub('#', text)

        return list(dict.fromkeys(
            invariants.Violation(violation.invariant, told(violation.subject),
                                 told(violation.text))
            for violation in found))

    def _ended(self, destination: str, degraded: set[str]) -> str:
        assert self._cloud
        host = self._cloud.invariants.where(self._server)
        if host is None:
            return ELSEWHERE
        if degraded:
            return STANDBY
        return PRIMARY if host == destination else UNDONE

    @staticmethod
    def _other(host: str | None) -> str:
        return {'alpha': 'beta', 'beta': 'alpha'}[host or 'beta']


def as_document(outcome: Outcome) -> dict[str, typing.Any]:
    """What a worker tells about a run."""
    trial = outcome.trial
    return {
        'vfs': trial.vfs, 'scene': trial.scene.value,
        'point': str(trial.point),
        'fault': trial.fault and trial.fault.value, 'hit': outcome.hit,
        'ended': outcome.ended, 'recovery_s': outcome.recovery_s,
        'seconds': round(outcome.seconds, 2),
        'violations': [dataclasses.asdict(violation)
                       for violation in outcome.violations]}


def from_document(document: dict[str, typing.Any]) -> Outcome:
    """The reverse of :func:`as_document`."""
    return Outcome(
        Trial(document['vfs'], points.Point.parse(document['point']),
              faults.Fault(document['fault']),
              scenes.Scene(document['scene'])),
        document['hit'], document['ended'], document['recovery_s'],
        [invariants.Violation(**violation)
         for violation in document['violations']], document['seconds'])
