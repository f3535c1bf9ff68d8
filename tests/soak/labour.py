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

"""How much of a processor the plugin takes for a server.

All services of this cloud share one Python process, in which one thread runs
at a time. The time on the clock has the work of the others in it, then; the
time of the thread's own has not.
"""

import collections
from collections.abc import Callable
import time
import typing

import fixtures

from nova_vf_failover import swap

_HALVES = ('failover', 'failback')


class Labour(fixtures.Fixture):
    """Adds up the processor's time of the thread that moves a server.

    It needs threads of the operating system: green ones share one.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = collections.defaultdict(float)

    def _setUp(self) -> None:
        for name in _HALVES:
            self.useFixture(fixtures.MonkeyPatch(
                f'nova_vf_failover.swap.Swap.{name}',
                self._timed(getattr(swap.Swap, name))))

    def take(self) -> dict[str, float]:
        """The seconds since the last time that this was asked, by server."""
        seconds = self._seconds
        self._seconds = collections.defaultdict(float)
        return dict(seconds)

    def _timed(self, original: typing.Any) -> Callable[..., typing.Any]:
        def timed(swapped: typing.Any, *arguments: typing.Any) -> typing.Any:
            began = time.thread_time()
            try:
                return original(swapped, *arguments)
            finally:
                self._seconds[swapped._instance.uuid] += (
                    time.thread_time() - began)
        return timed
