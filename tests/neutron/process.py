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

"""A program that runs until the test is over, and not a moment longer."""

from collections.abc import Callable
import pathlib
import re
import subprocess
import time

import fixtures

# Seconds until a service is ready, on a busy computer.
_PATIENCE = 300

# As oslo.log begins what it says of an error: time, process, level, logger,
# request. The lines of a traceback have no request.
_TROUBLE = re.compile(r'\S+ \S+ \d+ (ERROR|CRITICAL) \S+ \[')
_HARMLESS = (
    # A service plugin that Neutron adds by itself; it needs the router's.
    'Unable to process extensions (auto-allocated-topology)',
    # A backend of oslo.cache that nobody has chosen.
    "Could not load 'oslo_cache.memcache_pool'",
)


class ServiceFailed(Exception):
    """A service has ended or is not ready; the message has its last words."""


class Process(fixtures.Fixture):
    """A service in a PID namespace of its own.

    With its first process end the workers that it has started. It ends as
    well when this process is killed before it can clean up.

    :param name: of the service, for people
    :param log: where what it prints goes
    :param ready: whether it is, asked again and again with its log
    """

    def __init__(self, name: str, argv: list[str], log: pathlib.Path,
                 ready: Callable[[str], bool]) -> None:
        self._name = name
        self._argv = argv
        self._log = log
        self._ready = ready

    def _setUp(self) -> None:
        with self._log.open('w') as log:
            self._process = subprocess.Popen(
                ['setpriv', '--pdeathsig', 'KILL', 'unshare', '--pid',
                 '--fork', '--kill-child', '--mount-proc', *self._argv],
                stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT)
        self.addCleanup(self._stop)
        self._await()

    def _stop(self) -> None:
        # Its data go with it: there is nothing to be written.
        self._process.kill()
        self._process.wait()

    def _await(self) -> None:
        end = time.monotonic() + _PATIENCE
        while not self._ready(self._log.read_text()):
            if self._process.poll() is not None:
                raise ServiceFailed(
                    f'{self._name} has ended with '
                    f'{self._process.returncode}:\n{self._last_words()}')
            if time.monotonic() > end:
                raise ServiceFailed(
                    f'{self._name} is not ready after {_PATIENCE} s:\n'
                    f'{self._last_words()}')
            time.sleep(0.1)

    def _last_words(self) -> str:
        return '\n'.join(self._log.read_text().splitlines()[-20:])

    def trouble(self) -> list[str]:
        """The lines of its log that tell of errors."""
        return [line for line in self._log.read_text().splitlines()
                if _TROUBLE.match(line)
                and not any(known in line for known in _HARMLESS)]
