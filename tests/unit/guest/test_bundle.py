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

"""The agent as one file."""

import json
import os
import stat
import subprocess
import sys
import time
import zipfile

import fixtures
from oslotest import base

from nova_vf_failover.guest import bundle

# Runs an agent of the file that is the first argument, which somebody
# replaces by something shorter meanwhile.
REPLACED = """
import logging
import sys
import threading

sys.path.insert(0, sys.argv[1])

from nova_vf_failover.guest import agent
from nova_vf_failover.guest import service

with open(sys.argv[1], 'wb') as file:
    file.write(b'shorter')


def fail():
    service._seconds(-1)


def log_and_fail():
    try:
        fail()
    except ValueError:
        logging.exception('The first one')
    fail()


class Failing:

    def __init__(self, *_):
        pass

    def run(self, _):
        vital(log_and_fail)


def vital(work):
    # Only the main thread ends the process by itself.
    thread = threading.Thread(target=service._vital, args=(work,))
    thread.start()
    thread.join()

"""


class BundleTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        folder = self.useFixture(fixtures.TempDir()).path
        self.file = os.path.join(folder, 'made', 'vf-failover-agent')
        self.size = bundle.write(self.file)

    def test_same_sources_make_the_same_file(self):
        with open(self.file, 'rb') as first:
            before = first.read()
        bundle.write(self.file)
        with open(self.file, 'rb') as second:
            self.assertEqual(before, second.read())

    def test_whatever_the_order_of_their_folder_is(self):
        names = zipfile.ZipFile(self.file).namelist()
        self.assertEqual(sorted(names), names)

    def test_wherever_it_is_made(self):
        with open(self.file, 'rb') as first:
            before = first.read()
        # When the environment is as it was.
        self.addCleanup(time.tzset)
        self.useFixture(fixtures.EnvironmentVariable('TZ', 'WEST+11'))
        time.tzset()
        bundle.write(self.file)
        with open(self.file, 'rb') as second:
            self.assertEqual(before, second.read())

    def test_it_does_not_say_when_it_was_made(self):
        self.assertEqual({(1980, 1, 1, 0, 0, 0)}, {
            info.date_time for info in zipfile.ZipFile(self.file).infolist()})

    def test_it_has_the_agent_and_nothing_else(self):
        names = zipfile.ZipFile(self.file).namelist()
        self.assertIn('nova_vf_failover/guest/service.py', names)
        self.assertEqual([], [
            name for name in names if '.pyc' in name or not name.startswith(
                ('__main__.py', 'nova_vf_failover/__init__.py',
                 'nova_vf_failover/guest/')) and not name.endswith('/')])

    def test_everybody_may_run_it(self):
        self.assertEqual(0o755, stat.S_IMODE(os.stat(self.file).st_mode))

    def test_it_runs_where_nothing_is_installed(self):
        # -I -S: neither site-packages nor this checkout.
        done = subprocess.run(
            [sys.executable, '-I', '-S', self.file, '--socket', '/nowhere',
             'status'], stdout=subprocess.PIPE, cwd='/')
        self.assertEqual(1, done.returncode)
        self.assertIn('does not answer', json.loads(done.stdout)['message'])


class ReplacedTestCase(base.BaseTestCase):
    """Its traceback cannot be made: the lines of its source have gone."""

    def run_agent(self, rest):
        folder = self.useFixture(fixtures.TempDir()).path
        file = os.path.join(folder, 'vf-failover-agent')
        bundle.write(file)
        return subprocess.run(
            [sys.executable, '-I', '-S', '-c', REPLACED + rest, file],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd='/')

    def test_it_ends_with_what_it_cannot_do_without(self):
        self.assertEqual(1, self.run_agent('vital(fail)').returncode)

    def test_it_says_why(self):
        done = self.run_agent(
            'service.Service = Failing\n'
            'sys.exit(agent.main(["run"]))\n')

        self.assertEqual(1, done.returncode)
        said = done.stderr.decode()
        self.assertIn('ERROR The first one\nValueError(', said)
        self.assertIn('CRITICAL The agent cannot go on\nValueError(', said)
