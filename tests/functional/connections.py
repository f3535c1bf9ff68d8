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

"""Connections to the databases of Nova's functional tests, kept for reuse.

Where Nova runs in native threads, its harness has each database in a file of
SQLite's, and oslo.db a connection of its own for each transaction there
(``_init_connection_args`` in oslo_db/sqlalchemy/engines.py). Each of them
reads the whole schema first: that was most of what a test did.
"""

import typing

import fixtures
from sqlalchemy import pool


class _Kept(pool.QueuePool):
    """Has as many connections as were ever in use at once."""

    def __init__(self, *arguments: typing.Any,
                 **keywords: typing.Any) -> None:
        super().__init__(*arguments, **keywords | {'pool_size': 0})


class KeptConnections(fixtures.Fixture):
    """Has a transaction take a connection that another one has left."""

    def _setUp(self) -> None:
        pools: list[pool.Pool] = []

        class Kept(_Kept):
            def __init__(self, *arguments: typing.Any,
                         **keywords: typing.Any) -> None:
                super().__init__(*arguments, **keywords)
                pools.append(self)

        self.addCleanup(_dispose, pools)
        self.useFixture(fixtures.MonkeyPatch(
            'oslo_db.sqlalchemy.engines.pool.NullPool', Kept))


def _dispose(pools: list[pool.Pool]) -> None:
    for each in pools:
        each.dispose()
