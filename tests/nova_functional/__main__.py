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

"""Run Nova's functional tests with the plugin, and again what failed without.

A test that fails with the plugin and without it says nothing about the
plugin: the results are the same. The exit code is 0 only if they all are.
"""

import os
import subprocess
import sys

from tests import nova_functional

STESTR = [sys.executable, '-m', 'stestr',
          '--test-path', './tests/nova_functional', '--top-dir', '.']


def main(patterns: list[str]) -> int:
    """Compare both runs of the tests that match; the process's exit code."""
    if _run(patterns, enabled=True) == 0:
        print('\nEvery test that ran has passed with the plugin enabled.')
        return 0
    with_plugin = _failing()
    if not with_plugin:
        print('\nThe tests could not be run.', file=sys.stderr)
        return 2
    print(f'\n{len(with_plugin)} failed with the plugin enabled; the same '
          'tests without it:\n', flush=True)
    _run(['^' + '$|^'.join(map(_escaped, sorted(with_plugin))) + '$'],
         enabled=False)
    without = _failing()
    for test in sorted(with_plugin):
        print(f'{"fails without it too" if test in without else "ONLY HERE"}: '
              f'{test}')
    return 0 if with_plugin == without else 1


def _run(patterns: list[str], enabled: bool) -> int:
    environment = os.environ | {
        nova_functional.SWITCH: '1' if enabled else '0'}
    return subprocess.run([*STESTR, 'run', *patterns],
                          env=environment).returncode


def _failing() -> set[str]:
    listed = subprocess.run([*STESTR, 'failing', '--list'],
                            stdout=subprocess.PIPE, text=True)
    return set(listed.stdout.split())


def _escaped(test: str) -> str:
    return test.replace('.', r'\.').replace('(', r'\(').replace(')', r'\)')


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
