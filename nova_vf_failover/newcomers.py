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

"""Guests that begin to run here, whose standbys have to be told so.

A macvtap is made anew wherever a guest goes on, and is deaf to groups until
it is told otherwise (``Standby.attached``). libvirt says that a domain is
there before a migration copies anything into it (qemu_migration.c,
``qemuMigrationDstPrepareActive``: STARTED), and that its guest runs
(``qemuMigrationDstFinish``: RESUMED). Nova's own word comes only when the
source has tidied up: after a post-copy, and with volumes, that takes a while.
"""

from __future__ import annotations

import threading
import typing

from nova import exception as nova_exception
from nova.virt import event as virt_events
from oslo_log import log as logging

from nova_vf_failover import ports
from nova_vf_failover import workbench

LOG = logging.getLogger(__name__)

_BEGINNINGS = (virt_events.EVENT_LIFECYCLE_STARTED,
               virt_events.EVENT_LIFECYCLE_RESUMED)


class Newcomers:
    """Tells standbys that their guest has come, outside of libvirt's thread.

    That one must not wait for libvirt, nor for a lock of anybody. So a thread
    of its own does it, which ends when there is nothing more to be told.

    :param bench: what there is on this host
    """

    def __init__(self, bench: workbench.Workbench) -> None:
        self._bench = bench
        self._lock = threading.Lock()
        self._waiting: set[str] = set()
        self._working = False

    def hear(self, event: typing.Any) -> None:
        """libvirt says something about a server; this returns at once."""
        if not (isinstance(event, virt_events.LifecycleEvent)
                and event.transition in _BEGINNINGS):
            return
        with self._lock:
            self._waiting.add(event.uuid)
            if self._working:
                return
            self._working = True
        try:
            threading.Thread(target=self._work, daemon=True,
                             name='vf-failover-newcomers').start()
        except RuntimeError as error:
            # The process has as many threads as it may have. The next event
            # or the next look of recovery makes up for it.
            LOG.warning('Standbys that have come may miss multicast for now: '
                        '%s', error)
            with self._lock:
                self._working = False

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._working = False
                    return
                server = self._waiting.pop()
            tell(self._bench, server)


def tell(bench: workbench.Workbench, server: str) -> None:
    """Tell the standbys of a server that they are here, if it has any."""
    try:
        guest = bench.domain_by_uuid(server)
        ports.tell_attached(
            bench.standby, guest,
            [entry.mac for entry in guest.read_journal().entries.values()])
    except nova_exception.InstanceNotFound:
        LOG.debug('Server %s has gone again', server)
    except Exception as error:
        # Of libvirt, or of a journal that nobody understands, of which
        # recovery tells: the others have nothing to do with it.
        LOG.warning('Whether server %(server)s has standbys cannot be found '
                    'out: %(error)s', {'server': server, 'error': error})
