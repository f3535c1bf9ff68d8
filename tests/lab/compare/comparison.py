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


"""The same rounds with each scheme, one beside the other."""

import collections
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import subprocess
import typing

from tests.lab.compare import fabric
from tests.lab.compare import gaps
from tests.lab.compare import schemes
from tests.lab.compare import traffic
from tests.lab import conversation
from tests.lab import image as images
from tests.lab import machine
from tests.simulation.fabric import namespace

FLOOR = schemes.Virtio.name
_FRESH_GUESTS = 3

Rounds = dict[str, list[gaps.Round]]
#: moves that do not count, by the name of the scheme
Discarded = collections.Counter[str]
Document = dict[str, typing.Any]


def run(image: images.Image, kinds: Sequence[type[schemes.Scheme]],
        count: int, say: Callable[[str], None],
        told: Callable[[Rounds, Discarded], None]) -> None:
    """Boot a guest for each scheme, and move them in turn.

    :param say: is told how far it is
    :param told: is given what there is after each round of all schemes, for a
        later one may fail
    """
    namespace.sweep()
    with contextlib.ExitStack() as stack:
        ready = []
        for number, kind in enumerate(kinds, 1):
            say(f'Starting guest {number} of {len(kinds)} ({kind.name})')
            net = stack.enter_context(fabric.Fabric())
            scheme = kind(net, image)
            stack.callback(scheme.close)
            scheme.boot()
            ready.append(scheme)
        discarded: Discarded = collections.Counter()
        done: Rounds = {scheme.name: [] for scheme in ready}
        for number, scheme in turns(ready, count):
            say(f'Round {number} of {count}: {scheme.name}')
            done[scheme.name].append(_move(scheme, say, discarded))
            if all(len(its) == number for its in done.values()):
                told(done, discarded)


def _move(scheme: schemes.Scheme, say: Callable[[str], None],
          discarded: Discarded) -> gaps.Round:
    """Move its guest, once more with a fresh one if its kernel has died.

    Twice in some forty moves that was seen right after the copy, with QEMU 7.2
    without KVM: once a red-black tree of the timers was broken. No way to
    migrate can help that, and nothing that such a guest does is measured. A
    kernel that dies while NICs come and go is another thing.
    """
    for _ in range(_FRESH_GUESTS):
        try:
            return scheme.run()
        except (AssertionError, OSError, conversation.Refusal,
                traffic.NoTraffic):
            if not scheme.guest.panicked or scheme.timeline.phase != 'copy':
                raise
        discarded[scheme.name] += 1
        say(f'The kernel of the guest of {scheme.name} has died in the move, '
            'which does not count. Starting a fresh guest')
        scheme.start_anew()
    return scheme.run()


def turns(ready: Sequence[schemes.Scheme],
          count: int) -> Iterator[tuple[int, schemes.Scheme]]:
    """Each round begins with another scheme."""
    for number in range(count):
        first = number % len(ready)
        for scheme in [*ready[first:], *ready[:first]]:
            yield number + 1, scheme


def versions(image: images.Image) -> dict[str, str]:
    """What has migrated the guests, and what they run."""
    said = subprocess.run([machine.PROGRAM, '--version'], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    return {'qemu': said.splitlines()[0],
            'kernel': image.versions['linux-image-amd64']}


def document(rounds: Rounds,
             discarded: Mapping[str, int] | None = None) -> Document:
    """The figures of all rounds; times are milliseconds."""
    return {
        'rounds': min(map(len, rounds.values())),
        'schemes': {name: {**_scheme(done, rounds.get(FLOOR)),
                           'discarded': (discarded or {}).get(name, 0)}
                    for name, done in rounds.items()}}


def _scheme(done: Sequence[gaps.Round],
            floor: Sequence[gaps.Round] | None) -> Document:
    inside, outside = zip(*(its.interruptions() for its in done))
    figures: Document = {
        'in_ms': list(inside),
        'out_ms': list(outside),
        # Of the direction that was interrupted for longer.
        'gaps_ms': {phase: [max(its.interruptions(phase)) for its in done]
                    for phase in gaps.PHASES},
        'lost': [sum(way.lost for way in its.ways) for its in done],
        'duplicated': [sum(way.duplicated for way in its.ways)
                       for its in done],
        'duplicated_in': {phase: [its.duplicated(phase) for its in done]
                          for phase in gaps.PHASES},
        'tcp_stall_ms': [1000 * its.stream.stall for its in done],
        'tcp_retransmissions': [its.stream.again for its in done]}
    if floor:
        ratios = gaps.ratios(done, floor)
        figures['ratio_to_virtio'] = gaps.spread(ratios) if ratios else None
    return figures


def without_ratio(document: Document) -> int:
    """How many rounds have none, because the floor had no gap in them."""
    floor = document['schemes'].get(FLOOR)
    return sum(not any(ways) for ways in zip(
        floor['in_ms'], floor['out_ms'])) if floor else 0
