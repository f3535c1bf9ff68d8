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

"""What a standby NIC is plugged into: the contract of the drivers."""

import abc
from collections.abc import Callable
from collections.abc import Collection
import contextlib

from nova_vf_failover import nova_types

VIF = nova_types.VIF


class Standby(abc.ABC):
    """Makes the standby NIC of a port out of things that Nova can plug.

    Drivers are found by name in the namespace ``nova_vf_failover.standby``
    and made without arguments, once a process. A VIF is a
    ``nova.network.model.VIF`` with the direct binding of *this* host: its
    ``profile`` holds the ``pci_slot`` of the VF, its ``details`` the VLAN.
    """

    @classmethod
    def missing_requirement(cls) -> str | None:
        """Why this driver cannot work on this machine at all, or None."""
        return None

    @abc.abstractmethod
    def check(self, vif: VIF) -> None:
        """See whether a standby could be plugged for this VIF now.

        :raises nova_vf_failover.exception.CannotSwap: it could not
        """

    def limit(self) -> tuple[str, str] | None:
        """What keeps ports of some kind off this host, whatever its PFs.

        :returns: the sentence about it and its cure, or None

        For an operator who looks at the host beforehand; :meth:`check` is
        what refuses such a port.
        """
        return None

    def out_of_reach(self, vif: VIF) -> tuple[str, str] | None:
        """What a server reaches over this VF, and over its standby does not.

        :returns: the sentence about it and its cure, or None

        For an operator as well; called for what :meth:`check` lets pass.
        """
        return None

    @abc.abstractmethod
    def describe(self, vif: VIF) -> VIF:
        """The standby of this VIF, as a VIF that Nova knows how to plug.

        It has the id and the MAC of the port. Called on the host that it is
        for; the result may travel to the other one.
        """

    @abc.abstractmethod
    def plugging(
        self, standby: VIF,
    ) -> contextlib.AbstractContextManager[None]:
        """Wraps Nova's plugging of what :meth:`describe` returned.

        The place to remember what was not there before, so that
        :meth:`release` removes nothing else.
        """

    def attached(self, device: str) -> None:
        """The standby has just come into a guest on this host.

        :param device: the host's network device behind it

        Called after an attach, and on the destination of a migration when the
        server has arrived. A NIC that needs nothing then is the usual case.
        """

    @abc.abstractmethod
    def release(self, standby: VIF) -> None:
        """Remove from the host what plugging the standby has left behind.

        :param standby: what :meth:`describe` returned

        Called when the NIC itself is gone; what somebody else uses or made
        stays. Calling it again does no harm.
        """

    @abc.abstractmethod
    def sweep(self, used: Callable[[], Collection[str]],
              arriving: Callable[[], bool]) -> None:
        """Remove what standbys have left behind that nobody released.

        Called now and then.

        :param used: finds out which of the host's network devices the domains
            here have; one that is being attached is not among them yet
        :param arriving: finds out whether a server is on its way to this host,
            which may need anything. What is plugged after it was asked is of
            one that it does not know of.
        """
