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

"""The receive filters of one server's ports, which may not be moved at all."""

from __future__ import annotations

from nova import objects
from oslo_log import log as logging

from nova_vf_failover import exception
from nova_vf_failover.steering import base

LOG = logging.getLogger(__name__)


class Filters:
    """Has a driver move filters, and goes on where it cannot.

    A driver may be somebody else's, so it may raise anything; and what it
    cannot do is what a move without it does not do either.
    """

    def __init__(self, steering: base.Steering,
                 instance: objects.Instance) -> None:
        self._steering = steering
        self._instance = instance

    @property
    def moved(self) -> bool:
        """Whether the driver moves any."""
        return self._steering.acts

    def to_standby(self, vif: base.VIF, device: str) -> None:
        """See :meth:`.base.Steering.to_standby`; all or nothing.

        :raises exception.SteeringError: nothing, and the move can go on
        """
        try:
            self._steering.to_standby(vif, device)
        except Exception as error:
            LOG.exception('The NIC goes on delivering port %s to its VF until '
                          'that has gone', vif['id'], instance=self._instance)
            self.to_primary(vif)
            raise exception.SteeringError(
                f'the NIC goes on delivering to the VF: {error}') from error

    def vf_left(self, vif: base.VIF, device: str) -> None:
        """See :meth:`.base.Steering.vf_left`."""
        try:
            self._steering.vf_left(vif, device)
        except Exception:
            LOG.exception('The VF of port %(port)s has left, and its filter '
                          'may not be what it was. If the server cannot be '
                          'reached: ip link set %(device)s down, then up',
                          {'port': vif['id'], 'device': device},
                          instance=self._instance)

    def to_primary(self, vif: base.VIF) -> None:
        """See :meth:`.base.Steering.to_primary`."""
        try:
            self._steering.to_primary(vif)
        except Exception:
            LOG.exception('The VF of port %s may still have a placeholder for '
                          'its MAC; the guest does not use it then',
                          vif['id'], instance=self._instance)
