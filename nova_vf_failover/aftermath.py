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

"""What Nova leaves of a live migration whose nova-compute has died.

It marks the migration as ended with an error, and neither takes back nor
finishes what it had arranged with Neutron and Placement: the ports keep a
binding on the other host (as after an aborted one, bug 1949808), and each of
server and migration an allocation, one of them for the wrong host. And as
long as the migration says that it has ended with an error, the other host
keeps the VFs that it has claimed (nova/compute/resource_tracker.py,
``get_in_progress_and_error``); it frees them in its next periodic update once
the migration says what has become of it.
"""

from __future__ import annotations

import typing

from nova import exception as nova_exception
from nova import objects
from nova.objects import fields
from oslo_log import log as logging

from nova_vf_failover import negotiation

LOG = logging.getLogger(__name__)

# Statuses of a live migration that has ended, set by Nova or by
# Aftermath.clear().
_OVER = ('error', 'failed', 'completed')
# Statuses that a live migration may keep for good if its nova-compute has
# died in it: when that starts again Nova ends only those that were "running",
# and those on the source only. A nova-compute that is stopped marks those that
# were queued as cancelled, and does no more (nova/compute/manager.py,
# ``_cleanup_live_migrations_in_pool``).
_ENDLESS = ('accepted', 'queued', 'preparing', 'running', 'error',
            'cancelled')
# A migration in one of these never allocates again, so the answer is cached.
_SETTLED = ('error', 'cancelled')


