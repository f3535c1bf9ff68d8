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

"""Servers that are on their way to a host.

A claim of the PCI tracker does not tell: one that was made while the conductor
has not yet written where a server goes is freed by an update of the tracker
(nova/pci/manager.py, ``clean_usage``), and the server comes all the same.
"""

from __future__ import annotations

import typing

from nova import exception as nova_exception
from nova import objects
from nova.objects import fields

# The conductor writes the destination before that is told to prepare itself.
_UNDER_WAY = ('accepted', 'queued', 'preparing', 'running')


def expected(context: typing.Any, host: str) -> bool:
    """Whether a live migration brings a server to a host.

    One whose nova-compute died before the copy began goes on for Nova until
    an operator ends it; its server has no task any more.
    """
    migrations = objects.MigrationList.get_by_filters(context, {
        'host': host, 'status': list(_UNDER_WAY),
        'migration_type': fields.MigrationType.LIVE_MIGRATION})
    return any(migration.dest_compute == host
               and _has_task(context, migration.instance_uuid)
               for migration in migrations)


def _has_task(context: typing.Any, server: str) -> bool:
    try:
        return objects.Instance.get_by_uuid(
            context, server, expected_attrs=[]).task_state is not None
    except nova_exception.InstanceNotFound:
        return False
