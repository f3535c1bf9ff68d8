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

"""Live migrations that are to be forced to their end before they copy.

Nova has a record of a live migration from the moment at which libvirt begins
to copy (nova/virt/libvirt/driver.py, ``active_migrations``), and its API takes
``openstack server migration force complete`` while the status is ``running``,
which it is while the guest is sent to its standby, too.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import threading

from nova import exception as nova_exception
from nova.virt.libvirt import guest as libvirt_guest
from oslo_log import log as logging
import tenacity

LOG = logging.getLogger(__name__)

# How often libvirt is asked how far a copy is, and the seconds in between.
_LOOKS = 5
_PAUSE = 1.0
# Seconds after which it is not asked once more, if it lets us wait.
_PATIENCE = 30.0


# As FailoverLibvirtDriver: what we inherit is Any.
class CopyingGuest(libvirt_guest.Guest):  # type: ignore[misc]
    """A guest whose job Nova looks at.

    Nova gives a live migration up with one look that fails. The guest moves
    all the same if its copy is at its end then, and is nobody's there; so
    libvirt is asked again.

    :param guest: Nova's
    :param find: the same guest, of a connection that is not broken
    :param copies: called after each look at a job that copies
    """

    def __init__(self, guest: libvirt_guest.Guest,
                 find: Callable[[], libvirt_guest.Guest],
                 copies: Callable[[], None]) -> None:
        super().__init__(guest._domain)
        self._find = find
        self._copies = copies

    def get_job_info(self) -> libvirt_guest.JobInfo:
        """:raises libvirt.libvirtError: nor does it answer any more"""
        found = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(
                libvirt_guest.libvirt.libvirtError),
            stop=(tenacity.stop_after_attempt(_LOOKS)
                  | tenacity.stop_after_delay(_PATIENCE)),
            wait=tenacity.wait_fixed(_PAUSE), before_sleep=self._find_anew,
            reraise=True)(super().get_job_info)
        if found.memory_total:
            self._copies()
        return found

    def _find_anew(self, looking: tenacity.RetryCallState) -> None:
        failure = looking.outcome and looking.outcome.exception()
        LOG.warning('libvirt does not tell how far a copy is, and is asked '
                    'again: %s', failure)
        try:
            self._domain = self._find()._domain
        except nova_exception.NovaException as error:
            # The next look says so, or has it again.
            LOG.warning('The guest is not found: %s', error)


class ForcedCompletions:
    """Remembers what is asked for until Nova can be told of it."""

    def __init__(self) -> None:
        # By server on its way to the copy, whether it is asked for.
        self._asked: dict[str, bool] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def remembered(self, server: str) -> Iterator[None]:
        """Around a live migration: what nobody has taken is forgotten."""
        with self._lock:
            self._asked[server] = False
        try:
            yield
        finally:
            with self._lock:
                self._asked.pop(server, None)

    def ask(self, server: str) -> bool:
        """:returns: whether it is remembered; else Nova has its record"""
        with self._lock:
            if server not in self._asked:
                return False
            self._asked[server] = True
            return True

    def hand_over(self, server: str, guest: libvirt_guest.Guest,
                  find: Callable[[], libvirt_guest.Guest],
                  force: Callable[[], None]) -> CopyingGuest:
        """Have Nova told with its first look at a job that copies.

        It does what is asked for after any look at a job, and libvirt has one
        from the moment at which the destination is prepared. QEMU does not
        go over to a post-copy then, and libvirt takes a guest that is paused
        ahead of the copy for one that is to stay so on the destination
        (qemu_migration.c, ``qemuMigrationSrcPerformPeer2Peer3``).

        :param find: looks the guest up again
        :param force: tells Nova
        :returns: what Nova has to look at instead of the guest
        """
        def tell() -> None:
            if self._take(server):
                force()

        return CopyingGuest(guest, find, tell)

    def _take(self, server: str) -> bool:
        """From now on Nova is asked itself.

        :returns: whether it was asked for
        """
        with self._lock:
            return self._asked.pop(server, False)
