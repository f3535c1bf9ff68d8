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

"""Services end with the test, however that ends."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import fixtures
import testtools

from tests.neutron import process

# A service with a worker that would outlive it.
_SERVICE = ['sh', '-c', 'sleep 987654 & echo ready; wait']

# A test that is killed before it can clean up.
_VICTIM = """
import pathlib, sys, time
from tests.neutron import process
service = process.Process('service', {argv!r}, pathlib.Path({log!r}),
                          lambda log: 'ready' in log)
service.setUp()
print('up', flush=True)
time.sleep(1000)
"""


class ProcessTestCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        if os.geteuid():
            self.skipTest('Only root can make a PID namespace.')
        folder = self.useFixture(fixtures.TempDir()).path
        self.log = pathlib.Path(folder, 'log')
        # So that it is told from that of another test.
        self.worker = f'sleep {time.time()}'
        self.argv = [part.replace('sleep 987654', self.worker)
                     for part in _SERVICE]

    def is_running(self):
        commands = subprocess.run(
            ['ps', '-e', '-o', 'args='], stdout=subprocess.PIPE,
            text=True, check=True).stdout.splitlines()
        return self.worker in commands

    def assertGone(self):
        end = time.monotonic() + 20
        while self.is_running():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)

    def test_ends_with_its_workers(self):
        service = process.Process('service', self.argv, self.log,
                                  lambda log: 'ready' in log)
        with service:
            self.assertTrue(self.is_running())
        self.assertGone()

    def test_ends_where_its_test_is_killed(self):
        victim = subprocess.Popen(
            [sys.executable, '-c', _VICTIM.format(
                argv=self.argv, log=str(self.log))],
            stdout=subprocess.PIPE, text=True)
        self.addCleanup(victim.stdout.close)
        self.assertEqual('up\n', victim.stdout.readline())
        self.assertTrue(self.is_running())

        victim.send_signal(signal.SIGKILL)
        victim.wait()

        self.assertGone()

    def test_one_that_does_not_start_says_why(self):
        service = process.Process(
            'service', ['sh', '-c', 'echo no database; exit 3'], self.log,
            lambda log: 'ready' in log)

        failures = self.assertRaises(
            fixtures.MultipleExceptions, service.setUp)

        _, error, _ = failures.args[0]
        self.assertIsInstance(error, process.ServiceFailed)
        self.assertIn('no database', str(error))
        self.assertIn('ended with 3', str(error))
