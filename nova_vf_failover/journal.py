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

"""The journal: where each port of a server stands, in the server's domain.

It is kept in the metadata of the libvirt domain, under a namespace of its
own, so it migrates with the guest and goes when the domain goes. Nova
replaces only the metadata of its own namespace
(nova/virt/libvirt/guest.py, ``set_metadata``).
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import enum
import time

from lxml import etree

from nova_vf_failover import exception
from nova_vf_failover import wording

NAMESPACE = 'urn:nova-vf-failover:journal:1'
# The prefix with which libvirt writes the namespace into the domain's XML.
PREFIX = 'vff'


class State(enum.Enum):
    """What is being done to a port; written before it is done.

    A port that is not in the journal uses its VF and has no standby.
    """

    #: the standby is being attached; the guest has been told nothing
    ATTACHING = 'attaching'
    #: the guest has been told to use the standby and may have done so
    SWITCHING = 'switching'
    #: the guest uses the standby; the VF is being detached
    DETACHING = 'detaching'
    #: the guest uses the standby and there is no VF
    STANDBY = 'standby'
    #: the guest is told to use the VF, which is being attached
    RETURNING = 'returning'
    #: the guest uses the VF; the standby is being detached
    CLEARING = 'clearing'


# The way there and the way back. Every state can go back, for a crash or an
# abort can come at any of them; what has begun to go back can be sent out
# again, since a degraded server may be migrated. From where the guest uses
# its VF it has to return only if that has gone from under it; so a port gets
# from nowhere to where there is no VF.
_NEXT: dict[State | None, frozenset[State]] = {
    None: frozenset({State.ATTACHING, State.STANDBY}),
    State.ATTACHING: frozenset({State.SWITCHING, State.CLEARING,
                                State.RETURNING}),
    State.SWITCHING: frozenset({State.DETACHING, State.RETURNING,
                                State.CLEARING}),
    State.DETACHING: frozenset({State.STANDBY, State.RETURNING}),
    State.STANDBY: frozenset({State.RETURNING}),
    State.RETURNING: frozenset({State.CLEARING, State.SWITCHING,
                                State.STANDBY}),
    State.CLEARING: frozenset({State.ATTACHING, State.RETURNING}),
}


# Of a reason; it is for people, and errors may quote whole documents.
LONGEST_REASON = 1000


@dataclasses.dataclass(frozen=True)
class Entry:
    """One port's line in the journal.

    :ivar port: Neutron port UUID
    :ivar mac: the MAC of both of its NICs, lower case
    :ivar state: see :class:`State`
    :ivar reason: why a failback has not worked yet; empty if none failed
    :ivar since: when the state began, seconds of the UNIX epoch
    :ivar attempts: how often recovery has tried to bring it back; a failover
        begins to count anew
    :ivar next_attempt: when it will try again, as ``since``; 0 if nothing
        stands in the way of a try, or if there was the last one
    """

    port: str
    mac: str
    state: State
    reason: str = ''
    since: float = 0.0
    attempts: int = 0
    next_attempt: float = 0.0

    @property
    def degraded(self) -> bool:
        return bool(self.reason)


@dataclasses.dataclass(frozen=True)
class Journal:
    """Every port that is not plainly on its VF, and the last generation.

    :ivar generation: of the last intent that was made for this server; a
        guest refuses older ones, so it only grows
    :ivar kept: the MACs, by port, whose guest has kept its VF when it was
        asked for it. QEMU forgets no such request: the guest may let the VF
        go at any time, and does with its next reset where hotplug is ACPI's
        (hw/acpi/pcihp.c, acpi_pcihp_update_hotplug_bus)
    """

    generation: int = 0
    entries: dict[str, Entry] = dataclasses.field(default_factory=dict)
    kept: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to be remembered."""
        return not self.entries and not self.kept

    def next_generation(self) -> 'Journal':
        """The journal with a generation above every one that was used.

        The clock makes it grow even where the journal was lost with its
        domain, as in a hard reboot.
        """
        return dataclasses.replace(
            self, generation=max(self.generation + 1, int(time.time() * 1000)))

    def moved(self, port: str, mac: str, state: State,
              reason: str = '') -> 'Journal':
        """The journal after ``port`` has entered ``state``.

        :raises exception.WrongTransition: no way leads there
        """
        old = self.entries.get(port)
        now = old.state if old else None
        if state is not now and state not in _NEXT[now]:
            raise exception.WrongTransition(
                f'Port {port} is {now.value if now else "on its VF"} and '
                f'cannot become {state.value}.')
        entry = Entry(port, mac, state, _legible(reason), time.time())
        if old:
            entry = dataclasses.replace(
                entry, attempts=old.attempts, next_attempt=old.next_attempt)
        result = self._with(entry)
        if now is State.DETACHING and state is State.RETURNING:
            return result.keeping(port, mac)
        if state is State.STANDBY:
            return dataclasses.replace(result, kept={
                name: its for name, its in self.kept.items() if name != port})
        return result

    def keeping(self, port: str, mac: str) -> 'Journal':
        """The journal after a guest has kept the VF that it was asked for.
        """
        return dataclasses.replace(self, kept={**self.kept, port: mac})

    def tried(self, ports: Iterable[str], next_attempt: float) -> 'Journal':
        """The journal before recovery tries to bring ports back.

        Each attempt is counted before it is made, so that one that ends
        nova-compute counts too.
        """
        result = self
        for port in ports:
            entry = self.entries[port]
            result = result._with(dataclasses.replace(
                entry, attempts=entry.attempts + 1,
                next_attempt=next_attempt))
        return result

    def not_tried(self, before: Mapping[str, Entry]) -> 'Journal':
        """The journal after an attempt that was not made to its end.

        :param before: the entries before it
        """
        return dataclasses.replace(self, entries={
            port: dataclasses.replace(
                entry, attempts=before[port].attempts,
                next_attempt=0.0) if port in before else entry
            for port, entry in self.entries.items()})

    def anew(self) -> 'Journal':
        """The journal at the begin of a move: no attempt was made yet."""
        return dataclasses.replace(self, entries={
            port: dataclasses.replace(entry, attempts=0, next_attempt=0.0)
            for port, entry in self.entries.items()})

    def explained(self, reason: str,
                  outdated: Collection[Entry] = ()) -> 'Journal':
        """The journal with a reason for every port that has none.

        :param outdated: entries whose reason, if any, does not count
        """
        return dataclasses.replace(self, entries={
            port: entry if entry.reason and entry not in outdated
            else dataclasses.replace(entry, reason=_legible(reason))
            for port, entry in self.entries.items()})

    def _with(self, entry: Entry) -> 'Journal':
        return dataclasses.replace(
            self, entries={**self.entries, entry.port: entry})

    def without(self, port: str) -> 'Journal':
        """The journal after ``port`` is back on its VF for good."""
        return dataclasses.replace(self, entries={
            name: entry for name, entry in self.entries.items()
            if name != port})

    def to_xml(self) -> str:
        """The element to be stored as metadata of the domain."""
        root = etree.Element('journal', generation=str(self.generation))
        for entry in self.entries.values():
            etree.SubElement(
                root, 'port', id=entry.port, mac=entry.mac,
                state=entry.state.value, reason=entry.reason,
                since=f'{entry.since:.3f}', attempts=str(entry.attempts),
                next=f'{entry.next_attempt:.3f}')
        for port, mac in self.kept.items():
            etree.SubElement(root, 'kept', id=port, mac=mac)
        return etree.tostring(root, encoding='unicode')

    @classmethod
    def from_xml(cls, text: str) -> 'Journal':
        """Read what :meth:`to_xml` wrote, or its predecessor.

        The release before recovery existed counted no attempts.

        :raises exception.JournalError: somebody else has written there
        """
        try:
            root = etree.fromstring(text)
            entries = [
                Entry(port.attrib['id'], port.attrib['mac'],
                      State(port.attrib['state']), port.attrib['reason'],
                      float(port.attrib['since']),
                      int(port.get('attempts', '0')),
                      float(port.get('next', '0')))
                for port in _named(root, 'port')]
            return cls(int(root.attrib['generation']),
                       {entry.port: entry for entry in entries},
                       {port.attrib['id']: port.attrib['mac']
                        for port in _named(root, 'kept')})
        except (etree.XMLSyntaxError, KeyError, ValueError) as error:
            raise exception.JournalError(
                f'The journal in the domain cannot be read: {error!r}. A hard '
                'reboot of the server makes a new domain without one.'
            ) from error


def _named(root: etree._Element, name: str) -> list[etree._Element]:
    return [element for element in root
            if etree.QName(element).localname == name]


def _legible(reason: str) -> str:
    """An error as XML can hold it, which has no control characters."""
    return wording.legible(reason, LONGEST_REASON)
