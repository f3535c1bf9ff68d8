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

"""What the hooks of a live migration do with the ports of a server."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable

from nova.network import model
from nova import objects
from oslo_config import cfg
from oslo_log import log as logging

from nova_vf_failover import exception
from nova_vf_failover import modes
from nova_vf_failover import negotiation
from nova_vf_failover import nova_types
from nova_vf_failover.standby import base as standbys
from nova_vf_failover import workbench

LOG = logging.getLogger(__name__)
CONF = cfg.CONF

Context = nova_types.Context
MigrateData = nova_types.MigrateData


class Journey:
    """Takes servers to their standbys and back, and ports out on the way.

    :param bench: what moving the ports of a server needs
    """

    def __init__(self, bench: workbench.Workbench) -> None:
        self._bench = bench

    def failover(self, context: Context, instance: objects.Instance,
                 migrate_data: MigrateData) -> None:
        """Take the ports that the destination has answered for off their VFs.

        :raises exception.VFFailoverError: the server is not to be copied
        """
        answered = [offer for offer in negotiation.offers(migrate_data)
                    if offer.answered]
        with self._bench.operations.begin(instance.uuid) as operation:
            swap = self._bench.swap(context, instance, operation)
            stranded = swap.ledger.away() - {
                offer.source_vif['id'] for offer in answered}
            if (CONF.vf_failover.peer_without_plugin == 'abort'
                    or modes.chosen(instance) is modes.Mode.REQUIRED):
                stranded |= negotiation.unanswered(migrate_data)
            if stranded:
                raise exception.CannotSwap(
                    exception.ports(*sorted(stranded)), 'the destination '
                    'host does not answer the offer to swap the VF.',
                    'Install nova_vf_failover there and enable it.')
            swap.failover([self._bench.port(offer.source_vif)
                           for offer in answered])
        # From here on an abort is Nova's. One in the last step came to us.
        swap.stop_if_cancelled('the copy')

    def failback(self, context: Context, instance: objects.Instance,
                 network_info: Iterable[model.VIF]) -> set[str]:
        """Bring ports back; never raises, for Nova would give up the server.

        :returns: the ports that are not Nova's to attach
        """
        vfs = [vif for vif in network_info if negotiation.is_vf(vif)]
        if not vfs:
            return set()
        # What cannot be read is left as it is: Nova must not attach VFs of
        # which nobody knows whether they are there.
        handled = {vif['id'] for vif in vfs}
        try:
            with self._bench.operations.begin(instance.uuid):
                swap = self._bench.swap(context, instance)
                handled = swap.ledger.away()
                swap.resume(self._bench.ports(
                    vif for vif in vfs if vif['id'] in handled))
        except exception.Degraded as error:
            LOG.error('The server is degraded: %s', error, instance=instance)
        except Exception:
            # The guest is on its standby, whatever has failed; raised, it
            # would make Nova give up a server that is well.
            LOG.exception('Where the ports of the server stand is in its '
                          'journal, if that can be read', instance=instance)
        return handled

    def release(self, instance: objects.Instance,
                describe: Callable[[], standbys.VIF]) -> None:
        """Remove what a standby left on this host, if that can be done."""
        try:
            self._bench.standby.release(describe())
        except Exception:
            # The server is well on another host: a leftover device must not
            # turn its migration into an error.
            LOG.exception('What the standby of the server has left on this '
                          'host cannot be removed', instance=instance)

    def detach(self, context: Context, instance: objects.Instance,
               vif: model.VIF) -> bool:
        """Take out what a port has that is not on its VF.

        :returns: whether that was all that there is to be done
        :raises exception.SwapCancelled: it is for a copy that nobody wants
            any more
        """
        leaves = self._bench.operations.leaves(instance.uuid)
        if leaves:
            self._bench.operations.stop_if_given_up(instance.uuid)
        swap = self._bench.swap(context, instance)
        if vif['id'] not in swap.ledger.away():
            return False
        if leaves:
            return swap.ledger.on_standby(vif['id'])
        with self._bench.operations.begin(instance.uuid):
            # Recovery may have brought it back while it was waited for.
            self._bench.claims.of(context, instance).confirm(vif)
            self._bench.swap(context, instance).forget(self._bench.port(vif))
        return False
