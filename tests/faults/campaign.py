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

"""All faults at all points, and what came of them."""

import collections
from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
import fnmatch
import itertools
import statistics
import typing

from tests.faults import crew
from tests.faults import faults
from tests.faults import points
from tests.faults import scenes
from tests.faults import trial as trials
from tests.functional import invariants

Document = dict[str, typing.Any]
#: the results so far, what is done now, how much of it, of how much
Told = Callable[['Results', str, int, int], None]
#: the number of VFs, and what is done
Course = tuple[int, scenes.Scene]

# The kinds of calls that the plugin makes in the course of a move.
_OURS = (faults.LIBVIRT, faults.CHANNEL, faults.AGENT, faults.HOST,
         faults.LISTENER)


@dataclasses.dataclass
class Results:
    """What came of the runs so far.

    :ivar recorded: the points of each course
    :ivar plain: what came of runs without the plugin
    :ivar nova: the runs whose violations plain Nova has as well
    """

    recorded: dict[Course, list[points.Point]] = dataclasses.field(
        default_factory=dict)
    outcomes: list[trials.Outcome] = dataclasses.field(default_factory=list)
    plain: dict[trials.Key, trials.Outcome] = dataclasses.field(
        default_factory=dict)
    nova: list[trials.Outcome] = dataclasses.field(default_factory=list)
    unanswered: list[str] = dataclasses.field(default_factory=list)

    @classmethod
    def of(cls, document: Document) -> 'Results':
        """Those of an earlier campaign, to go on with.

        :param document: what was written of it
        :raises KeyError: it is of an older version, without the runs
        """
        outcomes = map(trials.from_document, document['outcomes'])
        plain = map(trials.from_document, document['plain'])
        return cls(outcomes=list(outcomes), plain={
            outcome.trial.key: outcome for outcome in plain})

    @property
    def violated(self) -> list[trials.Outcome]:
        """The runs with violations that are ours."""
        lost = [id(outcome) for outcome in self.nova]
        return [outcome for outcome in self.outcomes
                if outcome.violations and id(outcome) not in lost]

    @property
    def missed(self) -> list[trials.Outcome]:
        """The runs that did not come by their point."""
        return [outcome for outcome in self.outcomes if not outcome.hit]

    def document(self) -> Document:
        """What ``--json`` writes."""
        times = [outcome.recovery_s for outcome in self.outcomes
                 if outcome.recovery_s is not None]
        ended = collections.Counter(
            outcome.ended for outcome in self.outcomes)
        lost = collections.Counter(outcome.ended for outcome in self.nova)
        return {
            'points': len({(scene, point)
                           for (_vfs, scene), found in self.recorded.items()
                           for point in found}),
            'faults': len({outcome.trial.fault for outcome in self.outcomes}),
            'runs': len(self.outcomes),
            'violations': [_shown(outcome) for outcome in self.violated],
            'no_network': sum(
                any(violation.invariant == invariants.NETWORK
                    for violation in outcome.violations)
                for outcome in self.outcomes),
            'ended': {name: ended[name] for name in (
                trials.PRIMARY, trials.STANDBY, trials.UNDONE)},
            'recovered': len(times),
            'recovery_s': {
                'median': round(statistics.median(times), 1),
                'max': round(max(times), 1)} if times else {
                    'median': None, 'max': None},
            'nova': [_shown(outcome) for outcome in self.nova],
            'nova_ended': dict(lost),
            'missed': [str(outcome.trial) for outcome in self.missed],
            'unanswered': self.unanswered,
            'by_kind': self._table(
                lambda trial: f'{trial.scene.value}: '
                f'{trial.point and trial.point.role} '
                f'{trial.point and trial.point.kind}'),
            'by_fault': self._table(
                lambda trial: f'{trial.scene.value}: '
                f'{trial.fault and trial.fault.value}'),
            'seconds_a_run': round(statistics.mean(
                [outcome.seconds for outcome in self.outcomes] or [0]), 2),
            'outcomes': list(map(trials.as_document, self.outcomes)),
            'plain': list(map(trials.as_document, self.plain.values())),
        }

    def _table(self, name: Callable[[trials.Trial], str],
               ) -> dict[str, dict[str, int]]:
        """What came of them, a row for all that have one name."""
        table: dict[str, dict[str, int]] = {}
        for outcome in self.outcomes:
            row = table.setdefault(
                name(outcome.trial), collections.Counter())
            row['runs'] += 1
            row[outcome.ended] += 1
            row['recovered'] += outcome.recovery_s is not None
            row['violations'] += outcome in self.violated
            row['nova'] += any(outcome is lost for lost in self.nova)
        return {its: dict(row) for its, row in sorted(table.items())}


