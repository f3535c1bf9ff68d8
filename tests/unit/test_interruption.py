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

"""What cleans up after Ctrl-C, in a process group of its own."""

import os
import signal
import subprocess
import sys

from oslotest import base

# Its cleaning up ends with its standard input.
_SCRIPT = """
import signal
import subprocess
from tests import interruption
interruption.raise_once()
try:
    print('works', flush=True)
    while True:
        signal.pause()
except KeyboardInterrupt:
    print('interrupted', flush=True)
finally:
    print('cleans up', flush=True)
    subprocess.run(['cat'], check=True)
    print('has cleaned up', flush=True)
"""
# A signal that comes before the child is ready is lost (CPython clears those
# that are pending after a fork).
_FORKS = """
import os
import signal
import time
from tests import interruption
interruption.raise_once()
ready, its = os.pipe()
child = os.fork()
if not child:
    os.write(its, b'1')
    while True:
        time.sleep(0.1)
os.read(ready, 1)
os.kill(child, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class RaiseOnceTestCase(base.BaseTestCase):

    def run_script(self, *numbers):
        with subprocess.Popen(
                [sys.executable, '-c', _SCRIPT], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                start_new_session=True) as process:
            self.addCleanup(process.kill)
            self.assertEqual('works\n', process.stdout.readline())
            os.killpg(process.pid, numbers[0])
            self.assertEqual('interrupted\n', process.stdout.readline())
            self.assertEqual('cleans up\n', process.stdout.readline())
            for number in numbers[1:]:
                os.killpg(process.pid, number)
            said, _ = process.communicate('')
        return process.returncode, said

    def test_a_second_one_does_not_end_the_cleaning_up(self):
        self.assertEqual((0, 'has cleaned up\n'), self.run_script(
            signal.SIGINT, signal.SIGINT))

    def test_nor_does_one_after_a_sigterm(self):
        self.assertEqual((0, 'has cleaned up\n'), self.run_script(
            signal.SIGTERM, signal.SIGINT, signal.SIGINT))

    def test_a_sigterm_ends_what_was_forked(self):
        said = subprocess.run(
            [sys.executable, '-c', _FORKS], stdout=subprocess.PIPE,
            check=True, text=True, timeout=60).stdout

        self.assertEqual('143\n', said)
