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

"""The ways to migrate a server with a VF, each with a guest of its own."""

import abc
import time
import typing

from tests.lab.compare import gaps
from tests.lab.compare import schemes as compare
from tests.lab.compare import traffic
from tests.lab import seed as seeds
from tests.lab.sriov import fabric
from tests.lab.sriov import guest as guests
from tests.lab.sriov import host as hosts

#: seconds from one datagram to the next, and the shortest gap
INTERVAL, THRESHOLD = 0.02, 0.2
#: seconds in which nothing is done, before a move and after it
QUIET, _REST = 4.0, 2.0
# A guest that has lost its network for so long does not get it back.
_PATIENCE = 180.0
# In a guest: where its vf-failover-agent is spoken with.
_SOCKET = '/run/vf-failover-agent/socket'
# The step of desk.py in which a NIC is attached.
_PLUG = 'hot plug'


class Scheme(abc.ABC):
    """A way to migrate.

    :cvar kind: of the NIC that the guest gives its address
    :cvar keeps_standby: whether it has a macvtap between two moves
    """

    name: str
    kind: typing.ClassVar[str] = 'vf'
    has_agent = False
    keeps_standby = False

    def __init__(self, port: guests.Port) -> None:
        self.port = port
        #: what the code of this project has done in the last move: name,
        #: start and end of each step, see desk.py
        self.steps: list[tuple[str, float, float]] = []

    def seed(self) -> seeds.Seed:
        return guests.seed(self.port, self.kind, self.has_agent)

    def start(self, net: fabric.Fabric, both: tuple[hosts.Host, ...],
              backing: str) -> None:
        """Boot its guest, until it is on its network.

        :param backing: of its memory, as XML
        """
        self._net = net
        self.guest = guests.Guest(self.name, self.port, both, self.nics(),
                                  backing=backing)
        if self.keeps_standby:
            for host in both:
                host.call('expect', port=self.port.arguments())
        self.guest.boot()
        self.guest.await_address()
        if self.has_agent:
            self.guest.await_true('The agent is ready', f'[ -S {_SOCKET} ]')
        self.settle()
        self.guest.suspend()

    def settle(self) -> None:
        """Until its NICs are as they are to be between two moves."""

    def run(self) -> gaps.Round:
        """Move it to the other host, and measure that.

        :raises traffic.NoTraffic: nothing gets through any more
        """
        self.guest.resume()
        self.prepare()
        flow = traffic.Traffic(self._net.peer, self.guest.agent,
                               self.port.address, INTERVAL)
        try:
            flow.await_flow(_PATIENCE)
            quiet = time.monotonic()
            time.sleep(QUIET)
            timeline = compare.Timeline()
            self.move(timeline)
            flow.await_flow(_PATIENCE)
            time.sleep(_REST)
            phases = timeline.end()
            told = flow.stop(self.guest.agent)
        finally:
            flow.close()
        self.guest.suspend()
        return traffic.measure(*told, phases, quiet, THRESHOLD)

    @abc.abstractmethod
    def nics(self) -> str:
        """The NICs of its guest, as XML."""

    def prepare(self) -> None:
        """What is done before a move, and has no part in it."""

    @abc.abstractmethod
    def move(self, timeline: compare.Timeline) -> None:
        """Do it."""


class Virtio(Scheme):
    """A guest that has nothing but a macvtap: what QEMU itself takes."""

    name = compare.Virtio.name
    kind = 'virtio'
    has_agent = True
    keeps_standby = True

    def nics(self) -> str:
        return self.port.macvtap()

    def move(self, timeline: compare.Timeline) -> None:
        timeline.enter('copy')
        self.guest.migrate()


class VfFailover(Scheme):
    """The swap of this project, by its own code on both hosts."""

    name = compare.VfFailover.name
    has_agent = True

    def nics(self) -> str:
        return self.port.vf()

    def prepare(self) -> None:
        self.guest.tell('check')
        self.guest.other.call('expect', port=self.port.arguments())

    def move(self, timeline: compare.Timeline) -> None:
        timeline.enter('failover')
        self.steps = self.guest.tell('failover')
        timeline.enter('copy')
        self.guest.migrate()
        told = time.monotonic()
        back = self.guest.tell('failback')
        # First the guest, which has just arrived, is told what comes.
        timeline.enter('failback', told + next(
            start for name, start, _ in back if name == _PLUG))
        self.steps += back
        self.guest.other.call('release', port=self.port.arguments())


class NetFailover(Scheme):
    """The kernel's pairing, as libvirt's <teaming>.

    QEMU unplugs the VF when it is told to migrate, and plugs one in when the
    guest runs again.
    """

    name = compare.NetFailover.name
    kind = 'failover'
    keeps_standby = True

    def nics(self) -> str:
        return self.port.macvtap(
            "<teaming type='persistent'/><alias name='ua-standby'/>"
        ) + self.port.vf(
            "<teaming type='transient' persistent='ua-standby'/>")

    def settle(self) -> None:
        self.guest.await_true(
            'The VF is the primary of net_failover',
            'for nic in /sys/class/net/*/master; do its=$(dirname $nic); '
            'case $(readlink -f $its/device/driver) in *igbvf) '
            'grep -q up $its/operstate && exit 0;; esac; done; exit 1')

    def move(self, timeline: compare.Timeline) -> None:
        # What QEMU does by itself is not told from without.
        timeline.enter('copy')
        self.guest.migrate()
        timeline.enter('failback')
        self.settle()


class Native(Scheme):
    """What Nova does by itself: without a NIC while the guest moves."""

    name = compare.Native.name

    def nics(self) -> str:
        return self.port.vf()

    def move(self, timeline: compare.Timeline) -> None:
        timeline.enter('failover')
        self.guest.tell('detach')
        timeline.enter('copy')
        self.guest.migrate()
        timeline.enter('failback')
        self.guest.tell('attach')


EVERY = (Virtio, VfFailover, NetFailover, Native)


def every(vlan: int = 0) -> list[Scheme]:
    """One of each, with a place of its own, whichever of them are asked for.

    So the hosts that were saved are right for all.
    """
    return [kind(guests.Port(number, vlan))
            for number, kind in enumerate(EVERY)]


def seed() -> dict[str, seeds.Seed]:
    """What each guest has of its own, by name."""
    return {its.name: its.seed() for its in every()}
