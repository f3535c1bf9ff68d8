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

"""The last move of a server, as it is kept in the server's domain.

When a failover or a failback is over, its steps are written into the metadata
of the domain, beside the journal and under a namespace of their own: from
there ``nova-vf-failover show`` reads them without Nova. They migrate with the
guest, so the destination's half is found beside the source's.
"""

from __future__ import annotations

import dataclasses
import math
import typing

from lxml import etree

from nova_vf_failover.channels import intent as intents
from nova_vf_failover import domain_metadata
from nova_vf_failover import wording

NAMESPACE = 'urn:nova-vf-failover:last:1'
# The prefix with which libvirt writes the namespace into the domain's XML.
PREFIX = 'vffl'

FAILOVER, FAILBACK = 'failover', 'failback'
# What the host does in them, and before.
STEPS = ('check', 'standby attach', 'guest failover', 'steering', 'vf detach',
         'vf attach', 'guest failback', 'standby detach')

# What is kept has bounds, for libvirt copies the metadata of every domain
# with each dump of its XML. No server has more ports than an intent can name.
_MOST_STEPS = 32
_MOST_PORTS = 64
_LONGEST_TEXT = 300

# The agent's step in which a guest leaves one NIC for the other.
_SWITCH = 'switch'


@dataclasses.dataclass(frozen=True)
class Step:
    """Something that took time, on the host or in the guest.

    :ivar started: seconds of the UNIX epoch
    :ivar error: why it failed; empty if it did not
    """

    name: str
    started: float
    duration: float
    error: str = ''

    @property
    def finished(self) -> float:
        return self.started + self.duration

    @property
    def document(self) -> dict[str, typing.Any]:
        """As programs are told of it, on the message bus or by JSON."""
        return {'name': self.name, 'started_at': self.started,
                'duration_s': self.duration, 'error': self.error or None}


@dataclasses.dataclass(frozen=True)
class Move:
    """A failover or a failback of one server.

    :ivar kind: FAILOVER or FAILBACK
    :ivar host: the compute host on which it happened
    :ivar error: why it failed; empty if it did not
    :ivar steps: what the host did, in its order and by its clock
    :ivar guest: what the agent says that it did, by the guest's clock
    :ivar deaf: the ports that heard nothing on the NIC switched to as long as
        the other one was there
    """

    kind: str
    host: str
    started: float
    duration: float
    ports: tuple[str, ...] = ()
    error: str = ''
    steps: tuple[Step, ...] = ()
    guest: tuple[Step, ...] = ()
    deaf: tuple[str, ...] = ()

    @property
    def finished(self) -> float:
        return self.started + self.duration

    @property
    def interruption(self) -> float | None:
        """Seconds without a NIC in use, as the agent saw it.

        That is how long the switch took: before it and after it the guest
        sends and hears on a NIC that was seen to carry traffic.

        :returns: None where the agent cannot know it: it has told no times,
            or a port heard nothing on the NIC that it was switched to
        """
        if self.deaf:
            return None
        times = [step.duration for step in self.guest if step.name == _SWITCH]
        return times[-1] if times else None


@dataclasses.dataclass(frozen=True)
class Last:
    """The halves of the last move; a failed failback may be repeated."""

    failover: Move | None = None
    failback: Move | None = None

    @property
    def halves(self) -> list[Move]:
        """Those that there are, in the order in which they happened."""
        return [move for move in (self.failover, self.failback) if move]

    def after(self, move: Move) -> Last:
        """What is the last move once ``move`` has happened."""
        if move.kind == FAILOVER:
            return Last(failover=move)
        if self.failback and not self.failback.error:
            # That move was over. The failover of this one has left no record:
            # nova-compute died in it, or there was none.
            return Last(failback=move)
        return dataclasses.replace(self, failback=move)

    def to_xml(self) -> str:
        """The element to be stored as metadata of the domain."""
        root = etree.Element('last')
        for move in self.halves:
            root.append(_move_element(move))
        return etree.tostring(root, encoding='unicode')


