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

"""The last move of a server as a picture in text.

Every step is a bar on one axis of time, so that it can be seen what waited
for what, and where the guest was without a NIC in use.
"""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
import time

from nova_vf_failover import moves

WIDTH = 40
# Of ASCII, for a terminal may know nothing else.
_BAR, _GUEST, _STANDBY = '#', '=', '.'

# Seconds by which a guest's clock may differ and still be believed.
_TOLERANCE = 1.0


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the picture."""

    label: str
    started: float
    finished: float
    mark: str = _BAR
    note: str = ''


def draw(last: moves.Last, width: int = WIDTH) -> str:
    """The picture; empty where nothing was ever moved."""
    rows = list(_rows(last))
    if not rows:
        return ''
    start = min(row.started for row in rows)
    span = max(max(row.finished for row in rows) - start, 1e-6)
    longest = max(len(row.label) for row in rows)
    lines = [_line(row, start, span, longest, width) for row in rows]
    for move in last.halves:
        lines += _summary(move)
    return '\n'.join(lines)


def _rows(last: moves.Last) -> Iterator[Row]:
    halves = last.halves
    for number, move in enumerate(halves):
        if number and not halves[0].error:
            yield Row('on the standby', halves[number - 1].finished,
                      move.started, _STANDBY)
        yield Row(f'{move.kind} ({move.host})', move.started, move.finished,
                  ' ')
        shift = _shift(move)
        for step in move.steps:
            yield Row(f'  {step.name}', step.started, step.finished,
                      note='failed' if step.error else '')
            if step.name.startswith('guest'):
                for inner in move.guest:
                    yield Row(f'    {inner.name}', inner.started + shift,
                              inner.finished + shift, _GUEST)


def _shift(move: moves.Move) -> float:
    """Seconds to add to the guest's clock, which may be any.

    The agent answers as soon as it is done, so where its times lie outside of
    the move they end with the host's step.
    """
    if not move.guest:
        return 0.0
    first, final = move.guest[0].started, move.guest[-1].finished
    if (first >= move.started - _TOLERANCE
            and final <= move.finished + _TOLERANCE):
        return 0.0
    ends = [step.finished for step in move.steps
            if step.name.startswith('guest')]
    return (ends[-1] if ends else move.finished) - final


def _line(row: Row, start: float, span: float, longest: int,
          width: int) -> str:
    first = _column((row.started - start) / span, width)
    final = max(_column((row.finished - start) / span, width), first + 1)
    bar = (' ' * first + row.mark * (final - first)).ljust(width)[:width]
    length = max(row.finished - row.started, 0.0)
    return (f'{row.label:{longest}} |{bar}| {_duration(length):>9}'
            f'{" " + row.note if row.note else ""}')


def _column(share: float, width: int) -> int:
    """Where a moment is; the last column is where the last bar can be."""
    return min(max(round(share * width), 0), width - 1)


def _summary(move: moves.Move) -> list[str]:
    at = time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime(move.started))
    lines = [f'{move.kind}: {at}, {_duration(move.duration).strip()}, '
             f'{"failed" if move.error else "done"}; '
             f'{_interruption(move)}']
    if move.error:
        lines.append(f'  {move.error}')
    return lines


def _interruption(move: moves.Move) -> str:
    if move.interruption is not None:
        return ('the guest was without a NIC in use for '
                + _duration(move.interruption).strip())
    if move.deaf:
        return ('not known for how long nothing came in: the NIC went on '
                'delivering to the other function of ' + ', '.join(move.deaf))
    return 'not known how long the guest was without a NIC in use'


def _duration(seconds: float) -> str:
    if seconds < 0.001:
        return f'{seconds * 1e6:.0f} us'
    if seconds < 1:
        return f'{seconds * 1e3:.1f} ms'
    return f'{seconds:.2f} s'
