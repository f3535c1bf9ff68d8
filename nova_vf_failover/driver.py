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

"""The seam: what of Nova's libvirt driver a live migration goes through.

Each method here says when its part of the story in
:mod:`nova_vf_failover.swap` is told, and hands Nova's own method a view of the
network in which the ports that we handle do not exist.

Nova is overridden here, in public methods of the driver and in three of its
own, ``_live_migration_monitor``, ``_live_migration_operation`` and
``_reattach_instance_vifs``, and nowhere else but in the guest that the first
of these is given (:class:`.completion.CopyingGuest`).
"""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import copy
import functools
import threading
import typing

from nova.network import model
from nova import objects
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import event as libvirt_events
from nova.virt.libvirt import guest as libvirt_guest
from oslo_log import log as logging

from nova_vf_failover import admission
from nova_vf_failover import attachment
from nova_vf_failover import completion
from nova_vf_failover import exception
from nova_vf_failover import journey
from nova_vf_failover import metrics
from nova_vf_failover import negotiation
from nova_vf_failover import newcomers
from nova_vf_failover import nova_types
from nova_vf_failover import ports as vf_ports
from nova_vf_failover import recovery
from nova_vf_failover import rescue
from nova_vf_failover import suspension
from nova_vf_failover import workbench

LOG = logging.getLogger(__name__)

Context = nova_types.Context
MigrateData = nova_types.MigrateData


