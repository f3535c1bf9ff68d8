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

"""What a program says in whose process Nova runs green threads.

Where it runs native ones, as in most runs of these tests, no eventlet can be
imported.
"""

import os
import subprocess
import sys


def said(module: str) -> str:
    """The standard output of ``python -m module``.

    :raises AssertionError: it has failed, with what it said of that
    """
    ended = subprocess.run(
        [sys.executable, '-m', module],
        env={**os.environ, 'OS_NOVA_DISABLE_EVENTLET_PATCHING': 'false'},
        capture_output=True, text=True, timeout=120, check=False)
    if ended.returncode:
        raise AssertionError(ended.stderr[-2000:])
    return ended.stdout.strip()
