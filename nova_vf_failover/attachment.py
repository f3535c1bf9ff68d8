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

"""How the VFs of a server get into its guest again."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses

from nova import objects
from nova.virt.libvirt import guest as libvirt_guest
from oslo_log import log as logging

from nova_vf_failover import claims as vf_claims
from nova_vf_failover import domain
from nova_vf_failover import exception
from nova_vf_failover import ledger as ledgers
from nova_vf_failover import negotiation
from nova_vf_failover import ports as vf_ports
from nova_vf_failover.standby import base as standbys

LOG = logging.getLogger(__name__)

Port = vf_ports.Port


class Attachment:
    """Attaches primaries, the claimed ones or others in their place.

    :param claims: the VFs that the server has claimed
    :param ledger: counts the attempts that were made for each port
    """

    def __init__(self, instance: objects.Instance, guest: domain.Domain,
                 plugs: vf_ports.Plugs, claims: vf_claims.ServerClaims,
                 ledger: ledgers.Ledger) -> None:
        self._instance = instance
        self._guest = guest
        self._plugs = plugs
        self._claims = claims
        self._ledger = ledger

    def claim(self, ports: list[Port]) -> tuple[list[Port], dict[str, str]]:
        """See that each port has a VF of this host that can be used.

        Before the guest is asked whether it goes back: what starts a server
        anew, as a hard reboot or the end of a resize that is reverted, takes
        the VF that it has, and fails where that has gone.

        :returns: the ports with their VFs, and why others have none
        """
        ready: list[Port] = []
        reasons: dict[str, str] = {}
        for port in ports:
            try:
                ready.append(self._with_vf(port))
            except Exception as error:
                # Of the tracker, of the database, of Neutron: the other
                # ports go on, and this one has its standby.
                LOG.exception('No VF can be claimed for port %s', port.id,
                              instance=self._instance)
                reasons[port.id] = f'No VF can be claimed for it: {error}'
        return ready, reasons

    def attach(self, ports: list[Port]) -> dict[str, str]:
        """See that each port has its VF, in the running domain and the other.

        :param ports: as :meth:`claim` has returned them
        :returns: the ports that have none, and why
        """
        reasons: dict[str, str] = {}
        for port in ports:
            try:
                self._attach_one(port)
            except Exception as error:
                # Whatever it is that one VF cannot have: the other ports go
                # on, and this one has its standby.
                LOG.exception('The VF of port %s cannot be attached', port.id,
                              instance=self._instance)
                reasons[port.id] = f'Its VF cannot be attached: {error}'
        return reasons

    def _with_vf(self, port: Port) -> Port:
        if self._guest.primary(port.mac):
            return port
        return dataclasses.replace(port, vif=self._claims.reclaim(port.vif))

    def _attach_one(self, port: Port) -> None:
        """Attach the port's VF, or another one where that cannot be used.

        What a first attempt says may be a whim of the host; a VF that could
        not be attached at first and cannot now is exchanged. One that the
        guest has is what was wanted, whatever Nova could not note down.
        """
        if self._guest.primary(port.mac):
            self._guest.keep_primary(port.mac)
            return
        # One that was pulled out of the host is still in the persistent XML.
        self._guest.detach_primary(port.mac)
        try:
            self._plugs.attach(port.vif)
        except Exception as error:
            if self._guest.primary(port.mac):
                LOG.warning('The VF of port %(port)s is attached: %(error)s',
                            {'port': port.id, 'error': error},
                            instance=self._instance)
                self._guest.keep_primary(port.mac)
                return
            self._need_slot(port, error)
            if not self._ledger.entries[port.id].attempts:
                raise
            LOG.warning('VF %(vf)s of port %(port)s cannot be attached again '
                        '(%(error)s); another one is taken',
                        {'vf': port.vif['profile']['pci_slot'],
                         'port': port.id, 'error': error},
                        instance=self._instance)
            self._plugs.attach(self._claims.reclaim(
                port.vif, spoiled=port.vif['profile']['pci_slot']))

    def _need_slot(self, port: Port, error: Exception) -> None:
        """See whether it is the guest that has no place for a VF.

        What was attached to a server while its VF was away may have taken its
        slot. Asked only afterwards, for a machine may have buses of which
        :meth:`domain.Domain.free_slots` does not know.

        :param error: why the VF could not be attached
        :raises exception.CannotSwap: any other VF could not be either
        """
        if self._guest.free_slots() == 0:
            raise exception.CannotSwap(
                exception.ports(port.id),
                'the guest has no free PCI slot for its VF.',
                'Detach what has taken it, or hard reboot the server.',
                str(error)) from error


def reattach(instance: objects.Instance, guest: domain.Domain,
             direct: Iterable[standbys.VIF],
             attach: Callable[[standbys.VIF], None]) -> None:
    """Attach the direct ports that Nova has detached by itself.

    :param direct: ports of any of these types
    :param attach: how Nova attaches one
    """
    for vif in direct:
        if not guest.has_device_of(vif):
            LOG.info('Attaching port %s again', vif['id'], instance=instance)
            attach(vif)
        elif negotiation.is_vf(vif):
            _keep(instance, guest, vif)


def _keep(instance: objects.Instance, guest: domain.Domain,
          vif: standbys.VIF) -> None:
    """Remember a VF that Nova has asked a guest for, which has kept it."""
    mac = vif['address'].lower()
    try:
        if guest.has_kept_primary(mac):
            ledgers.Ledger(guest).keep(vif['id'], mac)
            guest.keep_primary(mac)
    except (exception.VFFailoverError,
            libvirt_guest.libvirt.libvirtError) as error:
        LOG.warning('The VF of port %(port)s may not be there after a reboot: '
                    '%(error)s', {'port': vif['id'], 'error': error},
                    instance=instance)
