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

"""Which servers are swapped, which are left to Nova, and which stay.

Each host answers for its part before a live migration begins. Whatever it runs
into there is an answer too: Nova's conductor puts a server into ERROR for an
exception that is none of Nova's own for this purpose (bug 2044235).
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
import contextlib

from nova.compute import power_state
from nova import exception as nova_exception
from nova.network import model
from nova import objects
from oslo_config import cfg
from oslo_log import log as logging

from nova_vf_failover import exception
from nova_vf_failover import modes
from nova_vf_failover import negotiation
from nova_vf_failover import nova_types
from nova_vf_failover import workbench

LOG = logging.getLogger(__name__)
CONF = cfg.CONF

# Seconds for all that a check does besides what the guest is given: the way
# to it and back, and the questions to the host.
_ASKING = 15

Context = nova_types.Context
MigrateData = nova_types.MigrateData


class Admission:
    """Asked on the source and on the destination before a live migration.

    :param bench: what there is on this host
    """

    def __init__(self, bench: workbench.Workbench) -> None:
        self._bench = bench

    def forget(self, context: Context, instance: objects.Instance) -> None:
        """On the destination: give back what an earlier try has claimed.

        Nobody has told this host that it was undone. Nova frees the VFs in
        its next periodic update, and never once it has claimed others for the
        same server (bug 1860555).
        """
        if not (self._bench.claims.known()
                and any(negotiation.is_vf(vif)
                        for vif in instance.get_network_info())):
            return
        self._give_back(context, instance)

    def offer(self, context: Context, instance: objects.Instance,
              data: MigrateData) -> None:
        """On the source: offer to swap, if every VF port could be.

        :raises nova.exception.MigrationPreCheckError: it has to be swapped
            and cannot be
        """
        network_info = instance.get_network_info()
        if not any(negotiation.is_vf(vif) for vif in network_info):
            return
        try:
            with _answering(instance):
                self._offer(context, instance, data, network_info)
        except exception.CannotSwap as refusal:
            # Not even whether a standby is in the guest could be found out.
            raise _error(refusal)

    def _offer(self, context: Context, instance: objects.Instance,
               data: MigrateData, network_info: model.NetworkInfo) -> None:
        if self._left_to_nova(instance):
            return
        mode = modes.of(instance)
        try:
            with _answering(instance):
                self._check(context, instance, network_info)
                away = self._bench.domain(instance).read_journal().entries
        except exception.CannotSwap as refusal:
            self._refuse_or_go_native(instance, refusal, mode)
        else:
            negotiation.offer(data, network_info,
                              mode is modes.Mode.REQUIRED, away)

    def weigh(self, context: Context, instance: objects.Instance,
              data: MigrateData) -> None:
        """On the destination: see whether its PFs could carry a standby.

        Those of other VFs, where Nova has claimed some that cannot be used.

        :raises nova.exception.MigrationPreCheckError: one could not, and the
            server has to be swapped
        """
        offers = negotiation.offers(data)
        if not offers:
            return
        try:
            with _answering(instance):
                self._bench.selection.improve(
                    context, instance, data,
                    lambda: self._useless(instance, offers))
        except exception.CannotSwap as error:
            # What is claimed is not known.
            self._give_back(context, instance)
            raise _error(error)
        for offer in offers:
            refusal = self._refusal(instance, offer)
            if refusal and offer.required:
                self._give_back(context, instance)
                raise _error(refusal)
            if refusal:
                offer.decline(str(refusal))

    def _useless(self, instance: objects.Instance,
                 offers: Iterable[negotiation.Offer]) -> dict[str, str]:
        """What is wrong with the VFs claimed for a server, by address."""
        faults = {}
        for offer in offers:
            address = offer.destination_profile()['profile'].get('pci_slot')
            fault = (self._refusal(instance, offer)
                     or self._unfit(instance, address))
            if fault:
                faults[address] = str(fault)
        return faults

    def _unfit(self, instance: objects.Instance, address: str) -> str | None:
        """Why the server cannot use the VF, as far as that can be seen."""
        try:
            return self._bench.claims.fault(instance, address)
        except Exception:
            # Of libvirt or the kernel. It is looked at again on arrival.
            LOG.exception('It cannot be found out whether VF %s can be used',
                          address, instance=instance)
            return None

    def _refusal(self, instance: objects.Instance, offer: negotiation.Offer,
                 ) -> exception.CannotSwap | None:
        """Why no standby could be where the port's VF is claimed."""
        try:
            with _answering(instance,
                            exception.ports(offer.source_vif['id'])):
                self._bench.standby.check(offer.destination_profile())
        except exception.CannotSwap as refusal:
            return refusal
        return None

    def _check(self, context: Context, instance: objects.Instance,
               network_info: model.NetworkInfo) -> None:
        """:raises exception.CannotSwap: this server stays with Nova's way"""
        if self._bench.power_state(instance) != power_state.RUNNING:
            raise exception.CannotSwap(
                exception.server(instance.uuid), 'it is not running, so its '
                'guest cannot change NICs.', 'Unpause or resume it first.')
        try:
            with self._bench.operations.begin(instance.uuid, _patience()):
                self._bench.swap(context, instance).check(
                    self._bench.ports(network_info))
        except exception.Busy as busy:
            raise exception.CannotSwap(
                exception.server(instance.uuid), str(busy), '') from busy

    def _give_back(self, context: Context,
                   instance: objects.Instance) -> None:
        try:
            self._bench.claims.release(context, instance)
        except Exception:
            # Of the database. What the server is told does not depend on it,
            # and Nova's periodic update tries it again.
            LOG.exception('What a live migration has claimed here stays '
                          'claimed for now', instance=instance)

    def _left_to_nova(self, instance: objects.Instance) -> bool:
        """Whether the server is not to be swapped.

        A server that is degraded has to be, whatever it asks for: Nova would
        rewrite the standby as a VF and then fail to migrate it.
        """
        return (modes.of(instance) is modes.Mode.OFF and not
                self._bench.domain(instance).read_journal().entries)

    def _refuse_or_go_native(self, instance: objects.Instance,
                             refusal: exception.CannotSwap,
                             mode: modes.Mode) -> None:
        # Nova would rewrite the standby as a VF and then fail to migrate it.
        if (mode is modes.Mode.REQUIRED
                or self._bench.domain(instance).read_journal().entries):
            raise _error(refusal)
        LOG.warning('The live migration will interrupt the network of the '
                    'server: %s', refusal, instance=instance)


def _patience() -> float:
    """Seconds for which a check can wait for recovery to make way.

    The destination waits for the source's answer as long as for any other
    call, and Nova 29 puts a server into ERROR whose check is not answered.
    """
    return float(max(1, CONF.rpc_response_timeout
                     - CONF.vf_failover.check_timeout - _ASKING))


@contextlib.contextmanager
def _answering(instance: objects.Instance,
               subject: str | None = None) -> Iterator[None]:
    """Whatever a check runs into is a reason against a swap.

    :param subject: what is looked at, if it is not the whole server
    :raises exception.CannotSwap: the check has not come to its end
    """
    try:
        yield
    except (exception.CannotSwap, nova_exception.MigrationPreCheckError):
        raise
    except Exception as error:
        # Of libvirt, of the kernel, of the database.
        LOG.exception('It cannot be found out whether the VFs of the server '
                      'can be swapped', instance=instance)
        raise exception.CannotSwap(
            subject or exception.server(instance.uuid),
            'whether it can be swapped cannot be found out.',
            'See the log of nova-compute.',
            f'{type(error).__name__}: {error}') from error


def _error(refusal: exception.CannotSwap) -> Exception:
    error: Exception = nova_exception.MigrationPreCheckError(
        reason=str(refusal))
    return error
