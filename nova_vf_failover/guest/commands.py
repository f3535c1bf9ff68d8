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

"""Commands that the agent gives to other programs of the guest.

What they print is read alike whatever the agent's own locale is: it runs in
that of the system, which may be "C", where Python 3.6 takes a byte that is not
ASCII for a fault. And they get their words in UTF-8, as they would from a
terminal.
"""

import os
import subprocess  # nosec B404: without a shell
import typing


class Unwilling(Exception):
    """A program does not do it; the message is what it says."""


#: how a command may fail: no such program, too late, or it does not want to
FAULTS = (OSError, subprocess.SubprocessError, Unwilling)


def run(arguments: typing.Iterable[str], timeout: float) -> str:
    """What a program prints.

    :raises Unwilling: it has failed
    """
    ended = subprocess.run(  # nosec B603
        _encoded(arguments), timeout=timeout, **_options())
    if ended.returncode:
        raise Unwilling(ended.stdout.strip())
    text: str = ended.stdout
    return text


class Question:
    """What a program prints, for who does not wait for it now.

    :raises OSError: there is no such program
    """

    def __init__(self, arguments: typing.Iterable[str]) -> None:
        self._process = subprocess.Popen(  # nosec B603
            _encoded(arguments), **_options())

    def answer(self, timeout: float) -> str:
        """What it has printed, once it has ended.

        :raises subprocess.TimeoutExpired: it was too late
        :raises Unwilling: it has failed
        """
        text: str
        text, _ = self._process.communicate(timeout=timeout)
        if self._process.returncode:
            raise Unwilling(text.strip())
        return text

    def close(self) -> None:
        """Wait no longer."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        # Python 3.6 cannot communicate() once more (bpo-35182).
        if self._process.stdout:
            self._process.stdout.close()


def _encoded(arguments: typing.Iterable[str]) -> typing.List[bytes]:
    return [word.encode() for word in arguments]


def _options() -> typing.Dict[str, typing.Any]:
    return {'env': dict(os.environ, LC_ALL='C', TERM='dumb'),
            'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE,
            'stderr': subprocess.STDOUT,
            'encoding': 'utf-8', 'errors': 'replace'}
