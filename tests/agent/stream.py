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

"""A TCP stream of a steady pace, and what a switch does to it."""

import bisect
import socket
import threading
import time
import typing

from tests.simulation.fabric import network

_CHUNK = 16 * 1024
_PORT = 9100


class Stream:
    """From the guest to its peer until it is stopped.

    :param rate: bytes a second
    """

    def __init__(self, net: network.Network, port: network.Port,
                 rate: float) -> None:
        self._rate = rate
        self._stop = threading.Event()
        self._arrivals: list[tuple[float, int]] = []
        self.reset: OSError | None = None
        listening = net.peer.inside(socket.socket)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((str(port.peers[0].ip), _PORT))
        listening.listen()
        self._sending = net.guest.namespace.inside(socket.socket)
        self._sending.connect(listening.getsockname())
        self._receiving, _ = listening.accept()
        listening.close()
        self._threads = [threading.Thread(target=work)
                         for work in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        data = bytes(_CHUNK)
        due = time.monotonic()
        try:
            while not self._stop.wait(max(0.0, due - time.monotonic())):
                self._sending.sendall(data)
                due += _CHUNK / self._rate
        except OSError as error:
            self.reset = error
        self._sending.close()

    def _receive(self) -> None:
        try:
            while data := self._receiving.recv(_CHUNK):
                self._arrivals.append((time.monotonic(), len(data)))
        except OSError as error:
            self.reset = error
        self._receiving.close()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def dip(self, moments: typing.Iterable[float]) -> float:
        """The share of the goodput that the worst second around one lacks."""
        times = [at for at, _ in self._arrivals]
        total = sum(size for _, size in self._arrivals)
        mean = total / (times[-1] - times[0])
        worst = 0.0
        for moment in moments:
            first = bisect.bisect_left(times, moment - 0.5)
            last = bisect.bisect_left(times, moment + 0.5)
            its = sum(size for _, size in self._arrivals[first:last])
            worst = max(worst, 1 - its / mean)
        return worst
