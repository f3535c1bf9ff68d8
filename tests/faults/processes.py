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

"""Which process a thread belongs to, where one process runs them all.

Nova's harness runs every service in this process. A thread that handles a
message belongs to the service that the message was sent to, and so does
whatever that thread starts; a process that is killed makes no call any more.
"""

import collections
from collections.abc import Callable
from collections.abc import Iterator
import concurrent.futures
import contextlib
import contextvars
import sys
import threading
import typing

import fixtures
import futurist
from nova import conf as nova_conf
from oslo_messaging.rpc import client as rpc_client
from oslo_messaging.rpc import dispatcher

from tests.functional import crashes
from tests.functional import threads

CONDUCTOR = 'conductor'

# Modules of nova-compute's that ask the configuration for the host's name.
_ASK_FOR_THEIR_HOST = ('nova.compute.manager', 'nova.compute.utils',
                       'nova.virt.libvirt.driver')


class Process:
    """A service from its start to its end.

    :ivar host: the compute host, or CONDUCTOR
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.died = threading.Event()

    def __repr__(self) -> str:
        return f'<{self.host}{" (dead)" if self.died.is_set() else ""}>'

    def kill(self) -> typing.NoReturn:
        """End it in the middle of a call of this thread."""
        self.died.set()
        raise crashes.Killed()

    def need_life(self) -> None:
        """:raises crashes.Killed: it has ended"""
        if self.died.is_set():
            raise crashes.Killed()


class Duty:
    """What has come of messages: handlers, and whatever they have started."""

    def __init__(self) -> None:
        self._open = 0
        self._changed = threading.Condition()

    def begin(self) -> None:
        with self._changed:
            self._open += 1

    def end(self) -> None:
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def wait_until_done(self, timeout: float) -> bool:
        """Whether nothing is being done any more."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, timeout)


_process: contextvars.ContextVar[Process | None] = contextvars.ContextVar(
    'process', default=None)
_duty: contextvars.ContextVar['Duty | None'] = contextvars.ContextVar(
    'duty', default=None)
_outside: contextvars.ContextVar[bool] = contextvars.ContextVar(
    'outside', default=False)


def can_be_told_apart() -> bool:
    """Whether Nova runs in native threads, which take their process along.

    Green ones are started in ways of their own.
    """
    patcher = sys.modules.get('eventlet.patcher')
    return patcher is None or not patcher.is_monkey_patched('thread')


def current() -> Process | None:
    """The process whose code this thread runs; None outside of all."""
    return None if _outside.get() else _process.get()


def caller() -> Process | None:
    """The process that has called what this thread runs, or runs itself."""
    return _process.get()


@contextlib.contextmanager
def running(process: Process | None) -> Iterator[None]:
    """The body is code of a process."""
    token, other = _process.set(process), _outside.set(False)
    try:
        yield
    finally:
        _process.reset(token)
        _outside.reset(other)


@contextlib.contextmanager
def outside() -> Iterator[None]:
    """The body happens outside of the process that has called it."""
    token = _outside.set(True)
    try:
        yield
    finally:
        _outside.reset(token)


class Configuration:
    """The configuration as each process has its own: with its host's name.

    All share one in Nova's harness, which has the name of the host that was
    started last; Nova leaves the domain of a server that was migrated away
    where that is the destination's (nova/virt/libvirt/driver.py,
    ``_cleanup_resize``).
    """

    def __init__(self, shared: typing.Any) -> None:
        self._shared = shared

    @property
    def host(self) -> str:
        process = caller()
        if process is None or process.host == CONDUCTOR:
            return str(self._shared.host)
        return process.host

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self._shared, name)


