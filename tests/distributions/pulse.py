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

"""Echo requests at a fixed rate, and which of them were answered when.

The guest's kernel answers them, so that nothing in the guest has to run.
"""

import array
import contextlib
import itertools
import select
import socket
import struct
import threading
import time

from tests.simulation.fabric import namespace

RATE = 50.0
# Seconds until a request that nobody has answered is lost.
PATIENCE = 3.0
_IDENTIFIERS = itertools.count(0x7600)
# type, code, checksum, identifier; then what is ours: a number
_HEADER = struct.Struct('!BBHHHQ')
_KINDS = {4: (8, 0), 6: (128, 129)}


class Pulse(threading.Thread):
    """Asks one address from a namespace until it is stopped."""

    def __init__(self, where: namespace.Namespace, address: str) -> None:
        super().__init__(daemon=True)
        self._address = address
        # Every such socket of a namespace hears all answers.
        self._identifier = next(_IDENTIFIERS)
        self._version = 6 if ':' in address else 4
        self._socket = where.inside(self._open)
        self._over = threading.Event()
        #: when each request was sent, and when first answered (0: never)
        self.sent = array.array('d')
        self.answered = array.array('d')
        self.twice = 0
        self.start()

    def stop(self) -> None:
        self._over.set()
        self.join()
        self._socket.close()

    def lost(self, start: float, end: float) -> int:
        """How many that were sent in a span of time were not answered."""
        return sum(start <= sent < end and not answered
                   for sent, answered in zip(self.sent, self.answered))

    def interruption(self, start: float, end: float) -> float:
        """The longest time without an answer, in seconds."""
        times = [start, *sorted(at for sent, at in zip(
            self.sent, self.answered) if at and start <= sent < end), end]
        return max(later - sooner for sooner, later in zip(times, times[1:]))

    def await_answer(self, timeout: float) -> float:
        """Until a request that is sent from now on has been answered.

        :returns: the seconds that it took
        :raises TimeoutError: none was
        """
        start = time.monotonic()
        first = len(self.sent)
        while time.monotonic() < start + timeout:
            if any(self.answered[first:]):
                return time.monotonic() - start
            time.sleep(1 / RATE)
        raise TimeoutError(
            f'{self._address} has not answered for {timeout:.0f} s')

    def run(self) -> None:
        due = time.monotonic()
        while not self._over.is_set():
            if select.select([self._socket], [], [], max(
                    0.0, due - time.monotonic()))[0]:
                self._receive()
            while due <= time.monotonic():
                self._send()
                due += 1 / RATE

    def _open(self) -> socket.socket:
        if self._version == 4:
            made = socket.socket(socket.AF_INET, socket.SOCK_RAW,
                                 socket.IPPROTO_ICMP)
        else:
            made = socket.socket(socket.AF_INET6, socket.SOCK_RAW,
                                 socket.IPPROTO_ICMPV6)
        made.setblocking(False)
        return made

    def _send(self) -> None:
        number = len(self.sent)
        request = self._packet(0, number)
        if self._version == 4:
            request = self._packet(_checksum(request), number)
        self.answered.append(0.0)
        self.sent.append(time.monotonic())
        # What cannot be sent is lost like what is not answered.
        with contextlib.suppress(OSError):
            self._socket.sendto(request, (self._address, 0))

    def _packet(self, checksum: int, number: int) -> bytes:
        return _HEADER.pack(_KINDS[self._version][0], 0, checksum,
                            self._identifier, number & 0xffff, number)

    def _receive(self) -> None:
        data = self._socket.recv(256)
        if self._version == 4:
            # An IPv4 header comes first; its length is in words.
            data = data[(data[0] & 15) * 4:]
        if len(data) < _HEADER.size:
            return
        kind, _, _, identifier, _, number = _HEADER.unpack_from(data)
        if kind != _KINDS[self._version][1] or (
                identifier != self._identifier):
            return
        if self.answered[number]:
            self.twice += 1
        else:
            self.answered[number] = time.monotonic()


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
