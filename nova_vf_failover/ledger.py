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

"""The journal of one server, read once and written ahead of every act."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses

from nova_vf_failover.channels import intent as intents
from nova_vf_failover import domain
from nova_vf_failover import journal
from nova_vf_failover import ports as vf_ports

State = journal.State


class Ledger:
    """Where the ports of one server stand, while somebody works upon it.

    Everything that outlives the work is in the domain: each method that
    changes something has written it there when it returns.

    :param guest: the domain that holds the journal
    :raises exception.JournalError: it cannot be understood
    """

    def __init__(self, guest: domain.Domain) -> None:
        self._guest = guest
        self._journal = guest.read_journal()

    @property
    def entries(self) -> dict[str, journal.Entry]:
        """The ports that are not plainly on their VF, by id."""
        return self._journal.entries

    def away(self) -> set[str]:
        """The ids of these ports."""
        return set(self._journal.entries)

    def state(self, port: vf_ports.Port) -> State | None:
        """What is being done to a port; None if it is on its VF."""
        entry = self._journal.entries.get(port.id)
        return entry.state if entry else None

    def on_standby(self, port_id: str) -> bool:
        """Whether the guest has no VF for this port any more."""
        entry = self._journal.entries.get(port_id)
        return entry is not None and entry.state is State.STANDBY

    def enter(self, state: State, ports: Iterable[vf_ports.Port],
              reason: str = '') -> None:
        """Write what is about to be done to these ports.

        :param reason: why it has not worked, if it has not
        """
        moved = self._journal
        for port in ports:
            moved = moved.moved(port.id, port.mac, state, reason)
        self._write(moved)

    def count_anew(self) -> None:
        """Write that a move begins, which recovery has not tried yet."""
        self._write(self._journal.anew())

    def tried(self, ports: Iterable[str], next_attempt: float) -> None:
        """Write that recovery is about to try."""
        self._write(self._journal.tried(ports, next_attempt))

    def not_tried(self, before: Mapping[str, journal.Entry]) -> None:
        """Write that recovery has made way, which counts as no attempt.

        :param before: the entries before it
        """
        self._write(self._journal.not_tried(before))

    def explain(self, reason: str,
                outdated: Collection[journal.Entry] = ()) -> None:
        """Write why ports that have no reason yet did not come back.

        :param outdated: entries whose reason, if any, is of an attempt before
        """
        self._write(self._journal.explained(reason, outdated))

    def keep(self, port_id: str, mac: str) -> None:
        """Write that a guest has kept a VF that it was asked for."""
        self._write(self._journal.keeping(port_id, mac))

    def take_up_lost(self) -> None:
        """Write which guests have let a VF go that they had kept."""
        moved = self._journal
        for port in self._guest.lost_ports(self._journal):
            moved = moved.moved(
                port, self._journal.kept[port], State.STANDBY, 'The guest has '
                'let its VF go, some time after it was asked for it.')
        self._write(moved)

    def close(self, port_id: str) -> None:
        """Write that a port is on its VF for good, or has left."""
        self._write(self._journal.without(port_id))

    def new_generation(self) -> None:
        """Have the next intent be newer than all before it.

        It is written together with the state that it is made in.
        """
        self._journal = self._journal.next_generation()

    def surpass(self, generation: int) -> None:
        """Have the next intent be newer than one that the guest knows."""
        self._write(dataclasses.replace(
            self._journal, generation=generation + 1))

    def intent(self, use: intents.Use, ports: Iterable[vf_ports.Port],
               timeout: float) -> intents.Intent:
        """What the guest is to do about these ports."""
        # A question before the move has no entry in the journal yet.
        generation = (self._journal.generation
                      or self._journal.next_generation().generation)
        return intents.Intent(generation, use, timeout,
                              {port.id: port.mac for port in ports})

    def _write(self, changed: journal.Journal) -> None:
        if changed != self._journal:
            self._journal = changed
            self._guest.write_journal(changed)
