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

"""What a guest is told about its ports, and what its answers mean."""

from __future__ import annotations

from collections.abc import Callable

from oslo_config import cfg

from nova_vf_failover.channels import base as channels
from nova_vf_failover.channels import intent as intents
from nova_vf_failover import domain
from nova_vf_failover import exception
from nova_vf_failover import ledger as ledgers
from nova_vf_failover import ports as vf_ports

CONF = cfg.CONF

Port = vf_ports.Port


class Conversation:
    """Speaks with one guest over the channel that the operator has chosen.

    :param heard: is given what the guest says when a move is over
    """

    def __init__(self, guest: domain.Domain, ledger: ledgers.Ledger,
                 channel: channels.Channel,
                 heard: Callable[[intents.Report], None]) -> None:
        self._guest = guest
        self._ledger = ledger
        self._channel = channel
        self._heard = heard

    def check(self, ports: list[Port]) -> None:
        """Ask whether the guest could go to its standby NICs.

        :raises exception.CannotSwap: it could not, or cannot be asked
        """
        try:
            report = self._channel.check(self._guest, self._ledger.intent(
                intents.Use.STANDBY, ports, CONF.vf_failover.failover_timeout))
        except exception.ChannelError as error:
            raise exception.CannotSwap(
                exception.server(self._guest.uuid), 'its guest cannot be told '
                'to change NICs.', self._channel.cure, f'{error}.') from error
        if report.state is not intents.ReportState.READY:
            raise exception.CannotSwap(
                exception.server(self._guest.uuid),
                'its guest will not change NICs.',
                'Mend in the guest what its agent says:',
                report.message or report.state.value)

    def send_to_standby(self, ports: list[Port]) -> list[Port]:
        """Have the guest use its standby NICs.

        :returns: the ports whose standby hears nothing while the VF is there
        :raises exception.GuestRefused: it stays where it is
        :raises exception.ChannelError: nobody knows where it is
        """
        report = self._ask(intents.Use.STANDBY, ports,
                           CONF.vf_failover.failover_timeout)
        _require(report, report.finished, 'The guest stays where it is',
                 'The guest has not moved to its standby NICs in time')
        return [port for port in ports if port.id in report.overlap]

    def arm(self, ports: list[Port]) -> None:
        """Have the guest wait for its VFs.

        From its attach on, a NIC that does not replicate delivers to the VF;
        a guest that does not wait for it would hear nothing.

        :raises exception.GuestRefused: it will not go back to them
        :raises exception.ChannelError: it has not said that it waits
        """
        report = self._say(
            intents.Use.PRIMARY, ports, CONF.vf_failover.failback_timeout,
            lambda intent: self._channel.tell(self._guest, intent))
        _require(report, report.accepted,
                 'The guest will not go back to its VFs',
                 'The guest has not said that it waits for its VFs')

    def await_primary(self, ports: list[Port]) -> None:
        """Wait until the guest uses its VFs.

        :raises exception.GuestRefused: it stays on its standby NICs
        :raises exception.ChannelError: nobody knows where it is
        """
        report = self._ask(intents.Use.PRIMARY, ports,
                           CONF.vf_failover.failback_timeout)
        _require(report, report.finished,
                 'The guest stays on its standby NICs',
                 'The guest has not moved to its VFs in time')

    def _ask(self, use: intents.Use, ports: list[Port],
             timeout: int) -> intents.Report:
        report = self._say(
            use, ports, timeout,
            lambda intent: self._channel.ask(self._guest, intent, timeout))
        self._heard(report)
        return report

    def _say(self, use: intents.Use, ports: list[Port], timeout: int,
             say: Callable[[intents.Intent], intents.Report],
             ) -> intents.Report:
        """Have the guest take an intent, whatever it has taken before.

        Generations are made of clocks, and that of another host, or of this
        one before it was set, may have been ahead.
        """
        intent = self._ledger.intent(use, ports, timeout)
        report = say(intent)
        if (report.state is intents.ReportState.REFUSED
                and report.taken >= intent.generation):
            self._ledger.surpass(report.taken)
            report = say(self._ledger.intent(use, ports, timeout))
        return report


def _require(report: intents.Report, fulfilled: bool, refused: str,
             unknown: str) -> None:
    """See that a guest has done what it was told.

    :param refused: what a guest says that stays on the NIC that it uses
    :param unknown: what is known of one that says neither
    """
    if report.stayed:
        raise exception.GuestRefused(f'{refused}: {report.message}')
    if not fulfilled:
        raise exception.ChannelError(
            f'{unknown}: {report.message or report.state.value}')
