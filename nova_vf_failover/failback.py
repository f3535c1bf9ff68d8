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

"""Failback of one server's ports, step by step: to their primaries."""

from __future__ import annotations

from collections.abc import Callable

from oslo_log import log as logging

from nova_vf_failover import attachment as attachments
from nova_vf_failover import equipment
from nova_vf_failover import exception
from nova_vf_failover import journal
from nova_vf_failover import ports as vf_ports

LOG = logging.getLogger(__name__)

State = journal.State
Port = vf_ports.Port

# By port, why it is not back.
Reasons = dict[str, str]

# The guest has not said that it is where it is wanted.
_ELSEWHERE = (exception.ChannelError, exception.GuestRefused)


class Failback:
    """Moves ports back to their primaries, from wherever they stand.

    :param attachment: attaches these, or others in their place
    """

    def __init__(self, its: equipment.Equipment,
                 attachment: attachments.Attachment) -> None:
        self._equipment = its
        self._instance = its.instance
        self._guest = its.guest
        self._plugs = its.plugs
        self._standby = its.standby
        self._ledger = its.ledger
        self._conversation = its.conversation
        self._reporter = its.reporter
        self._step = its.step
        self._attachment = attachment

    def move(self, away: list[Port]) -> Reasons:
        """Bring ports that are in the journal back onto their VFs.

        :returns: why ports stay on their standby
        """
        # After a migration they are new to this host.
        self._equipment.tell_attached(away)
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

    def _restore(self, ports: list[Port]) -> Reasons:
        """See that ports without a standby have their VFs.

        The guest need not be armed, for there is nothing to be moved, and on
        one of the channels it could not answer.

        :returns: why ports have no VF still
        """
        return self._return(ports, send=self._send_to_only_nic)

    def _return_guest(self, ports: list[Port]) -> Reasons:
        """Attach the VFs and have the guest use them.

        The guest is armed before a VF appears: a NIC that does not replicate
        delivers to the VF from that moment on.

        :returns: why ports stay on their standby
        """
        self._equipment.undo_steering(ports)
        return self._return(ports, arm=self._conversation.arm,
                            send=self._send_to_primary)

    def _return(self, ports: list[Port],
                send: Callable[[list[Port]], Reasons],
                arm: Callable[[list[Port]], None] | None = None) -> Reasons:
        """Attach the VFs of ports, and send the guest to those.

        :param send: tells the guest of those that are attached
        :param arm: has the guest wait for them before they are
        :returns: why ports are not back, as the journal says by then
        """
        if not ports:
            return {}
        reasons: Reasons = {}
        try:
            with self._step('vf attach', ports):
                self._ledger.new_generation()
                self._ledger.enter(State.RETURNING, ports)
                claimed, reasons = self._attachment.claim(ports)
                if claimed and arm:
                    arm(claimed)
                failed = self._attachment.attach(claimed)
                reasons |= failed
                if arm and failed:
                    # The guest waits for all the ports of an intent.
                    self._ledger.new_generation()
        except _ELSEWHERE as error:
            reasons = {port.id: str(error) for port in ports} | reasons
        back = [port for port in ports if port.id not in reasons]
        if back:
            reasons |= send(back)
        self._remember(ports, reasons)
        return reasons

    def _send_to_primary(self, ports: list[Port]) -> Reasons:
        """Have the guest leave its standbys for the VFs."""
        try:
            with self._step('guest failback', ports):
                self._conversation.await_primary(ports)
        except _ELSEWHERE as error:
            return {port.id: str(error) for port in ports}
        return {}

    def _send_to_only_nic(self, ports: list[Port]) -> Reasons:
        """Have the guest use VFs beside which it has nothing."""
        self._reporter.without_nic()
        try:
            with self._step('guest failback', ports):
                self._conversation.await_primary(ports)
        except _ELSEWHERE as error:
            # There is no other NIC on which it could stay.
            LOG.warning('Port(s) %(ports)s have their VFs; that the guest '
                        'uses them is not known: %(error)s',
                        {'ports': ', '.join(port.id for port in ports),
                         'error': error}, instance=self._instance)
        return {}

    def _remember(self, ports: list[Port], reasons: Reasons) -> None:
        """Write into the journal which ports have not come back, and why."""
        for port in ports:
            if port.id in reasons:
                present = self._guest.primary(port.mac) is not None
                self._ledger.enter(
                    State.RETURNING if present else State.STANDBY, [port],
                    reasons[port.id])

    def _detach_standbys(self, ports: list[Port]) -> Reasons:
        """Take out the standbys of ports whose guest uses the VF.

        :returns: why standbys stay, by port
        """
        if not ports:
            return {}
        reasons: Reasons = {}
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