class Aftermath:
    """Puts Neutron and Placement right for a server that is at rest.

    :param compute: nova-compute's manager, for its clients of both
    :param host: the name of this compute service, where the server is
    """

    def __init__(self, compute: typing.Any, host: str) -> None:
        self._compute = compute
        self._host = host
        # Migrations that need not be asked for again: there are more of them
        # with each one that was ever aborted.
        self._settled: set[str] = set()
        # Servers about which Placement could not be asked.
        self._passed_over: set[str] = set()
        # Migrations that the last look has found abandoned, with their
        # server, and of these the ones that the look before had found as well.
        self._seen: dict[str, str] = {}
        self._certain: dict[str, str] = {}

    def abandoned(self, context: typing.Any, servers: set[str]) -> set[str]:
        """The servers with VFs that a live migration has left at rest here.

        While one goes on its server has a task; a moment before it begins and
        after it has ended it may have none, so what is found once is asked
        for a second time later.

        Nova remembers the migrations of servers that have left or are deleted
        as well, and Placement is asked for one at a time.

        :param servers: those that run here
        """
        if not servers:
            self._certain, self._seen = {}, {}
            return set()
        migrations = objects.MigrationList.get_by_filters(context, {
            'host': self._host, 'status': list(_ENDLESS),
            'migration_type': fields.MigrationType.LIVE_MIGRATION})
        self._settled &= {migration.uuid for migration in migrations}
        found = {migration.uuid: migration.instance_uuid
                 for migration in migrations
                 if migration.instance_uuid in servers
                 and self._holds(context, migration)}
        suspects = (self._passed_over & servers).union(found.values())
        resting = {server for server in suspects
                   if self._rests_here(context, server)}
        seen = {migration: server for migration, server in found.items()
                if server in resting}
        self._certain = {migration: server
                         for migration, server in seen.items()
                         if migration in self._seen}
        self._seen = seen
        return resting

    def _rests_here(self, context: typing.Any, server: str) -> bool:
        try:
            instance = objects.Instance.get_by_uuid(
                context, server, expected_attrs=['info_cache'])
        except nova_exception.InstanceNotFound:
            return False
        return (instance.host == self._host and instance.task_state is None
                and any(negotiation.is_vf(vif)
                        for vif in instance.get_network_info()))

    def _holds(self, context: typing.Any,
               migration: objects.Migration) -> bool:
        """Whether Placement still has an allocation of a migration.

        Nova gives that back first where it undoes one, and whoever is stopped
        in the middle of that leaves the rest.
        """
        if migration.uuid in self._settled:
            return False
        holds = bool(self._compute.reportclient.get_allocs_for_consumer(
            context, migration.uuid)['allocations'])
        if not holds and migration.status in _SETTLED:
            holds = _is_half_undone(context, migration)
            if not holds:
                self._settled.add(migration.uuid)
        return holds

    def clear(self, context: typing.Any, instance: objects.Instance,
              abandoned: bool = False) -> None:
        """Clean up after the server's last live migration if it needs that.

        It does if its nova-compute died in it: it still holds an allocation
        then. That is given back last, so what is cut short is done once more
        from its beginning.

        A new live migration may have been asked for meanwhile. It is left
        alone, and so is what it may take over of the last one.

        :param abandoned: whether :meth:`abandoned` has found the server
            twice: its migration has ended then, though Nova may say that it
            goes on
        :raises nova.exception.PortBindingDeletionFailed: Neutron refuses
        :raises nova.exception.PortBindingActivationFailed: as well
        :raises nova.exception.AllocationMoveFailed: Placement does
        :raises nova.exception.AllocationDeleteFailed: as well
        """
        migration = _last(context, instance)
        if migration:
            self._leave_earlier(instance, migration)
        if (migration is None or not self._is_over(migration, abandoned)
                or not self._may_hold(context, instance, migration)
                or _has_task(context, instance)):
            return
        LOG.info('Clearing what live migration %s has left', migration.uuid,
                 instance=instance)
        if migration.source_compute == self._host:
            self._undo(context, instance, migration)
        else:
            self._finish(context, instance, migration)

    def _leave_earlier(self, instance: objects.Instance,
                       last: objects.Migration) -> None:
        """Stop reporting older migrations of the server; log what they hold.

        What the server has had since is not theirs, so nothing can be said
        of what they hold but that nobody gives it back.
        """
        for migration, server in self._certain.items():
            if (server == instance.uuid and migration != last.uuid
                    and migration not in self._settled):
                self._settled.add(migration)
                LOG.warning(
                    'Live migration %(migration)s was left by Nova before '
                    'the last one of the server, %(last)s, and holds an '
                    'allocation in Placement. Nobody gives it back; see '
                    '"nova-manage placement audit".',
                    {'migration': migration, 'last': last.uuid},
                    instance=instance)

    def _is_over(self, migration: objects.Migration, abandoned: bool) -> bool:
        return migration.status in _OVER or (
            abandoned and migration.status in _ENDLESS
            and migration.uuid in self._certain)

    def _may_hold(self, context: typing.Any, instance: objects.Instance,
                  migration: objects.Migration) -> bool:
        """As :meth:`_holds`, but Placement is not always needed.

        If the migration completed or failed, an unreachable Placement is only
        logged: the bindings are settled, and the server is not to wait for
        its VFs until Placement is back. It is asked again later.
        """
        try:
            holds = self._holds(context, migration)
        except Exception as error:
            # Of Placement, of Keystone, or of the way to either.
            if migration.status in _ENDLESS:
                raise
            LOG.warning('Whether live migration %(migration)s has left '
                        'something in Placement cannot be found out for now: '
                        '%(error)s', {'migration': migration.uuid,
                                      'error': error}, instance=instance)
            self._passed_over.add(instance.uuid)
            return False
        self._passed_over.discard(instance.uuid)
        return holds

    def _undo(self, context: typing.Any, instance: objects.Instance,
              migration: objects.Migration) -> None:
        self._unbind(context, instance, migration.dest_compute)
        instance.drop_migration_context()
        if migration.status != 'cancelled':
            _end(migration, 'failed')
        # What the server has here is held by the migration. Of a conflict
        # Nova's client raises, of another refusal it only says that there was
        # one.
        if not self._compute.reportclient.move_allocations(
                context, migration.uuid, instance.uuid):
            raise nova_exception.AllocationMoveFailed(
                source_consumer=migration.uuid,
                target_consumer=instance.uuid,
                error='Placement does not answer as it should')

    def _finish(self, context: typing.Any, instance: objects.Instance,
                migration: objects.Migration) -> None:
        # Neutron may have refused it to the source. Nova looks for bindings
        # of the other host only at ports whose active one is of this host.
        self._compute.network_api.migrate_instance_start(
            context, instance, migration)
        self._unbind(context, instance, migration.source_compute)
        _end(migration, 'completed')
        self._compute.reportclient.delete_allocation_for_instance(
            context, migration.uuid, consumer_type='migration')

    def _unbind(self, context: typing.Any, instance: objects.Instance,
                host: str) -> None:
        """Delete the bindings of the ports on the other host."""
        self._compute.network_api.setup_networks_on_host(
            context, instance, host, teardown=True)


def _is_half_undone(context: typing.Any,
                    migration: objects.Migration) -> bool:
    """Whether Nova has not come to the end of undoing a migration.

    Close to it Nova takes its context from the server
    (nova/compute/manager.py, ``_rollback_live_migration``).
    """
    try:
        instance = objects.Instance.get_by_uuid(
            context, migration.instance_uuid,
            expected_attrs=['migration_context'])
    except nova_exception.InstanceNotFound:
        return False
    left = instance.migration_context
    return left is not None and left.migration_id == migration.id


def _end(migration: objects.Migration, status: str) -> None:
    migration.status = status
    migration.save()


def _has_task(context: typing.Any, instance: objects.Instance) -> bool:
    """Whether Nova has begun something with a server since it was read.

    The API gives it the task before the conductor makes a migration.
    """
    now = objects.Instance.get_by_uuid(context, instance.uuid)
    return now.task_state is not None


def _last(context: typing.Any,
          instance: objects.Instance) -> objects.Migration | None:
    migrations = objects.MigrationList.get_by_filters(context, {
        'instance_uuid': instance.uuid,
        'migration_type': fields.MigrationType.LIVE_MIGRATION},
        sort_keys=['id'], sort_dirs=['desc'], limit=1)
    return migrations[0] if migrations else None
