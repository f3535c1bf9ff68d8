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

"""How many live migrations leave a host at the same time."""

import collections
import threading
import typing

import fixtures

from nova_vf_failover import driver


class Departures(fixtures.Fixture):
    """Counts those that the driver of a host is at.

    :ivar most: at the same time, by host
    """

    def __init__(self) -> None:
        self.most: collections.Counter[str] = collections.Counter()
        self._now: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def _setUp(self) -> None:
        live_migration = driver.FailoverLibvirtDriver.live_migration

        def counted(its: typing.Any, *arguments: typing.Any,
                    **keywords: typing.Any) -> None:
            host = its._bench.host
            self._change(host, 1)
            try:
                live_migration(its, *arguments, **keywords)
            finally:
                self._change(host, -1)

        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.driver.FailoverLibvirtDriver.live_migration',
            counted))

    def _change(self, host: str, by: int) -> None:
        with self._lock:
            self._now[host] += by
            self.most[host] = max(self.most[host], self._now[host])
