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

"""How long a server does not answer, as ping sees it."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import re
import signal
import subprocess
import threading
import typing

# What iputils' ping prints of an answer with -D.
_ANSWER = re.compile(r'^\[(\d+\.\d+)\] .*icmp_seq=(\d+) ttl=')
# The numbers of ICMP have 16 bits.
_NUMBERS = 1 << 16


class NoAnswer(Exception):
    """The server does not answer at all."""


@dataclasses.dataclass(frozen=True)
class Answers:
    """What came back.

    :ivar times: when each answer came, seconds
    :ivar lost: how many questions between the first and the last answer had
        none
    """

    times: tuple[float, ...]
    lost: int

    @property
    def longest_gap(self) -> float:
        """The longest time in which no answer came, in seconds."""
        return max((later - earlier for earlier, later
                    in zip(self.times, self.times[1:])), default=0.0)


def read(lines: Iterable[str]) -> Answers:
    """Understand what ping has printed."""
    times, numbers, last = [], set(), 0
    for line in lines:
        found = _ANSWER.match(line)
        if not found:
            continue
        times.append(float(found[1]))
        # Counted on past the end of the 16 bits, whatever came late or twice.
        number = int(found[2])
        number += round((last - number) / _NUMBERS) * _NUMBERS
        last = max(last, number)
        numbers.add(number)
    lost = (max(numbers) - min(numbers) + 1 - len(numbers)) if numbers else 0
    return Answers(tuple(sorted(times)), lost)


class Ping:
    """Asks a server again and again, from when it is made until it is stopped.

    :param command: what ping is called with in front, such as ``ip netns
        exec``
    :param interval: seconds between two questions
    """

    def __init__(self, address: str, command: Sequence[str],
                 interval: float) -> None:
        self._address = address
        self._lines: list[str] = []
        self._answered = threading.Event()
        self._process = subprocess.Popen(
            [*command, 'ping', '-n', '-D', '-i', f'{interval:g}', address],
            stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in typing.cast(typing.TextIO, self._process.stdout):
            self._lines.append(line)
            if _ANSWER.match(line):
                self._answered.set()

    def await_answer(self, timeout: float) -> None:
        """Wait until the server answers.

        :raises NoAnswer: it does not within this time
        """
        if not self._answered.wait(timeout):
            raise NoAnswer(f'{self._address} has not answered a ping within '
                           f'{timeout:g} s')

    def stop(self) -> Answers:
        """End it, and what it has seen."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._process.wait()
        self._reader.join()
        return read(self._lines)
