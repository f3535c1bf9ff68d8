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

"""How a guest is told which NIC to use: the contract of the drivers."""

import abc
from collections.abc import Container

from nova_vf_failover.channels import intent as intents
from nova_vf_failover import domain


class Channel(abc.ABC):
    """Brings an intent into a guest and the guest's report back.

    Drivers are found by name in the namespace ``nova_vf_failover.channels``
    and made without arguments, once a process. Every method is bounded in
    time and raises :class:`nova_vf_failover.exception.ChannelError` when the
    guest cannot be reached, does not answer in time, or answers nonsense.

    :cvar cure: what an image needs whose guest cannot be reached, a sentence
    """

    cure = 'The image needs vf-failover-agent.'

    @classmethod
    def missing_requirement(cls) -> str | None:
        """Why this driver cannot work on this machine at all, or None."""
        return None

    @abc.abstractmethod
    def check(self, guest: domain.Domain,
              intent: intents.Intent) -> intents.Report:
        """Ask what would happen; the guest changes nothing."""

    @abc.abstractmethod
    def tell(self, guest: domain.Domain,
             intent: intents.Intent) -> intents.Report:
        """Hand the intent over and return as soon as it is accepted."""

    @abc.abstractmethod
    def ask(self, guest: domain.Domain, intent: intents.Intent,
            timeout: float) -> intents.Report:
        """Hand the intent over and wait until it is carried out.

        :param timeout: seconds to wait for the end
        :returns: the last report; it may not be ``finished``
        """

    def sweep(self, host: str, busy: Container[str]) -> None:
        """Remove what conversations that were cut off have left.

        Called now and then; most channels leave nothing.

        :param host: of the compute service whose servers are looked at
        :param busy: the servers whose guests still need what was said last
        """
