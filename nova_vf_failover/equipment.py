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

"""What the way to the standbys and the way back need of one server."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
import typing

from nova import objects

from nova_vf_failover import conversation as conversations
from nova_vf_failover import domain
from nova_vf_failover import ledger as ledgers
from nova_vf_failover import ports as vf_ports
from nova_vf_failover import reporting
from nova_vf_failover.standby import base as standbys
from nova_vf_failover.steering import filters as receive_filters

Port = vf_ports.Port


@dataclasses.dataclass(frozen=True)
class Equipment:
    """One server, all that its ports are moved with, and who hears of it.

    :ivar step: around each step, which may not be wanted any more
    """

    instance: objects.Instance
    guest: domain.Domain
    plugs: vf_ports.Plugs
    standby: standbys.Standby
    filters: receive_filters.Filters
    ledger: ledgers.Ledger
    conversation: conversations.Conversation
    reporter: reporting.Reporter
    step: Callable[[str, list[Port]], typing.ContextManager[None]]

    def tell_attached(self, ports: Iterable[Port]) -> None:
        """Tell the driver of standbys which devices the ports have."""
        vf_ports.tell_attached(self.standby, self.guest,
                               [port.mac for port in ports])

    def undo_steering(self, ports: Iterable[Port]) -> None:
        """Let VFs that have never left hear the network again.

        The guest looks at once whether it hears it there.
        """
        for port in ports:
            if self.ledger.state(port) and self.guest.primary(port.mac):
                self.filters.to_primary(port.vif)
