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
host's reading of them. What stands between is kept in memory: the macvtaps and
the sockets on them.
"""

from collections.abc import Mapping
import threading
import time
import typing

import fixtures
from oslo_serialization import jsonutils

from nova_vf_failover.channels import frames
from nova_vf_failover import exception
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import metadata
from nova_vf_failover.guest import reportframe
from tests.simulation import hosts
from tests.simulation import paper_agent


class PaperAir:
    """What guests say on their standbys."""

    def __init__(self, simulated: hosts.SimulatedHosts) -> None:
        self._hosts = simulated
        self.said: list[tuple[str, bytes]] = []
        self.changed = threading.Condition()

    def say(self, mac: str, frame: bytes) -> None:
        with self.changed:
            self.said.append((mac, frame))
            self.changed.notify_all()

    def listen(self, devices: Mapping[str, str],
               generation: int) -> 'PaperListening':
        """In the place of :class:`.listener.Listening`."""
        for mac, device in devices.items():
            if not any((macvtap.mac, macvtap.flowing) == (mac, True)
                       for plane in self._hosts.planes.values()
                       for name, macvtap in plane.macvtaps.items()
                       if name == device):
                raise exception.ChannelError(f'{device}: no such device')
        return PaperListening(self, devices, generation)


class PaperListening:

    def __init__(self, air: PaperAir, devices: Mapping[str, str],
                 generation: int) -> None:
        self._air = air
        self._devices = devices
        self._generation = generation
        self._heard = len(air.said)

    def __enter__(self) -> 'PaperListening':
        return self

    def __exit__(self, *_: typing.Any) -> None:
        """Nothing is open."""

    def hear(self, timeout: float) -> list[tuple[str, frames.Report]]:
        with self._air.changed:
            self._air.changed.wait_for(
                lambda: len(self._air.said) > self._heard, min(timeout, 3.0))
            fresh = self._air.said[self._heard:]
            self._heard += len(fresh)
        parsed = [(mac, frames.parse(frame)) for mac, frame in fresh]
        return [(mac, report) for mac, report in parsed
                if report and mac in self._devices
                and report.generation == self._generation]


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
        looking = threading.Thread(target=self._watch.run, daemon=True)
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