def _shown(outcome: trials.Outcome) -> Document:
    return {'run': str(outcome.trial), 'ended': outcome.ended,
            'violations': [str(violation)
                           for violation in outcome.violations]}


class Campaign:
    """Plans the runs and has a crew do them.

    :param acted: the scenes that are played
    :param only: patterns of the names of points, all if there are none
    :param tried: the faults that are
    :param told: called after each run
    :param reduced: whether each point has one fault only, see
        :func:`reduced`
    :param results: of an earlier campaign, to go on with
    """

    def __init__(self, workers: crew.Crew, vfs: Iterable[int],
                 acted: Iterable[scenes.Scene], only: Iterable[str],
                 tried: Iterable[faults.Fault],
                 told: Told,
                 reduced: bool = False,
                 results: Results | None = None) -> None:
        self._workers = workers
        self._courses = list(itertools.product(vfs, acted))
        self._only = list(only)
        self._tried = set(tried)
        self._told = told
        self._reduced = reduced
        self.results = results or Results()

    def run(self) -> Results:
        """All of it: recorded, tried, and compared with plain Nova."""
        self._record()
        plan = self.plan()
        planned = len(self.results.outcomes) + len(plan)
        self._workers.work(plan, lambda piece, answer: self._note(
            piece, answer, planned))
        self._compare()
        return self.results

    def plan(self) -> list[Document]:
        """What is tried and was not yet, in the order of the points."""
        done = {outcome.trial.key for outcome in self.results.outcomes}
        recorded = {course: self.results.recorded[course]
                    for course in self._courses}
        planned = reduced(recorded) if self._reduced else [
            trials.Trial(vfs, point, fault, scene)
            for (vfs, scene), found in recorded.items() for point in found
            for fault in point.faults()]
        return [_asked(trial.key) for trial in planned
                if self._chosen(trial) and trial.key not in done]

    def _chosen(self, trial: trials.Trial) -> bool:
        return trial.fault in self._tried and (not self._only or any(
            fnmatch.fnmatchcase(str(trial.point), pattern)
            for pattern in self._only))

    def _record(self) -> None:
        def note(piece: Document, answer: Document | None) -> None:
            if answer is None:
                raise RuntimeError(
                    f'{piece["scene"]}: it fails without another fault')
            course = piece['vfs'], scenes.Scene(piece['scene'])
            self.results.recorded[course] = [
                points.Point.parse(name) for name in answer['points']]
        # Violations of an earlier campaign are compared as well, with
        # whatever number of VFs it was told.
        earlier = [(outcome.trial.vfs, outcome.trial.scene)
                   for outcome in self.results.violated]
        self._workers.work([
            {'vfs': vfs, 'scene': scene.value, 'plugin': True}
            for vfs, scene in dict.fromkeys([*self._courses, *earlier])],
            note)

    def _note(self, piece: Document, answer: Document | None,
              planned: int) -> None:
        if answer is None:
            self.results.unanswered.append(
                f'{piece["vfs"]} VF(s), {piece["scene"]}, {piece["point"]}, '
                f'{piece["fault"]}')
        else:
            self.results.outcomes.append(trials.from_document(answer))
        self._told(self.results, 'run', len(self.results.outcomes)
                   + len(self.results.unanswered), planned)

    def _compare(self) -> None:
        """Try with plain Nova what has violations.

        What it loses by itself, with the same fault at the same call, is
        Nova's: the plugin is not there. Recovery is only the plugin's.
        """
        recorded = self.results.recorded
        plain: dict[int, set[points.Point]] = {}

        def record(piece: Document, answer: Document | None) -> None:
            plain[piece['vfs']] = {
                points.Point.parse(name)
                for name in (answer or {'points': []})['points']}

        suspects: dict[trials.Key, list[trials.Outcome]] = {}

        def note(piece: Document, answer: Document | None) -> None:
            key = (piece['vfs'], piece['scene'], piece['point'],
                   piece['fault'])
            asked.append(key)
            if answer:
                self.results.plain[key] = trials.from_document(answer)
                judge(key)
            self._told(self.results, 'compared with plain Nova', len(asked),
                       len(new))

        def judge(key: trials.Key) -> None:
            self.results.nova += [
                ours for ours in suspects[key]
                if covers(self.results.plain[key], ours)]

        move = scenes.Scene.MOVE
        found = [outcome for outcome in self.results.violated
                 if outcome.hit and outcome.trial.scene.accident is None]
        self._workers.work(
            [{'vfs': vfs, 'scene': move.value, 'plugin': False}
             for vfs in sorted({outcome.trial.vfs for outcome in found})],
            record)
        for outcome in found:
            vfs = outcome.trial.vfs
            same = equivalent(outcome.trial, recorded[
                vfs, outcome.trial.scene], plain[vfs])
            if same:
                suspects.setdefault(same, []).append(outcome)
        for key in suspects.keys() & self.results.plain.keys():
            judge(key)
        asked: list[trials.Key] = []
        new = [key for key in suspects if key not in self.results.plain]
        self._workers.work([_asked(key, plugin=False) for key in new], note)