class Processes(fixtures.Fixture):
    """Has threads know the process that they belong to.

    :ivar duty: what the processes do because somebody asked them to
    """

    def __init__(self) -> None:
        self.duty = Duty()
        self._casts: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()
        self._of_managers: dict[int, Process] = {}
        self._conductor = Process(CONDUCTOR)

    def _setUp(self) -> None:
        # A thread has the context of the one that starts it.
        start = threading.Thread.start

        def start_within(thread: threading.Thread) -> None:
            if not threads.is_worker(thread):
                thread.run = _within(  # type: ignore[method-assign]
                    thread.run)
            start(thread)

        self.useFixture(fixtures.MonkeyPatch(
            'threading.Thread.start', start_within))
        for pool in (concurrent.futures.ThreadPoolExecutor,
                     futurist.ThreadPoolExecutor):
            self.useFixture(fixtures.MonkeyPatch(
                f'{pool.__module__}.{pool.__name__}.submit',
                _submit_within(pool.submit)))
        for module in _ASK_FOR_THEIR_HOST:
            self.useFixture(fixtures.MonkeyPatch(
                f'{module}.CONF', Configuration(nova_conf.CONF)))
        self._count_casts()
        dispatch = dispatcher.RPCDispatcher._do_dispatch

        def dispatch_within(served: typing.Any, endpoint: typing.Any,
                            *arguments: typing.Any) -> typing.Any:
            process = self._of(endpoint)
            if process is None:
                return dispatch(served, endpoint, *arguments)
            with running(process), self._on_duty(arguments[0]):
                process.need_life()
                result = dispatch(served, endpoint, *arguments)
                # No answer comes from one that has died meanwhile.
                process.need_life()
                return result

        self.useFixture(fixtures.MonkeyPatch(
            'oslo_messaging.rpc.dispatcher.RPCDispatcher._do_dispatch',
            dispatch_within))

    def adopt(self, manager: typing.Any, process: Process) -> None:
        """This compute manager belongs to a process."""
        self._of_managers[id(manager)] = process

    def _count_casts(self) -> None:
        """A message that nobody waits for is a duty from its sending on."""
        cast = rpc_client._BaseCallContext.cast

        def counted(client: typing.Any, context: typing.Any, method: str,
                    **arguments: typing.Any) -> None:
            # From 34 on there is a second one, "compute-alt".
            if (client.target.topic.startswith('compute')
                    and client.target.server):
                self.duty.begin()
                with self._lock:
                    self._casts[method] += 1
            cast(client, context, method, **arguments)

        self.useFixture(fixtures.MonkeyPatch(
            'oslo_messaging.rpc.client._BaseCallContext.cast', counted))

    @contextlib.contextmanager
    def _on_duty(self, method: str) -> Iterator[None]:
        self.duty.begin()
        with self._lock:
            if self._casts[method]:
                self._casts[method] -= 1
                self.duty.end()
        token = _duty.set(self.duty)
        try:
            yield
        finally:
            _duty.reset(token)
            self.duty.end()

    def _of(self, endpoint: typing.Any) -> Process | None:
        # From 34 on a service wraps it to know what it has to wait for.
        endpoint = getattr(endpoint, '_endpoint', endpoint)
        if type(endpoint).__module__ == 'nova.conductor.manager':
            return self._conductor
        return self._of_managers.get(id(endpoint))


def _within(work: Callable[..., typing.Any]) -> Callable[..., typing.Any]:
    """A callable, for one call, that has the context of this moment."""
    context = contextvars.copy_context()
    duty = context.get(_duty)
    if duty:
        duty.begin()

    def called(*arguments: typing.Any, **keywords: typing.Any) -> typing.Any:
        try:
            return context.run(work, *arguments, **keywords)
        finally:
            if duty:
                duty.end()
    return called


def _submit_within(
    submit: Callable[..., typing.Any],
) -> Callable[..., typing.Any]:
    def submit_within(pool: typing.Any, work: Callable[..., typing.Any],
                      *arguments: typing.Any,
                      **keywords: typing.Any) -> typing.Any:
        return submit(pool, _within(work), *arguments, **keywords)
    return submit_within
