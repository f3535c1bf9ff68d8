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

"""What the notifications say of how long moves took."""

from collections.abc import Iterable
import dataclasses
import statistics
import typing

# The steps in which a guest does something.
_GUEST = frozenset(['guest failover', 'guest failback'])
_HALVES = ('vf_failover.failover.end', 'vf_failover.failback.end')


@dataclasses.dataclass(frozen=True)
class Move:
    """Both halves of the move of one server.

    :ivar added: seconds that they took, without what was left to the guest
    :ivar work: seconds of a processor in them
    :ivar steps: the seconds of each step
    """

    server: str
    added: float
    work: float
    steps: dict[str, float]


def moves(notifications: Iterable[dict[str, typing.Any]],
          work: dict[str, float]) -> list[Move]:
    """The moves of which both halves are told of here.

    :param work: seconds of a processor, by server
    """
    halves: dict[str, dict[str, dict[str, typing.Any]]] = {}
    for notification in notifications:
        if notification['event_type'] in _HALVES:
            data = notification['payload']['nova_object.data']
            halves.setdefault(data['server_id'], {})[
                notification['event_type']] = data
    return [_move(server, both.values(), work[server])
            for server, both in halves.items() if len(both) == len(_HALVES)]


def _move(server: str, halves: Iterable[dict[str, typing.Any]],
          work: float) -> Move:
    steps: dict[str, float] = {}
    added = 0.0
    for half in halves:
        added += half['duration_s']
        for step in half['steps']:
            steps[step['name']] = (steps.get(step['name'], 0.0)
                                   + step['duration_s'])
    return Move(server, added - sum(
        seconds for name, seconds in steps.items() if name in _GUEST),
        work, steps)


def figures(values: Iterable[float]) -> dict[str, float]:
    """The median and the bounds of some seconds."""
    values = list(values)
    return {'median': statistics.median(values), 'min': min(values),
            'max': max(values), 'n': len(values)}
