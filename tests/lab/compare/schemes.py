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


"""The ways to migrate, each with a guest of its own."""

import abc
import time
import typing

from tests.lab.compare import fabric
from tests.lab.compare import gaps
from tests.lab.compare import guest as guests
from tests.lab.compare import recipe
from tests.lab.compare import traffic
from tests.lab import image as images

VF, STANDBY = guests.VF, guests.STANDBY
#: seconds in which nothing is done, before a move and after it
QUIET, _REST = 2.0, 1.0
_BOOT = 300.0
# A guest that has lost its network for so long does not get it back.
_PATIENCE = 90.0


class Timeline:
    """Phases that follow each other."""

    def __init__(self) -> None:
        self._entered: list[tuple[str, float]] = []

    def enter(self, phase: str, at: float | None = None) -> None:
        """:param at: when that was, if it was not now"""
        self._entered.append((phase, time.monotonic() if at is None else at))

    @property
    def phase(self) -> str:
        """The one that goes on; none if none has begun."""
        return self._entered[-1][0] if self._entered else ''

    def end(self) -> gaps.Phases:
        borders = [at for _, at in self._entered[1:]] + [time.monotonic()]
        return {phase: (start, end) for (phase, start), end
                in zip(self._entered, borders)}


class Scheme(abc.ABC):
    """A way to migrate.

    :cvar present: the NICs that its guest has between two moves
    :cvar target: the NICs with which it arrives
    """

    name: str
    present: typing.ClassVar[tuple[str, ...]] = (VF,)
    target: typing.ClassVar[tuple[str, ...]] = ()
    configured = VF
    properties: typing.ClassVar[dict[str, dict[str, str]]] = {}
    has_agent = False

    def __init__(self, net: fabric.Fabric, image: images.Image) -> None:
        seed = recipe.seed(guests.NAMES[self.configured])
        if self.has_agent:
            recipe.add_agent(seed)
        self._net = net
        self._image = image
        self._seed = seed
        #: of the last move
        self.timeline = Timeline()
        self.guest = self._make()

    def _make(self) -> guests.Guest:
        return guests.Guest(self._net, self._image, self._seed, self.present,
                            self.properties)

    def close(self) -> None:
        self.guest.close()

    def start_anew(self) -> None:
        """Have a fresh guest."""
        self.guest.close()
        self.guest = self._make()
        self.boot()

    def boot(self) -> None:
        """Until the guest is on its network."""
        self.guest.machine.await_guest(_BOOT)
        self.guest.machine.guest.run('systemctl', 'is-system-running',
                                     '--wait', timeout=_BOOT)
        self.guest.await_true(
            'The guest has its address', 'sh', '-c',
            f'ip -4 -br address show | grep -q "UP .*{fabric.GUEST}"')
        self.settle()
        self.guest.pause()

    def settle(self) -> None:
        """Until its NICs are as they are to be between two moves."""

    def run(self) -> gaps.Round:
        """Move it to the other host, and measure that.

        :raises traffic.NoTraffic: nothing gets through any more
        """
        timeline = self.timeline = Timeline()
        self.guest.go_on()
        self.guest.prepare_target(self.target)
        flow = traffic.Traffic(self._net.peer, self.guest.machine.guest)
        try:
            flow.await_flow(_PATIENCE)
            quiet = time.monotonic()
            time.sleep(QUIET)
            self.move(timeline)
            flow.await_flow(_PATIENCE)
            time.sleep(_REST)
            phases = timeline.end()
            told = flow.stop(self.guest.machine.guest)
        finally:
            flow.close()
        self.guest.leave()
        self.guest.pause()
        return traffic.measure(*told, phases, quiet)

    @abc.abstractmethod
    def move(self, timeline: Timeline) -> None:
        """Do it."""


class Virtio(Scheme):
    """A guest that has nothing but its virtio NIC: what QEMU itself takes."""

    name = 'virtio'
    present = target = (STANDBY,)
    configured = STANDBY
    has_agent = True

    def move(self, timeline: Timeline) -> None:
        timeline.enter('copy')
        self.guest.start_migration()
        self.guest.await_migrated()


class VfFailover(Scheme):
    """The swap of this project."""

    name = 'vf_failover'
    target = (STANDBY,)
    has_agent = True

    def move(self, timeline: Timeline) -> None:
        timeline.enter('failover')
        self.guest.attach(STANDBY)
        self.guest.carry_out(self.guest.intent('standby'))
        self.guest.detach(VF)
        timeline.enter('copy')
        self.guest.start_migration()
        self.guest.await_migrated()
        intent = self.guest.intent('primary')
        self.guest.apply(intent, 'armed')
        timeline.enter('failback')
        self.guest.attach(VF)
        self.guest.carry_out(intent)
        self.guest.detach(STANDBY)


class NetFailover(Scheme):
    """The kernel's pairing of a VF and a virtio NIC, driven by QEMU.

    QEMU unplugs the VF when it is told to migrate, and plugs the other one in
    when the guest runs again.
    """

    name = 'net_failover'
    # In this order: QEMU keeps a VF back whose partner it knows.
    present = target = (STANDBY, VF)
    configured = STANDBY
    properties: typing.ClassVar[dict[str, dict[str, str]]] = {
        STANDBY: {'failover': 'on'}, VF: {'failover_pair_id': STANDBY}}

    def settle(self) -> None:
        self.guest.await_true(
            'The VF is the primary of net_failover', 'sh', '-c',
            'for nic in /sys/class/net/*/master; do its=$(dirname $nic); '
            'case $(readlink -f $its/device/driver) in *e1000e) '
            'grep -q up $its/operstate && exit 0;; esac; done; exit 1')

    def move(self, timeline: Timeline) -> None:
        timeline.enter('failover')
        self.guest.start_migration()
        self.guest.await_unplugged()
        timeline.enter('copy')
        self.guest.await_migrated()
        timeline.enter('failback')
        self.settle()


class Native(Scheme):
    """What Nova does by itself: without a NIC while the guest moves."""

    name = 'native'

    def move(self, timeline: Timeline) -> None:
        timeline.enter('failover')
        self.guest.detach(VF)
        timeline.enter('copy')
        self.guest.start_migration()
        self.guest.await_migrated()
        timeline.enter('failback')
        self.guest.attach(VF)


EVERY: tuple[type[Scheme], ...] = (Virtio, VfFailover, NetFailover, Native)
