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

"""The one-file agent under every Python that this machine has."""

from collections.abc import Iterator
import glob
import io
import os
import subprocess
import sys
import unittest

from rich import console
from rich import table

from nova_vf_failover.guest import bundle
from tests.guest import base
from tests.guest import test_move

VERSIONS = [f'3.{minor}' for minor in range(6, 14)]
FILE = '.cache/agent/vf-failover-agent'


def interpreters(version: str) -> Iterator[str]:
    """Where a version of Python may be."""
    folders = os.environ.get('PATH', '').split(':') + glob.glob(
        os.path.expanduser('~/.pyenv/versions/*/bin'))
    for folder in folders:
        yield os.path.join(folder, f'python{version}')


def find(version: str) -> str | None:
    """The first interpreter of a version that starts."""
    for path in interpreters(version):
        if os.access(path, os.X_OK):
            done = subprocess.run(
                [path, '-c', 'import sys; print(sys.executable)'],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            if done.returncode == 0:
                return done.stdout.strip()
    return None


def suite(interpreter: str) -> unittest.TestSuite:
    """A failover and a failback with packets running, and a second look."""
    class PythonTestCase(test_move.Lossless, base.GuestTestCase):
        PROGRAM = (interpreter, os.path.abspath(FILE))

    return unittest.defaultTestLoader.loadTestsFromTestCase(PythonTestCase)


def passed(result: unittest.TestResult) -> bool:
    """Whether all was tried, and went well."""
    return bool(result.testsRun and result.wasSuccessful()
                and not result.skipped)


def main() -> int:
    """The exit code: 0, 1 (a Python has failed) or 2 (it cannot be run)."""
    screen = console.Console(width=100)
    if os.geteuid():
        screen.print('The networks of the guests are made by root only.')
        return 2
    bundle.write(FILE)
    shown = table.Table('Python', 'interpreter', 'failover and failback')
    failed = 0
    for version in VERSIONS:
        interpreter = find(version)
        if interpreter is None:
            shown.add_row(version, '-', 'not on this machine')
            continue
        said = io.StringIO()
        result = unittest.TextTestRunner(said).run(suite(interpreter))
        if not passed(result):
            failed += 1
            screen.print(said.getvalue(), markup=False)
            for test, reason in result.skipped:
                screen.print(f'{test} was skipped: {reason}', markup=False,
                             soft_wrap=True)
        shown.add_row(version, interpreter, 'nothing lost, all as it was'
                      if passed(result) else 'failed')
    screen.print(shown)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
