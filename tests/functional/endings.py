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

"""How migrations end, told as they do.

To ask Nova's API for them again and again would take more of the processor
that all services of this cloud share than the moves themselves.
"""

import collections
from collections.abc import Callable
import queue
import typing

import fixtures
from nova import objects

_ENDED = frozenset(['completed', 'error', 'failed', 'cancelled'])


class Endings(fixtures.Fixture):
    """Hears of each migration whose end is written, once."""

    def __init__(self) -> None:
        self._told: dict[str, list[str]] = collections.defaultdict(list)
        self._known: set[str] = set()
        self._heard: queue.Queue[str] = queue.Queue()

    def _setUp(self) -> None:
        self.useFixture(fixtures.MonkeyPatch(
            'nova.objects.Migration.save',
            self._telling(objects.Migration.save)))

    def next(self, patience: float) -> str:
        """The UUID of the next server whose migration has ended.

        :param patience: seconds
        :raises queue.Empty: none has in this time
        """
        return self._heard.get(timeout=patience)

    def of(self, server: str) -> list[str]:
        """How the migrations of a server have ended, in that order."""
        return list(self._told[server])

    def _telling(self, original: typing.Any) -> Callable[..., None]:
        def save(migration: typing.Any) -> None:
            original(migration)
            # It is written through the conductor, which calls this as well.
            if (migration.status in _ENDED
                    and migration.uuid not in self._known):
                self._known.add(migration.uuid)
                self._told[migration.instance_uuid].append(migration.status)
                self._heard.put(migration.instance_uuid)
        return save
