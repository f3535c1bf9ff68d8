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

"""What one scheme did to the packets, as a document for people and machines.
"""

from collections.abc import Iterable
import dataclasses
import threading
import time
import typing

from tests.simulation.fabric import traffic

# Seconds of a bin of the picture.
BIN = 0.05


class Timeline:
    """The steps of a move, as they begin and end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, float] = {}
        self.steps: list[traffic.Step] = []

    def note(self, name: str, phase: str) -> None:
        """A step begins (``start``) or ends now (``end``)."""
        now = time.monotonic()
        with self._lock:
            if phase == 'start':
                self._open[name] = now
            else:
                self.steps.append(
                    traffic.Step(name, self._open.pop(name), now))

    def within(self, start: float, end: float) -> list[traffic.Step]:
        """The steps of a period, in the order in which they began."""
        return sorted((step for step in self.steps
                       if start <= step.start and step.end <= end),
                      key=lambda step: step.start)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One live migration.

    :ivar start: when the user gave the command, CLOCK_MONOTONIC
    :ivar end: when the command had ended
    :ivar calls: of each kind, how many there were
    :ivar events: instance events: name, result, seconds
    """

    start: float
    end: float
    steps: list[traffic.Step]
    towards: traffic.Direction
    away: traffic.Direction
    calls: dict[str, int]
    events: list[dict[str, typing.Any]]

    def document(self) -> dict[str, typing.Any]:
        """The part of the file that the user asks for."""
        return {
            'in': self._direction(self.towards),
            'out': self._direction(self.away),
            'steps': [{'name': step.name,
                       'start_s': round(step.start - self.start, 4),
                       'end_s': round(step.end - self.start, 4)}
                      for step in self.steps],
            'calls': self.calls,
        }

    def details(self) -> dict[str, typing.Any]:
        """What the table and the picture show besides."""
        return {
            'duration_s': self.end - self.start,
            'events': self.events,
            'bins': {'in': self._bins(self.towards),
                     'out': self._bins(self.away)},
            'sender_pause_ms': {
                'in': _milliseconds(self.towards.sender_pause),
                'out': _milliseconds(self.away.sender_pause)},
            'duplicated': {'in': self.towards.duplicated,
                           'out': self.away.duplicated},
        }

    def _direction(self, direction: traffic.Direction,
                   ) -> dict[str, typing.Any]:
        lost = direction.lost_numbers
        by_step = direction.lost_by_step(self.steps)
        between = len(lost) - sum(by_step.values())
        if between:
            by_step['between steps'] = between
        return {'sent': direction.sent, 'lost': len(lost),
                'interruption_ms': _milliseconds(direction.interruption),
                'lost_by_step': by_step}

    def _bins(self, direction: traffic.Direction) -> list[tuple[float, int]]:
        """Packets received in each bin, by its begin."""
        return _histogram(at - self.start for _, at in direction.received)


def _histogram(times: Iterable[float]) -> list[tuple[float, int]]:
    counted: dict[int, int] = {}
    for at in times:
        number = int(at // BIN)
        counted[number] = counted.get(number, 0) + 1
    if not counted:
        return []
    # The first and the last bin are not full ones.
    return [(number * BIN, counted.get(number, 0))
            for number in range(min(counted) + 1, max(counted))]


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)