# Nova has no type hints for mypy (no py.typed): what we inherit is Any.
class FailoverLibvirtDriver(
    libvirt_driver.LibvirtDriver,  # type: ignore[misc]
):
    """Nova's libvirt driver that keeps the network of VF servers alive."""

    def init_host(self, host: str) -> None:
        super().init_host(host)
        self._bench = workbench.Workbench(self, self.virtapi._compute, host)
        self._operations = self._bench.operations
        self._standby = self._bench.standby
        self._journey = journey.Journey(self._bench)
        self._forced = completion.ForcedCompletions()
        self._admission = admission.Admission(self._bench)
        self._newcomers = newcomers.Newcomers(self._bench)
        self._recovery = recovery.Recovery(self._bench)
        self._recovery.start()
        # What is in the file is of a process that has ended, and who counts
        # needs the zeros before the first move.
        metrics.of_process().write()

    def cleanup_host(self, host: str) -> None:
        # A stop may come before init_host has come to its end.
        recovering = getattr(self, '_recovery', None)
        try:
            if recovering:
                recovering.stop()
        finally:
            super().cleanup_host(host)

    def get_available_resource(self, nodename: str) -> dict[str, typing.Any]:
        """Nova's periodic look at this host, and ours at what was left here.

        Nova does not tell a destination with shared storage that a migration
        to it was given up; the VFs that it has claimed for it become free in
        this task, and what the standbys left goes once they are.
        """
        self._recovery.sweep()
        resources: dict[str, typing.Any] = super().get_available_resource(
            nodename)
        return resources

    def update_provider_tree(
        self, provider_tree: typing.Any, nodename: str,
        allocations: typing.Any = None,
    ) -> typing.Any:
        """Nova's report to Placement, which ends each update of the tracker.

        The first one is the moment from which on the tracker knows which VF
        is whose.
        """
        self._recovery.begin()
        return super().update_provider_tree(
            provider_tree, nodename, allocations)

    def emit_event(self, event: typing.Any) -> None:
        """libvirt tells something about a server, to Nova first."""
        super().emit_event(event)
        # The first events come before init_host has come to its end.
        looking = getattr(self, '_recovery', None)
        if not looking:
            return
        self._newcomers.hear(event)
        if isinstance(event, libvirt_events.DeviceRemovedEvent):
            looking.device_removed(event.uuid)

    # -- before the move -----------------------------------------------------

    def check_can_live_migrate_destination(
        self, context: Context, instance: objects.Instance,
        src_compute_info: typing.Any, dst_compute_info: typing.Any,
        block_migration: bool = False, disk_over_commit: bool = False,
    ) -> MigrateData:
        """On the destination: Nova is about to claim VFs for a server."""
        self._admission.forget(context, instance)
        return super().check_can_live_migrate_destination(
            context, instance, src_compute_info, dst_compute_info,
            block_migration, disk_over_commit)

    def check_can_live_migrate_source(
        self, context: Context, instance: objects.Instance,
        dest_check_data: MigrateData,
        block_device_info: typing.Any = None,
    ) -> MigrateData:
        """On the source: offer to swap, if every VF port could be."""
        data = super().check_can_live_migrate_source(
            context, instance, dest_check_data, block_device_info)
        self._admission.offer(context, instance, data)
        return data

    def check_source_migrate_data_at_dest(
        self, ctxt: Context, instance: objects.Instance,
        migrate_data: MigrateData, migration: typing.Any,
        limits: typing.Any, allocs: typing.Any,
    ) -> MigrateData:
        """On the destination: see whether its PFs could carry a standby."""
        data = super().check_source_migrate_data_at_dest(
            ctxt, instance, migrate_data, migration, limits, allocs)
        self._admission.weigh(ctxt, instance, data)
        return data

    def pre_live_migration(
        self, context: Context, instance: objects.Instance,
        block_device_info: typing.Any, network_info: model.NetworkInfo,
        disk_info: typing.Any, migrate_data: MigrateData,
    ) -> MigrateData:
        """On the destination: answer with the standby that it will plug."""
        with contextlib.ExitStack() as plugging:
            for offer in negotiation.offers(migrate_data):
                standby = self._standby.describe(offer.destination_vif())
                offer.answer(standby)
                plugging.enter_context(self._standby.plugging(standby))
            return super().pre_live_migration(
                context, instance, block_device_info, network_info,
                disk_info, migrate_data)

    # -- the move ------------------------------------------------------------

    def live_migration(
        self, context: Context, instance: objects.Instance, dest: str,
        post_method: Callable[..., None], recover_method: Callable[..., None],
        block_migration: bool = False,
        migrate_data: MigrateData | None = None,
    ) -> None:
        """On the source: swap the VFs, then let Nova migrate the server.

        A failure ends in Nova's ``recover_method``, for an exception that
        leaves this method puts the server into ERROR.
        """
        if not negotiation.source_vfs(migrate_data):
            super().live_migration(
                context, instance, dest, post_method, recover_method,
                block_migration, migrate_data)
            return
        with contextlib.ExitStack() as leaving:
            leaving.enter_context(self._forced.remembered(instance.uuid))
            try:
                self._journey.failover(context, instance, migrate_data)
                leaving.enter_context(self._operations.leaving(instance.uuid))
            except Exception as error:
                LOG.exception('The VFs of the server cannot be swapped; the '
                              'live migration is undone', instance=instance)
                aborted = isinstance(error, exception.SwapCancelled)
                recover_method(
                    context, instance, dest, migrate_data=migrate_data,
                    migration_status='cancelled' if aborted else 'failed')
                return
            self._migrate(context, instance, dest, post_method,
                          recover_method, block_migration, migrate_data)

    def _migrate(
        self, context: Context, instance: objects.Instance, dest: str,
        post_method: Callable[..., None], recover_method: Callable[..., None],
        block_migration: bool, migrate_data: MigrateData,
    ) -> None:
        """Nova's own live migration, whose failure is told once.

        From 2025.2 on Nova raises what QEMU said once more after it has
        undone a migration, and the compute manager then puts the server into
        ERROR. A server that we have swapped is well, on its source; or on its
        destination, where it is the answer of libvirt that was lost.
        """
        told = threading.Event()

        def telling(method: Callable[..., None]) -> Callable[..., None]:
            def tell(*arguments: typing.Any,
                     **keywords: typing.Any) -> None:
                method(*arguments, **keywords)
                told.set()
            return tell

        try:
            super().live_migration(
                context, instance, dest, telling(post_method),
                telling(recover_method), block_migration, migrate_data)
        except Exception as error:
            ours = any(offer.answered
                       for offer in negotiation.offers(migrate_data))
            if not (ours and told.is_set()):
                raise
            LOG.warning('The live migration has ended, and libvirt said: %s',
                        error, instance=instance)

    def _live_migration_operation(
        self, context: Context, instance: objects.Instance, dest: str,
        block_migration: bool, migrate_data: MigrateData,
        *arguments: typing.Any,
    ) -> None:
        """Nova calls libvirt here, in a thread of its own.

        Ahead of that it detaches the ports, as an owner would.
        """
        with contextlib.ExitStack() as leaving:
            if negotiation.source_vfs(migrate_data):
                try:
                    leaving.enter_context(
                        self._operations.still_leaving(instance.uuid))
                except exception.SwapCancelled as error:
                    # Nobody asks this thread how it has ended.
                    LOG.warning('%s', error, instance=instance)
                    raise
            super()._live_migration_operation(
                context, instance, dest, block_migration, migrate_data,
                *arguments)

    def live_migration_abort(self, instance: objects.Instance) -> None:
        """Abort a live migration, or the swap of VFs that precedes its job.
        """
        if not self._operations.cancel(instance.uuid):
            super().live_migration_abort(instance)

    def live_migration_force_complete(
        self, instance: objects.Instance,
    ) -> None:
        """Force a live migration to its end, or remember that for later.

        libvirt has no job that could be forced while the VFs are swapped.
        """
        if not self._forced.ask(instance.uuid):
            super().live_migration_force_complete(instance)

    def _live_migration_monitor(
        self, context: Context, instance: objects.Instance,
        guest: libvirt_guest.Guest, *arguments: typing.Any,
    ) -> None:
        """Nova looks at its copy here, and takes what was asked for before.
        """
        watched = self._forced.hand_over(
            instance.uuid, guest,
            functools.partial(self._host.get_guest, instance),
            functools.partial(
                super().live_migration_force_complete, instance))
        try:
            super()._live_migration_monitor(
                context, instance, watched, *arguments)
        except Exception:
            # Nova looks for a job to abort next, and there may be none yet.
            self._operations.give_up(instance.uuid)
            raise

    def detach_interface(
        self, context: Context, instance: objects.Instance,
        vif: model.VIF,
    ) -> None:
        """Nova detaches a port: itself ahead of a copy, or for its owner."""
        if self._operations.mine(instance.uuid):
            # Nova's attach_interface takes a NIC back that it could not note
            # down. The guest may use it already, and the journal knows of it.
            return
        if negotiation.is_vf(vif):
            with vf_ports.refusing_as_nova(instance, vif):
                if self._journey.detach(context, instance, vif):
                    return
        super().detach_interface(context, instance, vif)

    def suspend(self, context: Context, instance: objects.Instance) -> None:
        """Nova detaches the direct ports, as if for good."""
        suspension.check(self._bench, instance)
        super().suspend(context, instance)

    def unrescue(self, context: Context,
                 instance: objects.Instance) -> None:
        """Nova makes the domain again that the server had, standbys and all.
        """
        with rescue.standbys_plugged(self._standby, instance):
            super().unrescue(context, instance)

    # -- after the move ------------------------------------------------------

    def post_live_migration_at_destination(
        self, context: Context, instance: objects.Instance,
        network_info: model.NetworkInfo, block_migration: bool = False,
        block_device_info: typing.Any = None,
    ) -> None:
        """On the destination: bring the ports of the journal onto VFs."""
        handled = self._journey.failback(context, instance, network_info)
        super().post_live_migration_at_destination(
            context, instance, _without(network_info, handled),
            block_migration, block_device_info)

    def rollback_live_migration_at_source(
        self, context: Context, instance: objects.Instance,
        migrate_data: MigrateData,
    ) -> None:
        """On the source: bring them back after a failure or an abort."""
        handled = self._journey.failback(
            context, instance, negotiation.source_vfs(migrate_data))
        handled |= {offer.source_vif['id']
                    for offer in negotiation.offers(migrate_data)
                    if offer.answered}
        rest = copy.copy(migrate_data)
        if 'vifs' in migrate_data:
            rest.vifs = [vif for vif in migrate_data.vifs
                         if vif.port_id not in handled]
        super().rollback_live_migration_at_source(context, instance, rest)
        self._recovery.watch(instance.uuid)

    def _reattach_instance_vifs(
        self, context: Context, instance: objects.Instance,
        network_info: model.NetworkInfo,
    ) -> None:
        """Attach the direct ports that Nova itself has detached.

        Nova calls it on either host, after a migration and after a rollback.
        It compares the number of NICs with that of ports. So it attaches
        all of them again if one is missing (bug 1944619), and none if a
        standby makes the numbers equal. Here each one is looked for.

        :param network_info: the ports that are not ours to bring back
        """
        direct = [vif for vif in network_info if vif['vnic_type']
                  in model.VNIC_TYPES_DIRECT_PASSTHROUGH]
        if not direct:
            return
        attachment.reattach(
            instance, self._bench.domain(instance), direct, functools.partial(
                self.attach_interface, context, instance,
                instance.image_meta))

    def post_live_migration_at_source(
        self, context: Context, instance: objects.Instance,
        network_info: model.NetworkInfo,
    ) -> None:
        super().post_live_migration_at_source(context, instance, network_info)
        for vif in network_info:
            if negotiation.is_vf(vif):
                self._journey.release(instance, functools.partial(
                    self._standby.describe, vif))

    def rollback_live_migration_at_destination(
        self, context: Context, instance: objects.Instance,
        network_info: model.NetworkInfo, block_device_info: typing.Any,
        destroy_disks: bool = True, migrate_data: MigrateData | None = None,
    ) -> None:
        super().rollback_live_migration_at_destination(
            context, instance, network_info, block_device_info,
            destroy_disks, migrate_data)
        for offer in negotiation.offers(migrate_data):
            if offer.answered:
                self._journey.release(instance, offer.destination_vif)


def _without(network_info: model.NetworkInfo,
             ports: set[str]) -> model.NetworkInfo:
    return model.NetworkInfo(
        [vif for vif in network_info if vif['id'] not in ports])
