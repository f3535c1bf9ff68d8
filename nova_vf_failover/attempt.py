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

"""One attempt of recovery to bring the ports of a server back onto their VFs.
"""

from __future__ import annotations

from collections.abc import Iterable
import contextlib
import time

from nova.compute import power_state
from nova import context as nova_context
from nova import exception as nova_exception
from nova.network import model
from nova import objects
from oslo_config import cfg
from oslo_log import log as logging

from nova_vf_failover import domain
from nova_vf_failover import exception
from nova_vf_failover import journal
from nova_vf_failover import operations
from nova_vf_failover import reporting
from nova_vf_failover import swap as swaps
from nova_vf_failover import workbench

LOG = logging.getLogger(__name__)
CONF = cfg.CONF


def pause(attempts: int) -> float:
    """Seconds from an attempt to the next one.

    :param attempts: how many there were with this one
    """
    longest = CONF.vf_failover.recovery_longest_pause
    # 2 ** 30 intervals are longer than any pause.
    doubled = CONF.vf_failover.recovery_interval * 2 ** min(attempts - 1, 30)
    return float(min(max(doubled, 1), longest))


def exhausted(attempts: int) -> bool:
    """Whether that many attempts are all that there are."""
    limit = CONF.vf_failover.recovery_attempts
    return bool(limit and attempts >= limit)


class Attempt:
    """Brings the ports of one server back, as far as it can now.

    :param server: its UUID
    :param abandoned: whether nobody goes on with its live migration
    """

    def __init__(self, bench: workbench.Workbench, server: str,
                 abandoned: bool = False) -> None:
        self._bench = bench
        self._server = server
        self._abandoned = abandoned
        self._context = nova_context.get_admin_context()

    def run(self) -> None:
        """Try, unless Nova or another operation of ours is at the server.

        :raises exception.Busy: one of them is
        :raises exception.LeftBehind: the server is on its VFs, but what a
            live migration has left elsewhere cannot be cleared for now
        """
        with self._bench.operations.begin_yielding(
                self._server) as operation, operations.held(self._server):
            instance = objects.Instance.get_by_uuid(
                self._context, self._server, expected_attrs=[
                    'info_cache', 'metadata', 'system_metadata', 'flavor',
                    'numa_topology', 'pci_devices', 'pci_requests'])
            guest = self._bench.domain(instance)
            self._need_rest(instance, guest)
            asked = guest.read_request()
            try:
                self._try(instance, self._bench.swap(
                    self._context, instance, operation))
            except exception.SwapCancelled:
                LOG.info('Recovery makes way for something else',
                         instance=instance)
                # The operator's request stays in the domain.
                asked = None
            finally:
                guest.remove_request(asked)

    def _need_rest(self, instance: objects.Instance,
                   guest: domain.Domain) -> None:
        """:raises exception.Busy: the server is on its way or asleep"""
        if instance.host != self._bench.host:
            raise exception.Busy(
                f'Server {instance.uuid} is of host {instance.host} and not '
                f'of {self._bench.host}.')
        if instance.task_state is not None:
            raise exception.Busy(
                f'Server {instance.uuid} is {instance.task_state}.')
        if self._bench.power_state(instance) != power_state.RUNNING:
            raise exception.Busy(f'Server {instance.uuid} does not run.')
        if guest.has_job():
            raise exception.Busy(
                f'Server {instance.uuid} is being moved by libvirt.')

    def _try(self, instance: objects.Instance, swap: swaps.Swap) -> None:
        """:raises exception.SwapCancelled: something else has to be done"""
        swap.ledger.take_up_lost()
        entries = dict(swap.ledger.entries)
        if not entries and self._abandoned:
            self._clear_aftermath(instance)
            return
        if not entries:
            LOG.info('The server is on its VFs; there is nothing to bring '
                     'back', instance=instance)
            return
        attempt = max(entry.attempts for entry in entries.values()) + 1
        next_attempt = (0.0 if exhausted(attempt)
                        else time.time() + pause(attempt))
        # Before anything is done: an attempt that ends nova-compute counts.
        swap.ledger.tried(entries, next_attempt)
        reporter = self._bench.reporter(self._context, instance)
        LOG.info('Bringing %(count)d port(s) back onto VFs, attempt '
                 '%(attempt)d: %(ports)s',
                 {'count': len(entries), 'attempt': attempt,
                  'ports': _shown(entries.values())}, instance=instance)
        try:
            with reporter.action(reporting.RECOVERY):
                reasons = self._bring_back(instance, swap)
        except exception.SwapCancelled:
            swap.ledger.not_tried(entries)
            raise
        if reasons:
            reporter.postponed(reasons, attempt, next_attempt)
        elif not swap.ledger.entries:
            reporter.recovered(entries, attempt)

    def _clear_aftermath(self, instance: objects.Instance) -> None:
        """Clear what a live migration has left, though the VFs are here.

        :raises exception.LeftBehind: that is not possible for now
        """
        try:
            self._bench.aftermath.clear(
                self._context, instance, abandoned=True)
        except Exception as error:
            # Of Neutron, of Placement, or of the way to either.
            raise exception.LeftBehind(
                'it is on its VFs; what an abandoned live migration of it has '
                'left in Neutron and Placement cannot be cleared: '
                f'{type(error).__name__}: {error}',
                kind=type(error).__name__) from error

    def _bring_back(self, instance: objects.Instance,
                    swap: swaps.Swap) -> dict[str, str]:
        """Bring back what can be brought back.

        :returns: why ports are not back, by their id
        :raises exception.SwapCancelled: something else has to be done
        """
        # What nothing is done to keeps its entry, and not the reason in it.
        before = tuple(swap.ledger.entries.values())
        try:
            self._bench.aftermath.clear(
                self._context, instance, self._abandoned)
            network_info = self._bench.network_info(self._context, instance)
            self._abandon_strangers(instance, swap, network_info)
            # The journal says why those stay that it does not bring back.
            with contextlib.suppress(exception.Degraded):
                swap.resume(self._bench.ports(network_info))
            swap.ledger.explain(
                'Neutron has bound the port to no VF of this server here.',
                before)
        except exception.SwapCancelled:
            raise
        except Exception as error:
            LOG.exception('The ports of the server cannot be brought back',
                          instance=instance)
            swap.ledger.explain(f'{type(error).__name__}: {error}', before)
        return {port: entry.reason
                for port, entry in swap.ledger.entries.items()}

    def _abandon_strangers(self, instance: objects.Instance,
                           swap: swaps.Swap,
                           network_info: Iterable[model.VIF]) -> None:
        """Take out the NICs of ports that are not the server's any more."""
        ours = {vif['id'] for vif in network_info}
        for port in swap.ledger.away() - ours:
            if self._bench.owns(self._context, instance, port):
                continue
            try:
                swap.abandon(port)
            except nova_exception.DeviceDetachFailed as error:
                # The others have nothing to do with it.
                LOG.warning('Port %(port)s has left the server: %(error)s',
                            {'port': port, 'error': error}, instance=instance)


def _shown(entries: Iterable[journal.Entry]) -> str:
    return ', '.join(f'{entry.port} ({entry.state.value})'
                     for entry in entries)
