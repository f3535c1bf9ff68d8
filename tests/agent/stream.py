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

"""A TCP stream of a steady pace from the guest to its peer.

A program of its own, so that nothing but the network delays it. It says that
it is ready and ends with the end of its standard input; then it writes, as
JSON, when how many bytes arrived (seconds of CLOCK_MONOTONIC), and what has
broken the connection.
"""

import bisect
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
import typing

from pyroute2 import netns

_CHUNK = 16 * 1024
_PORT = 9100


class Stream:
    """Runs the program.

    :param guest: name of a network namespace
    :param peer: another one
    :param address: of the peer
    :param rate: bytes a second
    """

    def __init__(self, guest: str, peer: str, address: str,
                 rate: float) -> None:
        # By its path: the package would bring Nova along.
        self._process = subprocess.Popen(
            [sys.executable, __file__, guest, peer, address, str(rate)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not self._process.stdout.readline():
            raise RuntimeError('the stream cannot start')
        self.reset = ''
        self._arrivals: list[tuple[float, int]] = []

    def stop(self) -> None:
        said, _ = self._process.communicate()
        document = json.loads(said)
        self.reset = document['reset']
        self._arrivals = document['arrivals']

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

    def stall(self, moments: typing.Iterable[float]) -> float:
        """The longest pause of what arrives, of those within half a second
        of a moment.

        TCP makes up for one, so that the goodput of a second hides it.
        """
        times = [at for at, _ in self._arrivals]
        longest = 0.0
        for moment in moments:
            first = bisect.bisect_left(times, moment - 0.5)
            last = bisect.bisect_left(times, moment + 0.5)
            # What is at an edge has begun, or ends, outside.
            near = times[max(0, first - 1):last + 1]
            longest = max(longest, *(
                later - sooner for sooner, later
                in itertools.pairwise(near)), 0.0)
        return longest


def _connect(guest: str, peer: str,
             address: str) -> tuple[socket.socket, socket.socket]:
    netns.setns(peer)
    with socket.create_server((address, _PORT)) as listening:
        netns.setns(guest)
        sending = socket.create_connection((address, _PORT))
        receiving, _ = listening.accept()
    return sending, receiving


def _send(sock: socket.socket, rate: float, over: threading.Event,
          broken: list[str]) -> None:
    due = time.monotonic()
    try:
        while not over.wait(max(0.0, due - time.monotonic())):
            sock.sendall(bytes(_CHUNK))
            due += _CHUNK / rate
    except OSError as error:
        broken.append(str(error))
    sock.close()


def main() -> None:
    guest, peer, address, rate = sys.argv[1:]
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))
    sending, receiving = _connect(guest, peer, address)
    over = threading.Event()
    broken: list[str] = []
    arrivals = []
    threading.Thread(target=_send, args=(
        sending, float(rate), over, broken)).start()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set())).start()
    print('ready', flush=True)
    try:
        while data := receiving.recv(_CHUNK):
            arrivals.append((time.monotonic(), len(data)))
    except OSError as error:
        broken.append(str(error))
    json.dump({'reset': ''.join(broken), 'arrivals': arrivals}, sys.stdout)


if __name__ == '__main__':
    main()
