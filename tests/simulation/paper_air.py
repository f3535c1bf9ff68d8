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
"""A guest on paper that looks at the metadata service, and is heard.

Real: the agent's looks at the service and the frames that it makes, and the
host's listening and reading. What stands between is kept in memory: the
macvtaps and the sockets on them.
"""

import dataclasses
import errno
import itertools
import os
import threading
import time
import typing

import fixtures
from oslo_serialization import jsonutils

from nova_vf_failover.channels import frames
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import metadata
from nova_vf_failover.guest import packetfilter
from nova_vf_failover.guest import reportframe
from tests.simulation import hosts
from tests.simulation import paper_agent


class PaperAir(fixtures.Fixture):
    """What guests say on their standbys, and the sockets that hear it.

    It stands in the place of what :mod:`nova_vf_failover.channels.listener`
    does in the privileged daemon.
    """

    def __init__(self, simulated: hosts.SimulatedHosts) -> None:
        self._hosts = simulated
        self._said: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)
        self._listening: dict[int, _Listening] = {}

    def _setUp(self) -> None:
        for name, stand_in in (('_open', self.open), ('_hear', self.hear),
                               ('_close', self.close)):
            self.useFixture(fixtures.MonkeyPatch(
                f'nova_vf_failover.channels.listener.{name}', stand_in))

    def say(self, mac: str, frame: bytes) -> None:
        """A guest sends this frame from its standby."""
        with self._changed:
            self._said.append((mac, frame))
            self._changed.notify_all()

    def open(self, devices: dict[str, str], generation: int) -> int:
        """Sockets on these macvtaps, by MAC.

        :raises OSError: there is none of that name
        """
        for mac, device in devices.items():
            if not self._exists(mac, device):
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        number = next(self._numbers)
        self._listening[number] = _Listening(
            frozenset(devices), generation, len(self._said))
        return number

    def hear(self, number: int, timeout: float) -> list[tuple[str, bytes]]:
        """What the kernel's filter lets through, once there is any."""
        listening = self._listening[number]
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._said) > listening.heard, timeout)
            fresh = self._said[listening.heard:]
            listening.heard += len(fresh)
        return [(mac, frame) for mac, frame in fresh
                if mac in listening.macs and _fulfils(
                    frame, frames.conditions(mac, listening.generation))]

    def close(self, number: int) -> None:
        self._listening.pop(number, None)

    def _exists(self, mac: str, device: str) -> bool:
        return any((macvtap.mac, macvtap.flowing) == (mac, True)
                   for plane in self._hosts.planes.values()
                   for name, macvtap in plane.macvtaps.items()
                   if name == device)


@dataclasses.dataclass
class _Listening:
    """Sockets, and how much of what was said they have had."""

    macs: frozenset[str]
    generation: int
    heard: int


def _fulfils(frame: bytes,
             conditions: packetfilter.Conditions) -> bool:
    """As the kernel has it: a load from behind the end drops a frame too."""
    return all(frame[offset:offset + size] == value.to_bytes(size, 'big')
               for size, offset, value in conditions)


class Speaker(fixtures.Fixture):
    """Makes the agent of a guest look, and say what came of it.

    :ivar generations: of the intents that were found
    """

    def __init__(self, air: PaperAir, agent: paper_agent.PaperAgent,
                 url: str) -> None:
        self._air = air
        self._agent = agent
        self._watch = metadata.Watch(url, 0.2, self._take)
        self.generations: set[int] = set()

    def _setUp(self) -> None:
        looking = threading.Thread(target=self._watch.run, daemon=True,
                                   name='guest')
        looking.start()
        self.addCleanup(looking.join)
        self.addCleanup(self._watch.end)

    def _take(self, intent: intents.Intent) -> None:
        self.generations.add(intent.generation)
        program = self._agent.start(
            ['vf-failover-agent', 'apply'],
            jsonutils.dump_as_bytes(intent.to_document()))
        if program.poll() is None:
            return
        report = intents.Report(intent, jsonutils.loads(
            program.output()[0])['state'])
        for port in intent.ports:
            self._air.say(port.mac, reportframe.build(port.mac, [], report))


def until(condition: typing.Callable[[], bool], seconds: float) -> bool:
    """Look again and again, as a guest does, until something is so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
    return False
