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

"""Failover of one server's ports, step by step: to their standbys."""

from __future__ import annotations

import contextlib

from nova import exception as nova_exception
from oslo_log import log as logging

from nova_vf_failover import equipment
from nova_vf_failover import exception
from nova_vf_failover import journal
from nova_vf_failover import ports as vf_ports

LOG = logging.getLogger(__name__)

State = journal.State
Port = vf_ports.Port


class Failover:
    """Moves ports from their primaries to their standbys."""

    def __init__(self, its: equipment.Equipment) -> None:
        self._equipment = its
        self._instance = its.instance
        self._guest = its.guest
        self._plugs = its.plugs
        self._standby = its.standby
        self._filters = its.filters
        self._ledger = its.ledger
        self._conversation = its.conversation
        self._step = its.step

    def move(self, ports: list[Port]) -> None:
        """Move ports onto their standbys and take their VFs out.

        :raises exception.VFFailoverError: it did not work; the journal says
            how far it came
        """
        self._equipment.undo_steering(ports)
        self._attach_standbys(ports)
        deaf = self._send_guest_to_standby(ports)
        self._steer_to_standby(deaf)
        self.detach_primaries(ports, deaf)

    def _attach_standbys(self, ports: list[Port]) -> None:
        with self._step('standby attach', ports):
            self._take_out_asked(ports)
            self._ledger.enter(State.ATTACHING, [
                port for port in ports
                if self._ledger.state(port) in (None, State.CLEARING)])
            for port in ports:
                if self._guest.standby(port.mac) is None:
                    self._attach_standby(port)
            self._equipment.tell_attached(ports)

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

    def _steer_to_standby(self, ports: list[Port]) -> None:
        for port in ports if self._filters.moved else ():
            with contextlib.suppress(exception.SteeringError), self._step(
                    'steering', [port]):
                self._ledger.enter(State.DETACHING, [port])
                self._filters.to_standby(
                    port.vif, self._guest.standby_device(port.mac))

    def detach_primaries(self, ports: list[Port], deaf: list[Port]) -> None:
        """Take the VFs out of the guest, which uses the standbys.

        :param deaf: the ports whose standby hears nothing while the VF is
            there
        :raises nova.exception.DeviceDetachFailed: the guest keeps one
        """
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
