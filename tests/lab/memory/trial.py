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

"""A guest that a VF is attached to and detached from, twice."""

import dataclasses
import time
import typing

from tests.lab.compare import gaps
from tests.lab.compare import traffic
from tests.lab.memory import pinning
from tests.lab import seed as seeds
from tests.lab.sriov import backings
from tests.lab.sriov import fabric
from tests.lab.sriov import guest as guests
from tests.lab.sriov import host as hosts
from tests.lab.sriov import schemes

GUEST = 'memory'
GIB = 1024
#: in turn, each with the command of the desk; in the quiet nothing is done,
#: for as long as the first attach took
STEPS = {'attach': 'attach', 'quiet': None, 'detach': 'detach',
         'attach again': 'attach', 'detach again': 'detach'}
# Seconds: the least quiet, and what the guest is left to take what it was
# given. Its kernel probes a VF for some.
_LEAST, _REST = 4.0, 6.0
_PATIENCE = 180.0
# Each character makes its processor leave for QEMU (hw/char/serial.c).
_TALK = 'while :; do echo .; usleep 100000; done > /dev/ttyS0'


@dataclasses.dataclass(frozen=True)
class Standby:
    """Who carries what goes over the standby, and what the guest does.

    :ivar driver: that of libvirt: vhost (the kernel) or qemu (its main loop)
    :ivar talks: whether the guest writes to its serial console
    """

    name: str
    driver: str = 'vhost'
    talks: bool = False


STANDBYS = (Standby('vhost'), Standby('qemu', driver='qemu'),
            Standby('console', talks=True))


@dataclasses.dataclass(frozen=True)
class Step:
    """What one step took, and what the traffic noticed; in seconds.

    :ivar pinned: how much of it the kernel worked for the IOMMU
    :ivar inwards: the longest gap to the guest
    :ivar outwards: that from the guest
    :ivar idle: for how long the guest itself did not send, in such gaps
    :ivar stall: how long nothing more of the stream was acknowledged
    :ivar after: the longest gap of both directions from its end until the
        next step begins; a gap that outlasts it goes on there
    """

    seconds: float
    pinned: float
    inwards: float
    outwards: float
    idle: float
    stall: float
    after: float


def seed() -> dict[str, seeds.Seed]:
    """What its guest has of its own, by name."""
    return {GUEST: guests.seed(guests.Port(0), 'virtio', False)}


@dataclasses.dataclass(frozen=True)
class Trial:
    """A guest of some size.

    :ivar gib: its memory
    """

    gib: int
    backing: backings.Backing
    standby: Standby

    @property
    def title(self) -> str:
        return f'{self.gib} GiB, {self.backing.name}, {self.standby.name}'

    def run(self, net: fabric.Fabric, host: hosts.Host,
            watch: pinning.Pinning) -> dict[str, Step]:
        """Boot the guest, and take it through all steps.

        :raises traffic.NoTraffic: nothing gets through any more
        """
        self.backing.prepare(host, self.gib * GIB)
        port = guests.Port(0)
        guest = guests.Guest(
            GUEST, port, (host,),
            port.macvtap(f"<driver name='{self.standby.driver}'/>"),
            self.gib * GIB, self.backing.xml)
        guest.boot()
        guest.await_address()
        if self.standby.talks:
            guest.agent.start('sh', '-c', _TALK)
        flow = traffic.Traffic(net.peer, guest.agent, port.address,
                               schemes.INTERVAL)
        try:
            flow.await_flow(_PATIENCE)
            phases, pinned = _take_through(guest, watch)
            told = flow.stop(guest.agent)
        finally:
            flow.close()
        # After an error it goes with its host.
        guest.end()
        return read(_measure(*told, phases), pinned)


def _take_through(guest: guests.Guest, watch: pinning.Pinning,
                  ) -> tuple[gaps.Phases, dict[str, float]]:
    """The time of each step, and how much of it was pinning."""
    phases: gaps.Phases = {}
    pinned: dict[str, float] = {}
    watch.take()
    for name, command in STEPS.items():
        time.sleep(_REST)
        start = time.monotonic()
        if command:
            guest.tell(command)
        else:
            first, then = phases['attach']
            time.sleep(max(_LEAST, then - first))
        phases[name] = start, time.monotonic()
        pinned[name] = watch.take()
    time.sleep(_REST)
    return phases, pinned


def _measure(peer: dict[str, typing.Any], guest: dict[str, typing.Any],
             phases: gaps.Phases) -> gaps.Round:
    return traffic.measure(
        peer, guest, phases, min(start for start, _ in phases.values()),
        schemes.THRESHOLD, _REST)


def read(its: gaps.Round, pinned: dict[str, float]) -> dict[str, Step]:
    """What each step comes to."""
    begins = sorted(start for start, _ in its.phases.values())
    following = dict(zip(begins, [*begins[1:], float('inf')]))
    return {name: Step(
        end - start, pinned[name],
        its.inwards.longest(start, end), its.outwards.longest(start, end),
        sum(gap.idle for gap in its.outwards.gaps
            if gap.within(start, end)),
        its.stream.stall_within(start, end),
        max(way.longest(end, following[start]) for way in its.ways))
        for name, (start, end) in its.phases.items()}
