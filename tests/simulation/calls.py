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

"""What work costs the cloud: RPC, calls to Neutron, writes to databases."""

import collections
from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import threading
import typing

import fixtures
from nova.network import security_group_api
from oslo_messaging.rpc import client as rpc_client
from placement import db_api as placement_db
from sqlalchemy import engine
from sqlalchemy import event

# What every service writes all the time, whatever is going on.
_HEARTBEATS = ('UPDATE services ',)
# Each service asks for it every ten minutes (neutron.extension_sync_interval),
# whatever it is doing then.
_NOW_AND_THEN = ('list_extensions',)
# Nova's API asks it for the security groups of each server that it shows, so
# how often depends on how often somebody looks whether a server has arrived.
_LOOK = 'get_instances_security_groups_bindings'
# Nova's monitor of a live migration writes how far the memory copy is, into
# the migration and the instance, where a look of its finds one going on. It
# looks twice a second: whether it does so depends on how long the copy takes.
_PROGRESS = 'nova.virt.libvirt.migration.save_stats'
_WRITES = ('INSERT', 'UPDATE', 'DELETE')


@dataclasses.dataclass
class Count:
    """How often something was called, by its name.

    :ivar rpc: Nova's calls and casts; the conductor's access to the database
        for objects is not among them, its statements are counted below
    :ivar neutron: requests to Neutron's API, but for those that only show a
        server to somebody
    :ivar db: statements that write into Nova's databases, by verb and table,
        but for those that say how far a memory copy is
    """

    rpc: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter)
    neutron: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter)
    db: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter)

    def totals(self) -> dict[str, int]:
        return {'rpc': self.rpc.total(), 'neutron': self.neutron.total(),
                'db': self.db.total()}


class Calls(fixtures.Fixture):
    """Counts while it is asked to.

    :param neutron: Nova's stand-in for Neutron
    """

    def __init__(self, neutron: typing.Any) -> None:
        self._neutron = neutron
        self._lock = threading.Lock()
        self._count: Count | None = None
        self._looking = threading.local()

    def _setUp(self) -> None:
        for name in ('call', 'cast'):
            self.useFixture(fixtures.MonkeyPatch(
                f'oslo_messaging.rpc.client._BaseCallContext.{name}',
                self._counted_rpc(getattr(rpc_client._BaseCallContext,
                                          name))))
        self.useFixture(fixtures.MonkeyPatch(
            f'nova.network.security_group_api.{_LOOK}',
            self._uncounted(getattr(security_group_api, _LOOK))))
        get_client = self._neutron._get_client
        self.useFixture(fixtures.MonkeyPatch(
            'nova.network.neutron.get_client',
            lambda *arguments, **keywords: _CountedClient(
                get_client(*arguments, **keywords), self._note)))
        event.listen(engine.Engine, 'before_cursor_execute',
                     self._statement)
        self.addCleanup(event.remove, engine.Engine,
                        'before_cursor_execute', self._statement)

    @contextlib.contextmanager
    def counting(self) -> Iterator[Count]:
        count = self._count = Count()
        try:
            with fixtures.MonkeyPatch(_PROGRESS, lambda *arguments: None):
                yield count
        finally:
            self._count = None

    def _uncounted(self, original: Callable[..., typing.Any],
                   ) -> Callable[..., typing.Any]:
        @functools.wraps(original)
        def uncounted(*arguments: typing.Any, **keywords: typing.Any,
                      ) -> typing.Any:
            self._looking.on = True
            try:
                return original(*arguments, **keywords)
            finally:
                self._looking.on = False
        return uncounted

    def _note(self, kind: str, name: str) -> None:
        if getattr(self._looking, 'on', False):
            return
        with self._lock:
            if self._count:
                getattr(self._count, kind)[name] += 1

    def _counted_rpc(self, original: Callable[..., typing.Any],
                     ) -> Callable[..., typing.Any]:
        @functools.wraps(original)
        def counted(context: typing.Any, ctxt: typing.Any, method: str,
                    **keywords: typing.Any) -> typing.Any:
            if not method.startswith('object_'):
                self._note('rpc', method)
            return original(context, ctxt, method, **keywords)
        return counted

    def _statement(self, connection: typing.Any, cursor: typing.Any,
                   statement: str, *rest: typing.Any) -> None:
        if (not statement.startswith(_WRITES)
                or statement.startswith(_HEARTBEATS)
                or connection.engine is placement_db.get_placement_engine()):
            return
        words = statement.split()
        table = words[1] if words[0] == 'UPDATE' else words[2]
        self._note('db', f'{words[0].lower()} {table}')


class _CountedClient:
    """A client of Neutron whose every request is noted."""

    def __init__(self, client: typing.Any,
                 note: Callable[[str, str], None]) -> None:
        self._client = client
        self._note = note

    def __getattr__(self, name: str) -> typing.Any:
        method = getattr(self._client, name)
        if not callable(method) or name in _NOW_AND_THEN:
            return method

        @functools.wraps(method)
        def counted(*arguments: typing.Any, **keywords: typing.Any,
                    ) -> typing.Any:
            self._note('neutron', name)
            return method(*arguments, **keywords)
        return counted
