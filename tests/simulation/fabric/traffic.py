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

"""Traffic between a guest and its peer, and what a move did to it."""

import array
import bisect
from collections.abc import Sequence
import contextlib
import dataclasses
import itertools
import os
import subprocess
import sys
import tempfile
import typing

from tests.simulation.fabric import endpoint
from tests.simulation.fabric import namespace


@dataclasses.dataclass(frozen=True)
class Step:
    """A step of a move; times in seconds of CLOCK_MONOTONIC."""

    name: str
    start: float
    end: float


@dataclasses.dataclass(frozen=True)
class Direction:
    """What happened to the packets of one direction.

    :ivar sent_at: when each packet was sent, by its number
    :ivar received: number and time of each packet that came in, in order
    """

    sent_at: 'array.array[float]'
    received: list[tuple[int, float]]

    @property
    def sent(self) -> int:
        return len(self.sent_at)

    @property
    def lost_numbers(self) -> list[int]:
        arrived = {number for number, _ in self.received}
        return [number for number in range(self.sent)
                if number not in arrived]

    @property
    def duplicated(self) -> int:
        return len(self.received) - len(
            {number for number, _ in self.received})

    @property
    def interruption(self) -> float:
        """The longest time without a packet received, in seconds.

        It may last from the first that was sent, or until the last.
        """
        times = [at for _, at in self.received]
        return _longest_pause([self.sent_at[0], *times,
                               max([self.sent_at[-1], *times[-1:]])])

    @property
    def sender_pause(self) -> float:
        """The longest time in which the machine let the sender send nothing.

        An interruption that is no longer than this is the machine's.
        """
        return _longest_pause(self.sent_at)

    def lost_by_step(self, steps: list[Step]) -> dict[str, int]:
        """How many of the lost packets were sent during each step."""
        lost = [self.sent_at[number] for number in self.lost_numbers]
        return {step.name: bisect.bisect_left(lost, step.end)
                - bisect.bisect_left(lost, step.start) for step in steps}


def _longest_pause(times: Sequence[float]) -> float:
    return max((later - sooner for sooner, later in itertools.pairwise(
        times)), default=0.0)


def _to(process: 'subprocess.Popen[bytes]') -> typing.IO[bytes]:
    assert process.stdin
    return process.stdin


def _from(process: 'subprocess.Popen[bytes]') -> typing.IO[bytes]:
    assert process.stdout
    return process.stdout


class Traffic:
    """Numbered packets in both directions until it is stopped.

    :param rate: packets a second in each direction
    """

    PORT = 9000

    def __init__(self, guest: namespace.Namespace, guest_address: str,
                 peer: namespace.Namespace, peer_address: str,
                 rate: float) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._addresses = (peer_address, guest_address)
        self._peer = self._start(peer, peer_address, guest_address, rate)
        self._guest = self._start(guest, guest_address, peer_address, rate)
        for process in (self._peer, self._guest):
            if not _from(process).readline():
                raise RuntimeError('an end of the traffic cannot start')
        for process in (self._peer, self._guest):
            _to(process).write(b'go\n')

    def _start(self, where: namespace.Namespace, own: str, other: str,
               rate: float) -> 'subprocess.Popen[bytes]':
        # By its path: the package would bring Nova along.
        return subprocess.Popen(where.command(
            sys.executable, endpoint.__file__, own, other, str(self.PORT),
            str(rate), self._log(own)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def stop(self) -> tuple[Direction, Direction]:
        """End it.

        :returns: towards the guest, from the guest
        :raises RuntimeError: one end has failed
        """
        self._stop_sending()
        for process in (self._peer, self._guest):
            _to(process).close()
            _from(process).close()
        if self._peer.wait() or self._guest.wait():
            raise RuntimeError('an end of the traffic has failed')
        logs = [self._read(self._log(own)) for own in self._addresses]
        self._folder.cleanup()
        (peer_sent, peer_received), (guest_sent, guest_received) = logs
        return (Direction(peer_sent, guest_received),
                Direction(guest_sent, peer_received))

    def _stop_sending(self) -> None:
        """Nobody sends any more; each receives as long as the other sends.
        """
        for process in (self._peer, self._guest):
            # One that has failed says so with its exit code.
            with contextlib.suppress(BrokenPipeError):
                _to(process).write(b'stop\n')
        for process in (self._peer, self._guest):
            _from(process).readline()

    def _log(self, own: str) -> str:
        return os.path.join(self._folder.name, own.replace(':', '-'))

    @staticmethod
    def _read(
        log: str,
    ) -> tuple['array.array[float]', list[tuple[int, float]]]:
        numbers: array.array[float] = array.array('d')
        with open(log, 'rb') as file:
            numbers.frombytes(file.read())
        count = int(numbers[0])
        received = numbers[1 + count:]
        return numbers[1:1 + count], [
            (int(number), at) for number, at in zip(
                received[::2], received[1::2])]
