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

"""Whether the plugin waits for a guest while it holds a lock of Nova's.

Whoever else wants such a lock would wait with it: the compute service's
periodic task and every other migration of the host for the PCI tracker's,
all that is done to one server for that server's.
"""

import collections
from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import sys
import threading
import time
import types
import typing

import fixtures
from oslo_concurrency import lockutils

PACKAGE = 'nova_vf_failover.'
# In these a guest or an event of its domain is waited for; elsewhere it is
# the conductor, which Nova asks with its locks held as well.
PATIENT = tuple(PACKAGE + name for name in (
    'channels', 'conversation', 'domain', 'operations'))


class Locks(fixtures.Fixture):
    """Sees locks being taken and threads that wait, in this process.

    :ivar waits: how often somebody of the plugin waited for a guest
    :ivar held: how often that was with a lock, by its name and by who waited
    """

    def __init__(self) -> None:
        self.waits = 0
        self.held: collections.Counter[tuple[str, str]] = (
            collections.Counter())
        self._names: dict[int, list[str]] = collections.defaultdict(list)

    def _setUp(self) -> None:
        for name, stand_in in (
                ('oslo_concurrency.lockutils.lock',
                 self._noting(lockutils.lock)),
                ('threading.Condition.wait',
                 self._watching(threading.Condition.wait)),
                ('time.sleep', self._watching(time.sleep))):
            self.useFixture(fixtures.MonkeyPatch(name, stand_in))

    def _noting(self, original: typing.Any) -> Callable[..., typing.Any]:
        @contextlib.contextmanager
        def lock(name: str, *arguments: typing.Any,
                 **keywords: typing.Any) -> Iterator[typing.Any]:
            with original(name, *arguments, **keywords) as taken:
                mine = self._names[threading.get_ident()]
                mine.append(name)
                try:
                    yield taken
                finally:
                    mine.remove(name)
        return lock

    def _watching(self, original: typing.Any) -> Callable[..., typing.Any]:
        def wait(*arguments: typing.Any, **keywords: typing.Any,
                 ) -> typing.Any:
            self._note(sys._getframe(1))
            return original(*arguments, **keywords)
        return wait

    def _note(self, frame: types.FrameType | None) -> None:
        who = _innermost(frame)
        if not who.startswith(PATIENT):
            return
        self.waits += 1
        for name in self._names[threading.get_ident()]:
            self.held[name, who] += 1


def _innermost(frame: types.FrameType | None) -> str:
    """The function of the plugin that waits, or nothing."""
    while frame:
        module = frame.f_globals.get('__name__', '')
        if module.startswith(PACKAGE):
            return f'{module}.{frame.f_code.co_name}'
        frame = frame.f_back
    return ''
