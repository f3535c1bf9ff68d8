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

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401 isort: skip

import threading
from unittest import mock

import fixtures
from oslotest import base

from nova_vf_failover import driver
from tests.soak import departures


class DeparturesTestCase(base.BaseTestCase):

    def test_those_of_one_host_are_counted(self):
        both, done = threading.Barrier(2, timeout=60), []

        def live_migration(its, number):
            if its._bench.host == 'alpha':
                both.wait()
            done.append(number)

        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.driver.FailoverLibvirtDriver.live_migration',
            live_migration))
        counted = self.useFixture(departures.Departures())

        def leave(host, number):
            driver.FailoverLibvirtDriver.live_migration(
                mock.Mock(**{'_bench.host': host}), number)

        leave('beta', 0)
        leave('beta', 1)
        other = threading.Thread(target=leave, args=('alpha', 2))
        other.start()
        leave('alpha', 3)
        other.join()

        self.assertEqual([0, 1, 2, 3], sorted(done))
        self.assertEqual({'alpha': 2, 'beta': 1}, counted.most)