def _asked(key: trials.Key, plugin: bool = True) -> Document:
    vfs, scene, point, fault = key
    return {'vfs': vfs, 'scene': scene, 'plugin': plugin, 'point': point,
            'fault': fault}


def reduced(
    recorded: dict[Course, list[points.Point]],
) -> list[trials.Trial]:
    """A part that is worth its time: what the plugin itself does.

    In the first course every third call to a host, a guest or a domain that
    changes something has one fault, each time the next one of them; in the
    others every tenth of those calls has one. Left out is the end of a source
    that the guest has left already: Nova loses such a server.
    """
    chosen = []
    for turn, ((vfs, scene), found) in enumerate(recorded.items()):
        acts = [point for point in found if not point.reads
                and point.kind in _OURS]
        left = next((number for number, point in enumerate(acts)
                     if point.call == 'migrateToURI3'), len(acts))
        for number, point in enumerate(acts):
            place, rest = divmod(number, 10 if turn else 3)
            if rest:
                continue
            options = [fault for fault in point.faults() if not (
                fault.kills and point.role == points.SOURCE
                and number >= left)]
            chosen.append(trials.Trial(vfs, point, options[
                (place + turn) % len(options)], scene))
    return chosen


def equivalent(
    trial: trials.Trial, recorded: list[points.Point],
    plain: set[points.Point],
) -> trials.Key | None:
    """The same fault for plain Nova, or nothing where there is none.

    Plain Nova has one cloud: it neither steers nor tells a guest anything.

    A nova-compute that is killed at a call of the plugin's own is one that
    is killed before the next call that Nova makes by itself.
    """
    assert trial.point and trial.fault
    if trial.point in plain:
        return dataclasses.replace(trial, scene=scenes.Scene.MOVE).key
    if not trial.fault.kills or trial.point.kind == faults.AGENT:
        return None
    if trial.point not in recorded:
        # It depends on how long something takes, or on an earlier code.
        return None
    for point in recorded[recorded.index(trial.point):]:
        if point.role == trial.point.role and point in plain:
            return trials.Trial(
                trial.vfs, point, faults.Fault.KILLED_BEFORE).key
    return None


def covers(plain: trials.Outcome, ours: trials.Outcome) -> bool:
    """Whether plain Nova has violated all that we have.

    A server that Nova has lost for its host cannot be brought back there.
    That a guest is without its network is never excused.
    """
    if not plain.hit or any(violation.invariant == invariants.NETWORK
                            for violation in ours.violations):
        return False
    theirs = set(plain.violations)
    lost = any(violation.invariant == invariants.AGREEMENT
               and 'Nova has it on' in violation.text
               for violation in theirs)
    return all(violation in theirs
               or (lost and violation.text == trials.NOT_BACK)
               for violation in ours.violations)
