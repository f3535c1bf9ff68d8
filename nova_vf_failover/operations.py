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

"""Which servers' ports this process works upon: one piece of work each."""

import collections
from collections.abc import Iterator
import contextlib
import threading

from oslo_concurrency import lockutils
from oslo_utils import timeutils

from nova_vf_failover import exception

# Seconds that recovery may need to come to its next step, where it makes way:
# it waits for a guest and then for a detach, each with its own bound.
PATIENCE = 600.0


class Operation:
    """A piece of work upon one server.

    :ivar cancelled: set when it should come to an end at its next step. A
        failback does not look at it, unless it is recovery's: without it the
        server would stay on its standby. Nor does who takes a port out.
    :ivar stopped: whether that is because the process ends
    :ivar yields: whether it makes way for others
    :ivar thread: the number of the one that does it. On eventlet the object
        of a green thread may be another one at each question.
    """

    def __init__(self, yields: bool) -> None:
        self.cancelled = threading.Event()
        self.stopped = False
        self.yields = yields
        self.thread = threading.get_ident()

    def stop(self) -> None:
        """Come to an end at the next step, for the process ends."""
        if not self.cancelled.is_set():
            self.stopped = True
            self.cancelled.set()


class Operations:
    """The pieces of work of this process, by server.

    Nova's task state keeps its own operations apart, and those of the API
    that set one. What it does not know of is recovery, which no request of
    the API has begun.
    """

    def __init__(self) -> None:
        self._running: dict[str, Operation] = {}
        # How many threads move them elsewhere.
        self._leaving: collections.Counter[str] = collections.Counter()
        # Those of which Nova has given that up.
        self._given_up: set[str] = set()
        self._closed = False
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def begin(self, server: str,
              patience: float = PATIENCE) -> Iterator[Operation]:
        """Work upon a server, once recovery has made way.

        :param patience: seconds for which that is waited for
        :raises exception.Busy: it has not, or something else goes on
        """
        operation = Operation(yields=False)
        with self._changed:
            self._make_way(server, patience)
            self._enter(server, operation)
        with self._ending(server):
            yield operation

    @contextlib.contextmanager
    def begin_yielding(self, server: str) -> Iterator[Operation]:
        """Work upon a server that nobody works upon, and make way.

        :raises exception.Busy: somebody does
        """
        operation = Operation(yields=True)
        with self._changed:
            if server in self._running:
                raise _busy(server)
            if self._leaving[server]:
                raise exception.Busy(
                    f'Server {server} is on its way to another host.')
            self._enter(server, operation)
        with self._ending(server):
            yield operation

    @contextlib.contextmanager
    def leaving(self, server: str) -> Iterator[None]:
        """Nova moves a server to another host, whatever its state says.

        A conductor that was not answered has put it into ERROR by then, and
        taken its task away.

        :raises exception.SwapCancelled: the process ends; what Nova needs for
            it may not be there any more, and it puts the server into ERROR
        """
        with self._changed:
            if self._closed:
                raise exception.SwapCancelled(
                    'nova-compute was stopped before "the copy".')
            self._leaving[server] += 1
        with self._staying(server):
            yield

    @contextlib.contextmanager
    def still_leaving(self, server: str) -> Iterator[None]:
        """The same, in the thread in which Nova calls libvirt for it.

        That begins when it can, also after Nova has given the migration up.

        :raises exception.SwapCancelled: it has
        """
        with self._changed:
            self._need_leaving(server)
            self._leaving[server] += 1
        with self._staying(server):
            yield

    def give_up(self, server: str) -> None:
        """Nova moves a server no more: its copy is not to be begun.

        Where Nova's look at the copy fails, Nova aborts the job of libvirt,
        and goes on if there is none yet (nova/virt/libvirt/driver.py,
        ``_live_migration``).
        """
        with self._changed:
            if self._leaving[server]:
                self._given_up.add(server)

    def stop_if_given_up(self, server: str) -> None:
        """:raises exception.SwapCancelled: Nova moves a server no more"""
        with self._changed:
            self._need_leaving(server)

    def _need_leaving(self, server: str) -> None:
        if not self._leaving[server] or server in self._given_up:
            raise exception.SwapCancelled(
                'The copy is not begun, for Nova has given the live '
                'migration up.')

    def leaves(self, server: str) -> bool:
        """Whether Nova moves a server to another host."""
        with self._changed:
            return self._leaving[server] > 0

    def mine(self, server: str) -> bool:
        """Whether it is this thread that works upon a server."""
        with self._changed:
            operation = self._running.get(server)
        return (operation is not None
                and operation.thread == threading.get_ident())

    def cancel(self, server: str) -> bool:
        """Have the work upon a server end, unless it is recovery's.

        :returns: whether there was any
        """
        with self._changed:
            operation = self._running.get(server)
            if operation is None or operation.yields:
                return False
            operation.cancelled.set()
            return True

    def close(self) -> None:
        """Have all work end that may be left, since the process ends.

        What begins from now on ends at its first step.
        """
        with self._changed:
            self._closed = True
            for operation in self._running.values():
                operation.stop()

    def _enter(self, server: str, operation: Operation) -> None:
        if self._closed:
            operation.stop()
        self._running[server] = operation

    def _make_way(self, server: str, patience: float) -> None:
        watch = timeutils.StopWatch(patience)
        watch.start()
        while server in self._running:
            operation = self._running[server]
            if not operation.yields:
                raise _busy(server)
            if watch.expired():
                raise exception.Busy(
                    f'Recovery is still moving ports of server {server} and '
                    f'did not stop within {patience:.0f} s. Try again.')
            operation.cancelled.set()
            self._changed.wait(watch.leftover())

    @contextlib.contextmanager
    def _staying(self, server: str) -> Iterator[None]:
        try:
            yield
        finally:
            with self._changed:
                self._leaving[server] -= 1
                if not self._leaving[server]:
                    del self._leaving[server]
                    self._given_up.discard(server)

    @contextlib.contextmanager
    def _ending(self, server: str) -> Iterator[None]:
        try:
            yield
        finally:
            with self._changed:
                del self._running[server]
                self._changed.notify_all()


def _busy(server: str) -> exception.Busy:
    return exception.Busy(
        f'Another operation of this plugin is working on server {server}.')


@contextlib.contextmanager
def held(server: str) -> Iterator[None]:
    """Holds the lock that nova.compute.manager holds, unless it does.

    ``utils.synchronized(instance.uuid)``, around everything that builds,
    stops, reboots or deletes a server. A live migration does not hold it; its
    task state is what tells.

    :raises exception.Busy: Nova holds it
    """
    try:
        with lockutils.lock(server, lock_file_prefix='nova-', do_log=False,
                            blocking=False):
            yield
    except lockutils.AcquireLockFailedException as error:
        raise exception.Busy(
            f'Nova works upon server {server}.') from error
