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

"""The points of a live migration at which something can go wrong.

A point is the nth call of one name, made for one purpose, by one of the two
hosts or by the conductor: ``source:libvirt:setMetadata@_attach_standbys#1``.
The points of a migration are those of a recorded one.
"""

import collections
from collections.abc import Callable
import dataclasses
import re
import threading
import typing

from tests.faults import faults
from tests.faults import processes

# Calls that change nothing: whether their answer is lost or they are never
# made is the same, and so is whether the process dies before or after them;
# and that is the same as its death after the last call that changes something.
_READS = re.compile(
    r'libvirt:(XMLDesc|is[A-Z]|info|state|lookup|job|get|list|compare|num'
    r'|vcpus)'
    r'|host:(_all|device_exists|mac)$'
    r'|db:\w+\.(get|refresh|exists)|neutron:(list|show)|placement:get')

SOURCE, DESTINATION, CONDUCTOR = 'source', 'destination', 'conductor'


@dataclasses.dataclass(frozen=True, order=True)
class Point:
    """One call of a migration.

    :ivar purpose: the function that makes it
    :ivar number: which of those calls it is, from 1
    """

    role: str
    kind: str
    call: str
    purpose: str
    number: int

    def __str__(self) -> str:
        return (f'{self.role}:{self.kind}:{self.call}@{self.purpose}'
                f'#{self.number}')

    @classmethod
    def parse(cls, name: str) -> 'Point':
        role, kind, rest = name.split(':', 2)
        rest, number = rest.rsplit('#', 1)
        call, purpose = rest.rsplit('@', 1)
        return cls(role, kind, call, purpose, int(number))

    @property
    def reads(self) -> bool:
        """Whether the call changes nothing."""
        return bool(_READS.match(f'{self.kind}:{self.call}'))

    def faults(self) -> list[faults.Fault]:
        """What can go wrong here and is not the same as something else.

        A conductor is not killed: there are several, and they keep nothing.
        """
        if self.reads:
            return [faults.Fault.ERROR, faults.Fault.HANG, faults.Fault.LATE]
        return [fault for fault in faults.Fault
                if self.role != CONDUCTOR or not fault.kills]


class Script:
    """Listens to the calls of one migration, and spoils one of them.

    :param source: the name of the source host
    :param calls: carries out the one that is spoilt
    :ivar recorded: those that have come
    """

    def __init__(self, source: str, calls: faults.Calls,
                 point: Point | None = None,
                 fault: faults.Fault | None = None) -> None:
        self._source = source
        self._calls = calls
        self._point = point
        self._fault = fault
        self._counts: collections.Counter[
            tuple[str, str, str, str]] = collections.Counter()
        self._lock = threading.Lock()
        self._hit = threading.Event()
        self.recorded: list[Point] = []

    @property
    def complete(self) -> bool:
        """Whether the call that is spoilt has come, if there is one."""
        return self._point is None or self._hit.is_set()

    def __call__(self, process: processes.Process, kind: str, call: str,
                 purpose: str, act: Callable[[], typing.Any]) -> typing.Any:
        point = self._note(process, kind, call, purpose)
        if point == self._point and self._fault:
            self._hit.set()
            return self._calls.carry_out(kind, self._fault, process, act)
        with processes.outside():
            return act()

    def _note(self, process: processes.Process, kind: str, call: str,
              purpose: str) -> Point:
        role = CONDUCTOR if process.host == processes.CONDUCTOR else (
            SOURCE if process.host == self._source else DESTINATION)
        key = role, kind, call, purpose
        with self._lock:
            self._counts[key] += 1
            point = Point(*key, self._counts[key])
            self.recorded.append(point)
        return point


def silent(process: processes.Process, kind: str, call: str, purpose: str,
           act: Callable[[], typing.Any]) -> typing.Any:
    """Listens to nothing."""
    with processes.outside():
        return act()
