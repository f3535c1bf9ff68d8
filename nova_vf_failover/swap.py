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

"""Failover and failback of one server, in the order in which things happen.

Each step first writes into the journal what it is about to do, then does what
has not been done yet. So a step may be repeated, and whoever finds the
journal, on this host or on the next one, can go on or go back from there.
"""

from __future__ import annotations

from collections.abc import Iterable
import contextlib
import typing

from nova import exception as nova_exception
from nova import objects
from oslo_log import log as logging

from nova_vf_failover import attachment
from nova_vf_failover.channels import base as channels
from nova_vf_failover import claims
from nova_vf_failover import conversation
from nova_vf_failover import domain
from nova_vf_failover import exception
from nova_vf_failover import journal
from nova_vf_failover import ledger
from nova_vf_failover import moves
from nova_vf_failover import operations
from nova_vf_failover import ports as vf_ports
from nova_vf_failover import readiness
from nova_vf_failover import reporting
from nova_vf_failover.standby import base as standbys
from nova_vf_failover.steering import filters

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
        steered: filters.Filters, claimed: claims.ServerClaims,
        reporter: reporting.Reporter,
        operation: operations.Operation | None = None,
    ) -> None:
        self._instance = instance
        self._guest = guest
        self._plugs = plugs
        self._standby = standby
        self._filters = steered
        self._reporter = reporter
        self._operation = operation or operations.Operation(yields=False)
        self._ledger = ledger.Ledger(guest)
        self._conversation = conversation.Conversation(
            guest, self._ledger, channel, reporter.heard)
        self._attachment = attachment.Attachment(
            instance, guest, plugs, claimed, self._ledger)
        self._readiness = readiness.Readiness(
            instance, guest, claimed, standby, self._conversation)

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
            self._undo_steering(leaving)
            self._attach_standbys(leaving)
            deaf = self._send_guest_to_standby(leaving)
            self._steer_to_standby(deaf)
            self._detach_primaries(leaving, deaf)

    def _attach_standbys(self, ports: list[Port]) -> None:
        with self._step('standby attach', ports):
            self._take_out_asked(ports)
            self._ledger.enter(State.ATTACHING, [
                port for port in ports
                if self._ledger.state(port) in (None, State.CLEARING)])
            for port in ports:
                if self._guest.standby(port.mac) is None:
                    self._attach_standby(port)
            self._tell_attached(ports)

    def _attach_standby(self, port: Port) -> None:
        standby = self._standby.describe(port.vif)
        try:
            with self._standby.plugging(standby):
                self._plugs.attach(standby)
        except nova_exception.InterfaceAttachFailed as error:
            if self._guest.standby(port.mac) is None:
                raise
            # Nova could not note down where it is.
            LOG.warning('The standby of port %(port)s is attached: %(error)s',
                        {'port': port.id, 'error': error},
                        instance=self._instance)

    def _take_out_asked(self, ports: list[Port]) -> None:
        """A standby that was asked to go may do so at any time."""
        for port in ports:
            if self._ledger.state(port) is State.CLEARING:
                self._guest.detach_standby(port.mac)

    def _tell_attached(self, ports: Iterable[Port]) -> None:
        vf_ports.tell_attached(self._standby, self._guest,
                               [port.mac for port in ports])

    def _send_guest_to_standby(self, ports: list[Port]) -> list[Port]:
        """Have the guest use its standbys.

        :returns: the ports whose standby hears nothing while the VF is there
        """
        with self._step('guest failover', ports):
            # Of these alone it is known that the guest uses the VF.
            untold = [port for port in ports
                      if self._ledger.state(port) is State.ATTACHING]
            self._ledger.new_generation()
            self._ledger.enter(State.SWITCHING, [
                port for port in ports
                if self._ledger.state(port) is not State.DETACHING])
            try:
                return self._conversation.send_to_standby(ports)
            except exception.GuestRefused:
                self._ledger.enter(State.CLEARING, untold)
                raise

    def _undo_steering(self, ports: list[Port]) -> None:
        """Let VFs that have never left hear the network again.

        The guest looks at once whether it hears it there.
        """
        for port in ports:
            if self._ledger.state(port) and self._guest.primary(port.mac):
                self._filters.to_primary(port.vif)

    def _steer_to_standby(self, ports: list[Port]) -> None:
        for port in ports if self._filters.moved else ():
            with contextlib.suppress(exception.SteeringError), self._step(
                    'steering', [port]):
                self._ledger.enter(State.DETACHING, [port])
                self._filters.to_standby(
                    port.vif, self._guest.standby_device(port.mac))

    def _detach_primaries(self, ports: list[Port], deaf: list[Port]) -> None:
        with self._step('vf detach', ports):
            self._ledger.enter(State.DETACHING, ports)
            for number, port in enumerate(ports):
                try:
                    self._guest.detach_primary(port.mac)
                except nova_exception.DeviceDetachFailed:
                    # It keeps this one, and was not asked for the others.
                    self._ledger.enter(State.RETURNING, ports[number:])
                    raise
                self._plugs.unplug(port.vif)
                if port in deaf:
                    self._filters.vf_left(
                        port.vif, self._guest.standby_device(port.mac))
                self._ledger.enter(State.STANDBY, [port])

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
        with self._reporter.move(moves.FAILBACK, _ids(away), self._guest):
            try:
                reasons = self._bring_back(away)
            except exception.SwapCancelled:
                raise
            except Exception as error:
                self._ledger.explain(f'{type(error).__name__}: {error}')
                raise
            if reasons:
                self._reporter.degraded(reasons)
                raise exception.Degraded(reasons)

    def _bring_back(self, away: list[Port]) -> dict[str, str]:
        """:returns: the ports that stay on their standby, and why"""
        # After a migration they are new to this host.
        self._tell_attached(away)
        bare = [port for port in away if self._has_no_standby(port)]
        reasons = self._restore(bare)
        reasons |= self._return_guest(
            [port for port in away
             if port not in bare and not self._uses_primary(port)])
        reasons |= self._detach_standbys(
            [port for port in away if port.id not in reasons])
        # Nova has noted down each VF beside the standby that has gone now.
        self._plugs.note()
        return reasons

    def _uses_primary(self, port: Port) -> bool:
        """Whether the guest is known to use the VF, which is there."""
        return (self._ledger.state(port) in (State.ATTACHING, State.CLEARING)
                and self._guest.primary(port.mac) is not None)

    def _has_no_standby(self, port: Port) -> bool:
        """Whether there is nothing from which the guest could go back."""
        return (self._guest.standby(port.mac) is None
                and not self._uses_primary(port))

    def _restore(self, ports: list[Port]) -> dict[str, str]:
        """See that ports without a standby have their VFs.

        The guest need not be armed, for there is nothing to be moved, and on
        one of the channels it could not answer.

        :returns: the ports that have no VF still, and why
        """
        if not ports:
            return {}
        with self._step('vf attach', ports):
            self._ledger.new_generation()
            self._ledger.enter(State.RETURNING, ports)
            claimed, reasons = self._attachment.claim(ports)
            reasons |= self._attachment.attach(claimed)
        back = [port for port in ports if port.id not in reasons]
        if back:
            self._reporter.without_nic()
            self._send_to_only_nic(back)
        self._remember(ports, reasons)
        return reasons

    def _send_to_only_nic(self, ports: list[Port]) -> None:
        """Have the guest use VFs beside which it has nothing."""
        try:
            with self._step('guest failback', ports):
                self._conversation.await_primary(ports)
        except (exception.ChannelError, exception.GuestRefused) as error:
            # There is no other NIC on which it could stay.
            LOG.warning('Port(s) %(ports)s have their VFs; that the guest '
                        'uses them is not known: %(error)s',
                        {'ports': ', '.join(_ids(ports)), 'error': error},
                        instance=self._instance)

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
                self._detach_primaries(leaving, leaving)
            except nova_exception.DeviceDetachFailed:
                LOG.warning('The guest keeps VFs that it was asked for; it '
                            'is sent back to them', exc_info=True,
                            instance=self._instance)
        self.failback(ports)

    def _return_guest(self, ports: list[Port]) -> dict[str, str]:
        """Attach the VFs and have the guest use them.

        :returns: the ports that stay on their standby, and why
        """
        if not ports:
            return {}
        reasons: dict[str, str] = {}
        self._undo_steering(ports)
        try:
            with self._step('vf attach', ports):
                self._ledger.new_generation()
                self._ledger.enter(State.RETURNING, ports)
                claimed, reasons = self._attachment.claim(ports)
                if claimed:
                    # The guest is armed before a VF appears: a NIC that does
                    # not replicate delivers to the VF from that moment on.
                    self._conversation.arm(claimed)
                    reasons |= self._attachment.attach(claimed)
            back = [port for port in ports if port.id not in reasons]
            if len(back) < len(claimed):
                # The guest waits for all the ports of an intent.
                self._ledger.new_generation()
            if back:
                with self._step('guest failback', back):
                    self._conversation.await_primary(back)
        except (exception.ChannelError, exception.GuestRefused) as error:
            reasons = {port.id: str(error) for port in ports} | reasons
        self._remember(ports, reasons)
        return reasons

    def _remember(self, ports: list[Port], reasons: dict[str, str]) -> None:
        """Write into the journal which ports have not come back, and why."""
        for port in ports:
            if port.id in reasons:
                present = self._guest.primary(port.mac) is not None
                self._ledger.enter(
                    State.RETURNING if present else State.STANDBY, [port],
                    reasons[port.id])

    def _detach_standbys(self, ports: list[Port]) -> dict[str, str]:
        """Take out the standbys of ports whose guest uses the VF.

        :returns: the ports whose standby stays, and why
        """
        if not ports:
            return {}
        reasons = {}
        with self._step('standby detach', ports):
            self._ledger.enter(State.CLEARING, ports)
            for port in ports:
                try:
                    self._guest.detach_standby(port.mac)
                    vf_ports.release(self._standby, port)
                except Exception as error:
                    # The guest is on its VF: what is left is tidying up.
                    LOG.exception('The standby of port %s cannot be removed',
                                  port.id, instance=self._instance)
                    reasons[port.id] = (
                        f'Its standby cannot be removed: {error}')
                    self._ledger.enter(
                        State.CLEARING, [port], reasons[port.id])
                else:
                    self._ledger.close(port.id)
        return reasons

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
