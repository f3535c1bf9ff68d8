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
from nova.tests import functional  # noqa: F401  # isort: skip

import concurrent.futures
import threading

from nova import conf as nova_conf
from nova.virt.libvirt import driver
from oslo_config import fixture
from oslotest import base

from tests.faults import processes


class ConfigurationTestCase(base.BaseTestCase):
    """Each process finds the name of its own host."""

    def setUp(self):
        super().setUp()
        self.useFixture(fixture.Config(nova_conf.CONF)).config(
            host='last', my_ip='192.0.2.7')
        self.useFixture(processes.Processes())

    def host_of(self, name):
        with processes.running(processes.Process(name)):
            return driver.CONF.host

    def test_host_of_the_process(self):
        self.assertEqual(
            ['alpha', 'beta'], [self.host_of('alpha'), self.host_of('beta')])

    def test_host_of_a_process_that_waits_for_another_one(self):
        with processes.running(processes.Process('alpha')), \
                processes.outside():
            self.assertEqual('alpha', driver.CONF.host)

    def test_shared_by_who_has_no_host(self):
        self.assertEqual(
            ['last'] * 2,
            [driver.CONF.host, self.host_of(processes.CONDUCTOR)])

    def test_in_threads_of_the_process(self):
        if not processes.can_be_told_apart():
            self.skipTest('Under eventlet it is not known which process a '
                          'thread belongs to.')
        found = []

        def note():
            found.append(driver.CONF.host)

        with processes.running(processes.Process('beta')):
            thread = threading.Thread(target=note)
            thread.start()
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                pool.submit(note).result()
        thread.join()
        self.assertEqual(['beta', 'beta'], found)

    def test_all_else_is_shared(self):
        self.assertEqual('192.0.2.7', driver.CONF.my_ip)
