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

"""What is done with the ports of one server, whoever asks for it.

The story is told in :mod:`.failover`, the way to the standbys, and in
:mod:`.failback`, the way back. Each step first writes into the journal what
it is about to do, then does what has not been done yet. So a step may be
repeated, and whoever finds the journal, on this host or on the next one, can
go on or go back from there.
"""

from __future__ import annotations

from collections.abc import Iterable
import typing

from nova import exception as nova_exception
from nova import objects
from oslo_log import log as logging

from nova_vf_failover import attachment
from nova_vf_failover.channels import base as channels
from nova_vf_failover import claims as vf_claims
from nova_vf_failover import conversation
from nova_vf_failover import domain
from nova_vf_failover import equipment
from nova_vf_failover import exception
from nova_vf_failover import failback
from nova_vf_failover import failover
from nova_vf_failover import journal
from nova_vf_failover import ledger
from nova_vf_failover import moves
from nova_vf_failover import operations
from nova_vf_failover import ports as vf_ports
from nova_vf_failover import readiness
from nova_vf_failover import reporting
from nova_vf_failover.standby import base as standbys
from nova_vf_failover.steering import filters as receive_filters

LOG = logging.getLogger(__name__)

State = journal.State
Port = vf_ports.Port
Plugs = vf_ports.Plugs


class Swap:
    """The moves of one server's ports between primary and standby.

    It belongs to one operation; everything that outlives it is in the
    journal. The caller holds Nova's task state of the server.
    """

    def __init__(
        self, instance: objects.Instance, guest: domain.Domain,
        plugs: Plugs, standby: standbys.Standby, channel: channels.Channel,
        filters: receive_filters.Filters, claims: vf_claims.ServerClaims,
        reporter: reporting.Reporter,
        operation: operations.Operation | None = None,
    ) -> None:
        self._instance = instance
        self._guest = guest
        self._standby = standby
        self._reporter = reporter
        self._operation = operation or operations.Operation(yields=False)
        self._ledger = ledger.Ledger(guest)
        its = equipment.Equipment(
            instance, guest, plugs, standby, filters, self._ledger,
            conversation.Conversation(
                guest, self._ledger, channel, reporter.heard),
            reporter, self._step)
        self._readiness = readiness.Readiness(
            instance, guest, claims, standby, its.conversation)
        self._failover = failover.Failover(its)
        self._failback = failback.Failback(its, attachment.Attachment(
            instance, guest, plugs, claims, self._ledger))

    # -- before the move --------------------------------------------------

    def check(self, ports: list[Port]) -> None:
        """See whether :meth:`failover` would work; changes nothing.

        :raises exception.CannotSwap: it would not, and why
        """
        leaving = self._on_primary(ports)
        with self._step('check', leaving):
            self._readiness.check(leaving)

    # -- primary -> standby ------------------------------------------------

    def failover(self, ports: list[Port]) -> None:
        """Move every port onto its standby and take the VFs out.

        :raises exception.VFFailoverError: it did not work; the journal says
            how far it came, and :meth:`failback` leads back from there
        """
        self._ledger.count_anew()
        leaving = self._on_primary(ports)
        if not leaving:
            return
        with self._reporter.move(moves.FAILOVER, _ids(leaving), self._guest):
            self._failover.move(leaving)

    # -- standby -> primary ------------------------------------------------

    def failback(self, ports: Iterable[Port]) -> None:
        """Bring every port that is in the journal back onto its VF.

        It is the way back from wherever the journal says that a port stands:
        after a migration, after an abort, after a failed failover.

        :raises exception.Degraded: some ports stay on their standby
        """
        away = [port for port in ports if port.id in self._ledger.away()]
        if not away:
            return
        before = tuple(self._ledger.entries.values())
        with self._reporter.move(moves.FAILBACK, _ids(away), self._guest):
            try:
                reasons = self._failback.move(away)
            except exception.SwapCancelled:
                raise
            except Exception as error:
                self._ledger.explain(
                    f'{type(error).__name__}: {error}', before)
                raise
            if reasons:
                self._reporter.degraded(reasons)
                raise exception.Degraded(reasons)

    def resume(self, ports: Iterable[Port]) -> None:
        """Bring ports back after nova-compute has died in between.

        As :meth:`failback`, which it ends in. A guest that was asked to let
        a VF go may do so at any time, and must not be sent back to that VF;
        it uses its standby, so the detach is finished first.

        :raises exception.Degraded: some ports stay on their standby
        """
        ports = list(ports)
        leaving = [port for port in ports
                   if self._ledger.state(port) is State.DETACHING]
        if leaving:
            try:
                # Whether a standby is heard was in the report that is lost.
                self._failover.detach_primaries(leaving, leaving)
            except nova_exception.DeviceDetachFailed:
                LOG.warning('The guest keeps VFs that it was asked for; it '
                            'is sent back to them', exc_info=True,
                            instance=self._instance)
        self.failback(ports)

    def forget(self, port: Port) -> None:
        """Take out the NICs of a port that leaves the server for good.

        :raises nova.exception.DeviceDetachFailed: the guest keeps one
        """
        self._guest.detach_primary(port.mac)
        self._guest.detach_standby(port.mac)
        vf_ports.release(self._standby, port)
        self._ledger.close(port.id)

    def abandon(self, port_id: str) -> None:
        """Take out the NICs of a port that is another server's, or gone.

        What they leave on the host is found by the standby driver's sweep.

        :raises nova.exception.DeviceDetachFailed: the guest keeps one
        """
        mac = self._ledger.entries[port_id].mac
        self._guest.detach_primary(mac)
        self._guest.detach_standby(mac)
        self._ledger.close(port_id)

    # -- the journal ---------------------------------------------------------

    @property
    def ledger(self) -> ledger.Ledger:
        """Where the ports of the server stand."""
        return self._ledger

    def _on_primary(self, ports: list[Port]) -> list[Port]:
        return [port for port in ports
                if self._ledger.state(port) is not State.STANDBY]

    def _step(self, name: str,
              ports: list[Port]) -> typing.ContextManager[None]:
        self.stop_if_cancelled(name)
        return self._reporter.step(name, _ids(ports))

    def stop_if_cancelled(self, ahead: str) -> None:
        """:raises exception.SwapCancelled: what is ahead is not wanted"""
        if not self._operation.cancelled.is_set():
            return
        if self._operation.yields:
            raise exception.MadeWay(
                f'Recovery has made way for something else before "{ahead}".')
        what = ('nova-compute was stopped' if self._operation.stopped
                else 'The live migration was aborted')
        raise exception.SwapCancelled(f'{what} before "{ahead}".')


def _ids(ports: Iterable[Port]) -> list[str]:
    return [port.id for port in ports]
