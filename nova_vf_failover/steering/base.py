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

"""How a NIC's receive filter is moved: the contract of the drivers.

A NIC that does not replicate delivers a MAC to one function only, the VF as
long as a VF has it. What each Linux driver does is in
``doc/source/receive-filters.rst``.
"""

from __future__ import annotations

import abc

from nova_vf_failover import nova_types
from nova_vf_failover.steering import functions

VIF = nova_types.VIF

# A bit of the first byte of a MAC that neither says "local" nor "group", and
# is not the one that the agent turns over to park a standby.
_PLACE_HELD = 0x10


def placeholder(mac: str) -> str:
    """The MAC that a VF has while its own is delivered to the standby.

    One bit away from the port's MAC, so that it is known again when it is
    found, whoever has written it.
    """
    return f'{int(mac[:2], 16) ^ _PLACE_HELD:02x}{mac[2:]}'.lower()


class Steering(abc.ABC):
    """Has a NIC deliver to the function that a guest has switched to.

    Drivers are found by name in the namespace
    ``nova_vf_failover.steering`` and made without arguments, once a process.
    A VIF is as in :mod:`nova_vf_failover.standby.base`. Whatever a method
    raises, the move goes on without it: what a driver does may save packets,
    and nothing depends on it.

    :param host: the VFs of this host
    :cvar acts: whether it does anything about a port that is steered
    """

    acts = True

    def __init__(self, host: functions.Functions | None = None) -> None:
        self._host = host or functions.Functions()

    @classmethod
    def missing_requirement(cls) -> str | None:
        """Why this driver cannot work on this machine at all, or None."""
        return None

    @abc.abstractmethod
    def to_standby(self, vif: VIF, device: str) -> None:
        """The guest uses its standby, and the NIC still delivers to the VF.

        Called when the journal says that the VF is being detached, and before
        it is; calling it again does no harm.

        :param device: the host's network device behind the standby
        :raises nova_vf_failover.exception.SteeringError: the NIC would not
        :raises pyroute2.netlink.exceptions.NetlinkError: nor would the kernel
        """

    @abc.abstractmethod
    def vf_left(self, vif: VIF, device: str) -> None:
        """The VF of :meth:`to_standby` has been detached, and is nobody's.

        :raises nova_vf_failover.exception.SteeringError: as above
        """

    def to_primary(self, vif: VIF) -> None:
        """The guest has its VF still and is to use it again.

        A VF with a placeholder gets its MAC back, whichever driver was
        configured when it got that.

        :raises nova_vf_failover.exception.SteeringError: the VF keeps it
        """
        function = self._host.find(vif['profile']['pci_slot'])
        mac = vif['address'].lower()
        if self._host.mac(function) == placeholder(mac):
            self._host.set_mac(function, mac)
