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


"""What a move did to the traffic: the arithmetic of gaps.

Times are seconds of the clock of the machine that runs the lab. A gap is a
time in which nothing got through, and longer than a threshold: datagrams are
sent every 10 ms, by a guest whose processor is emulated.
"""

import array
from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import itertools
import statistics

THRESHOLD = 0.040
PHASES = ('failover', 'copy', 'failback')

Phases = dict[str, tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Gap:
    """A time in which nothing got through.

    :ivar idle: how long nothing was sent in it, by the clock of the guest,
        which stands still with it
    """

    start: float
    end: float
    idle: float = 0.0

    def within(self, start: float, end: float) -> float:
        """How much of it lies in a span of time."""
        return max(0.0, min(self.end, end) - max(self.start, start))


@dataclasses.dataclass(frozen=True)
class Way:
    """What happened to the datagrams of one direction.

    :ivar moments: when each number that got through did, in order
    :ivar missing: for each number between the first and the last that did
        not, when the next one did
    :ivar again: when each that came once more did
    """

    moments: Sequence[float]
    gaps: Sequence[Gap]
    missing: Sequence[float]
    again: Sequence[float]

    def since(self, moment: float) -> 'Way':
        """What happened from a moment on, and a gap that reaches beyond it
        as a whole.
        """
        return Way([at for at in self.moments if at >= moment],
                   [gap for gap in self.gaps if gap.end > moment],
                   [at for at in self.missing if at >= moment],
                   [at for at in self.again if at >= moment])

    @property
    def lost(self) -> int:
        """How many did not get through."""
        return len(self.missing)

    @property
    def duplicated(self) -> int:
        """How many came once more."""
        return len(self.again)

    def duplicated_within(self, start: float, end: float) -> int:
        return sum(start <= at < end for at in self.again)

    def interruption(self, start: float, end: float) -> float:
        """The sum of the gaps, as far as they lie in a span of time."""
        return sum(gap.within(start, end) for gap in self.gaps)

    def longest(self, start: float, end: float) -> float:
        """The longest gap, as far as it lies in a span of time."""
        return max((gap.within(start, end) for gap in self.gaps),
                   default=0.0)

    @property
    def idle(self) -> float:
        return sum(gap.idle for gap in self.gaps)

    @property
    def longest_pause(self) -> float:
        """The longest time between two that got through, gap or not."""
        return _longest(self.moments)


def inwards(sent: Sequence[float], received: Sequence[int], start: float,
            end: float, threshold: float = THRESHOLD) -> Way:
    """Towards the guest, whose clock cannot be used: when what got through
    was sent. Where nothing is missing there is no gap, for it is the sender
    that has paused.

    :param sent: when each number was sent
    :param received: numbers in the order of their arrival
    """
    counted = [number for number in received if start <= sent[number] <= end]
    numbers = sorted(set(counted))
    found = [Gap(sent[one], sent[next_]) for one, next_
             in itertools.pairwise(numbers)
             if next_ > one + 1 and sent[next_] - sent[one] > threshold]
    return Way([sent[number] for number in numbers], found,
               _missing((number, sent[number]) for number in numbers),
               _again((number, sent[number]) for number in counted))


def outwards(arrivals: Iterable[tuple[int, float]], sent: Sequence[float],
             start: float, end: float,
             threshold: float = THRESHOLD) -> Way:
    """From the guest: when what got through has arrived.

    :param arrivals: number and time of each, in order
    :param sent: when each was sent, by the clock of the guest
    """
    counted = [(number, at) for number, at in arrivals if start <= at <= end]
    moments = [at for _, at in counted]
    found = [Gap(sooner, later, _idle(sent, before, after, threshold))
             for (before, sooner), (after, later)
             in itertools.pairwise(counted) if later - sooner > threshold]
    return Way(moments, found, _missing(counted), _again(counted))


def _idle(sent: Sequence[float], before: int, after: int,
          threshold: float) -> float:
    """The longest time in which nothing was sent, if it is no usual one."""
    pause = _longest(sent[before:after + 1])
    return pause if pause > threshold else 0.0


def _missing(arrivals: Iterable[tuple[int, float]]) -> list[float]:
    """For each that is missing between the first and the last number, the
    moment of the next one.
    """
    first: dict[int, float] = {}
    for number, at in arrivals:
        first.setdefault(number, at)
    return [at for (one, _), (next_, at)
            in itertools.pairwise(sorted(first.items()))
            for _ in range(next_ - one - 1)]


def _again(arrivals: Iterable[tuple[int, float]]) -> list[float]:
    """The moment of each that had come before."""
    seen = set()
    moments = []
    for number, at in arrivals:
        if number in seen:
            moments.append(at)
        seen.add(number)
    return moments


@dataclasses.dataclass(frozen=True)
class Stream:
    """What happened to a stream that is never idle.

    :ivar progress: each time at which more was acknowledged
    :ivar again: segments that were sent again
    """

    progress: Sequence[float]
    again: int

    @property
    def stall(self) -> float:
        """The longest time without progress."""
        return _longest(self.progress)

    def stall_within(self, start: float, end: float) -> float:
        """The longest one, as far as it lies in a span of time."""
        return max((Gap(sooner, later).within(start, end)
                    for sooner, later in itertools.pairwise(self.progress)),
                   default=0.0)


def stream(samples: array.array, start: float, end: float) -> Stream:
    """:param samples: time, bytes acknowledged, segments sent again, in turn
    """
    found = list(zip(samples[::3], samples[1::3], samples[2::3]))
    progress = [at for (_, before, _), (at, after, _)
                in itertools.pairwise(found)
                if after > before and start <= at <= end]
    before, until = (max((again for at, _, again in found if at <= moment),
                         default=0.0) for moment in (start, end))
    return Stream(progress, int(until - before))


@dataclasses.dataclass(frozen=True)
class Quiet:
    """The longest pauses while nothing was done, in seconds."""

    inwards: float
    outwards: float
    stream: float


@dataclasses.dataclass(frozen=True)
class Round:
    """One move by one scheme.

    :ivar phases: start and end of each that it had; they follow each other
    :ivar quiet: how it was before
    """

    phases: Phases
    inwards: Way
    outwards: Way
    stream: Stream
    quiet: 'Quiet'

    @property
    def start(self) -> float:
        return min(start for start, _ in self.phases.values())

    @property
    def end(self) -> float:
        return max(end for _, end in self.phases.values())

    @property
    def ways(self) -> tuple[Way, Way]:
        return self.inwards, self.outwards

    def interruptions(self, phase: str | None = None) -> tuple[float, float]:
        """In milliseconds, towards the guest and from it.

        :param phase: all of them if none is given
        """
        start, end = ((self.start, self.end) if phase is None
                      else self.phases.get(phase, (0.0, 0.0)))
        inside, outside = (1000 * way.interruption(start, end)
                           for way in self.ways)
        return inside, outside

    def duplicated(self, phase: str) -> int:
        """How many came twice in it, both directions together."""
        span = self.phases.get(phase, (0.0, 0.0))
        return sum(way.duplicated_within(*span) for way in self.ways)


def ratios(rounds: Sequence[Round], floor: Sequence[Round]) -> list[float]:
    """By how much more each round was interrupted than the same one of the
    floor, both directions together.

    A round in which the floor has no gap has no ratio.
    """
    return [sum(its.interruptions()) / sum(least.interruptions())
            for its, least in zip(rounds, floor, strict=True)
            if any(least.interruptions())]


def _longest(moments: Sequence[float]) -> float:
    return max((later - sooner for sooner, later
                in itertools.pairwise(moments)), default=0.0)


def spread(values: Sequence[float]) -> dict[str, float]:
    return {'median': statistics.median(values), 'min': min(values),
            'max': max(values)}
