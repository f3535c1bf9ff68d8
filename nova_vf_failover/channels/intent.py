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

"""What the host says to a guest, and what it hears: intent and report.

Nothing that a guest says is believed before it has passed
:meth:`Report.parse`: a tenant may have replaced the agent.
"""

import dataclasses
import enum
import math
import typing

from oslo_serialization import jsonutils

from nova_vf_failover import exception
from nova_vf_failover import wording

VERSION = 1

# A report of the most ports that a server can have stays far below this.
LONGEST_REPORT = 256 * 1024
LONGEST_MESSAGE = 500
# The agent has seven; the name of one is a word.
MOST_STEPS = 16
# The greatest one that an agent takes: JSON has whole numbers up to it.
_LAST_GENERATION = 2 ** 53 - 1
LONGEST_STEP = 32


class Use(enum.Enum):
    """The NIC that a guest is to use."""

    STANDBY = 'standby'
    PRIMARY = 'primary'


class ReportState(enum.Enum):
    """How far the guest is with an intent."""

    NONE = 'none'
    READY = 'ready'
    ARMED = 'armed'
    WORKING = 'working'
    DONE = 'done'
    REFUSED = 'refused'
    FAILED = 'failed'


@dataclasses.dataclass(frozen=True)
class Intent:
    """Which NIC the guest is to use for these ports.

    :ivar generation: a guest refuses intents older than the last it took
    :ivar timeout: seconds after which the guest goes back to what it used
    :ivar macs: the MAC of each port, by Neutron port UUID
    """

    generation: int
    use: Use
    timeout: float
    macs: dict[str, str]

    def to_json(self) -> str:
        return jsonutils.dumps({
            'version': VERSION,
            'generation': self.generation,
            'use': self.use.value,
            'timeout': self.timeout,
            'ports': [{'id': port, 'mac': mac}
                      for port, mac in self.macs.items()],
        })


@dataclasses.dataclass(frozen=True)
class GuestStep:
    """A step of the agent, by the guest's clock."""

    name: str
    start: float
    end: float


@dataclasses.dataclass(frozen=True)
class Report:
    """What a guest has said about an intent.

    :ivar proven: by port, whether traffic was seen on the NIC switched to;
        None where the guest had nobody to ask
    :ivar overlap: the ports whose VF is still the one that hears the network
    :ivar steps: what it has done so far; only there to be looked at
    :ivar taken: the generation that makes the intent stale; 0 if it is not
    """

    generation: int
    state: ReportState
    message: str
    proven: dict[str, bool | None] = dataclasses.field(default_factory=dict)
    overlap: frozenset[str] = frozenset()
    steps: tuple[GuestStep, ...] = ()
    taken: int = 0

    @property
    def finished(self) -> bool:
        return self.state in (ReportState.DONE, ReportState.REFUSED,
                              ReportState.FAILED)

    @property
    def accepted(self) -> bool:
        """Whether the guest carries the intent out, or has done so."""
        return self.state in (ReportState.ARMED, ReportState.WORKING,
                              ReportState.DONE)

    @property
    def stayed(self) -> bool:
        """Whether the guest is known to have stayed where it was."""
        return self.state in (ReportState.REFUSED, ReportState.FAILED)

    @classmethod
    def parse(cls, text: str | bytes) -> 'Report':
        """Read what the agent printed.

        :raises exception.ChannelError: it is no report of this version
        """
        if len(text) > LONGEST_REPORT:
            raise exception.ChannelError(
                f'the agent answered {len(text)} bytes; at most '
                f'{LONGEST_REPORT} are read')
        try:
            document = jsonutils.loads(text)
        except (ValueError, RecursionError) as error:
            raise exception.ChannelError(
                f'the agent answered no JSON: {shortened(text)}') from error
        if (not isinstance(document, dict)
                or document.get('version') != VERSION):
            raise exception.ChannelError(
                f'the agent answered no report of version {VERSION}: '
                f'{shortened(text)}')
        try:
            return cls(
                generation=_integer(document['generation']),
                state=ReportState(document['state']),
                message=shortened(str(document.get('message', ''))),
                proven={str(port['id']): port.get('proven')
                        for port in document.get('ports', [])},
                overlap=frozenset(
                    str(port['id']) for port in document.get('ports', [])
                    if port.get('overlap') is True),
                steps=_steps(document.get('ports', [])),
                taken=_generation(document.get('taken')))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise exception.ChannelError(
                'the agent answered a report that is not complete: '
                f'{shortened(text)}') from error


def _steps(ports: list[dict[str, typing.Any]]) -> tuple[GuestStep, ...]:
    """The steps that can be understood; the agent does one for all ports."""
    listed = ports[0].get('steps') if ports else None
    steps = []
    for step in listed[:MOST_STEPS] if isinstance(listed, list) else ():
        try:
            start, end = float(step['start']), float(step['end'])
            if not math.isfinite(end - start) or end < start:
                continue
            name = shortened(str(step['name'])[:LONGEST_STEP])
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        steps.append(GuestStep(name, start, end))
    return tuple(steps)


def _integer(value: typing.Any) -> int:
    # What refuses an intent unread knows no generation.
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(value)
    return value


def _generation(value: typing.Any) -> int:
    """One that the guest knows; 0 if there can be none above it."""
    taken = _integer(value)
    return taken if 0 < taken < _LAST_GENERATION else 0


def shortened(text: str | bytes) -> str:
    """For a log: one line of bounded length, nothing that is not printable."""
    if isinstance(text, bytes):
        text = text.decode('utf-8', 'replace')
    return wording.legible(text, LONGEST_MESSAGE).strip()