class Recorder:
    """Notes the steps of a move while it happens.

    :ivar kind: FAILOVER or FAILBACK
    :ivar started: when it began, seconds of the UNIX epoch
    :ivar steps: what is done, added by whoever does it
    :ivar timed: whether the guest knows how long it had no NIC in use
    """

    def __init__(self, kind: str, host: str, ports: list[str],
                 started: float) -> None:
        self.kind = kind
        self.steps: list[Step] = []
        self.timed = True
        self._host = host
        self._ports = ports
        self.started = started
        self._report: intents.Report | None = None

    def heard(self, report: intents.Report) -> None:
        """The guest has said how it went."""
        self._report = report

    def move(self, duration: float, error: str = '') -> Move:
        """What has happened, now that it is over."""
        report = self._report if self.timed else None
        return Move(
            kind=self.kind, host=self._host, started=self.started,
            duration=duration, ports=tuple(self._ports),
            error=error, steps=tuple(self.steps),
            guest=tuple(Step(step.name, step.start, step.end - step.start)
                        for step in report.steps) if report else (),
            deaf=tuple(sorted(report.overlap)) if report else ())


def keep(domain: typing.Any, move: Move) -> None:
    """Write into the running domain that this was its last move.

    :param domain: the ``virDomain`` of a server on this host
    :raises libvirt.libvirtError: the domain does not run, or has gone
    """
    last = find(etree.fromstring(domain.XMLDesc(0))).after(move)
    domain_metadata.store(domain, last.to_xml(), PREFIX, NAMESPACE)


def find(tree: etree._Element) -> Last:
    """The last move, in the XML of a live domain.

    What cannot be read is left out: it is only there to be looked at.
    """
    moves: dict[str, Move] = {}
    for element in tree.iterfind(f'./metadata/{{{NAMESPACE}}}last/*'):
        try:
            move = _move(element)
        except (KeyError, ValueError):
            continue
        moves[move.kind] = move
    return Last(moves.get(FAILOVER), moves.get(FAILBACK))


def _move_element(move: Move) -> etree._Element:
    element = etree.Element(
        move.kind, host=_text(move.host), error=_text(move.error),
        started=_moment(move.started), duration=_moment(move.duration))
    for name in move.ports[:_MOST_PORTS]:
        etree.SubElement(element, 'port', id=_text(name),
                         deaf=str(name in move.deaf).lower())
    for tag, steps in (('step', move.steps), ('guest', move.guest)):
        for step in steps[:_MOST_STEPS]:
            etree.SubElement(
                element, tag, name=_text(step.name), error=_text(step.error),
                started=_moment(step.started),
                duration=_moment(step.duration))
    return element


def _move(element: etree._Element) -> Move:
    kind = etree.QName(element).localname
    if kind not in (FAILOVER, FAILBACK):
        raise ValueError(kind)
    children: dict[str, list[etree._Element]] = {}
    for child in element.iterchildren(tag=etree.Element):
        children.setdefault(etree.QName(child).localname, []).append(child)
    ports = children.get('port', [])
    return Move(
        kind=kind, host=element.attrib['host'],
        started=_number(element, 'started'),
        duration=_number(element, 'duration'),
        ports=tuple(port.attrib['id'] for port in ports),
        error=element.attrib['error'],
        steps=tuple(_step(child) for child in children.get('step', [])),
        guest=tuple(_step(child) for child in children.get('guest', [])),
        deaf=tuple(port.attrib['id'] for port in ports
                   if port.get('deaf') == 'true'))


def _step(element: etree._Element) -> Step:
    return Step(element.attrib['name'], _number(element, 'started'),
                _number(element, 'duration'), element.attrib['error'])


def _number(element: etree._Element, name: str) -> float:
    number = float(element.attrib[name])
    if not math.isfinite(number):
        raise ValueError(number)
    return number


def _moment(seconds: float) -> str:
    return f'{seconds:.6f}'


def _text(text: str) -> str:
    """What an attribute of XML can hold, in one line of bounded length."""
    return wording.legible(text, _LONGEST_TEXT).strip()
