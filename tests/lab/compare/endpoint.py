#!/usr/bin/python3
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


"""One end of the traffic: a program for the guest, and one for its peer.

Both send numbered datagrams at a fixed rate and note what comes in; the peer
sends a stream as well, of which it notes when how much was acknowledged. All
times that count are the peer's: the guest's clock stands still with it.
Both have the number of their session, and note nothing of another one: what
was lost with a host's QEMU waits in its tap for the next QEMU there.

The guest's end stops with SIGTERM and prints what it has. The peer's end obeys
lines on its standard input: ``when`` (when the last datagram and the last
acknowledgement have come), ``hush`` (send nothing more) and ``end``.
"""

import argparse
import array
import base64
import contextlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time

INTERVAL = 0.01
UDP_PORT, TCP_PORT = 9000, 9001
# Seconds during which packets may still arrive after the last was sent.
_DRAIN = 0.5
# The number of the session, and that of the datagram in it.
_HEADER = struct.Struct('!QQ')
# Before all else in the guest: its agent (20), and the kernel's interrupt
# threads (50; kernel/irq/manage.c, ``irq_thread``), one of which probes what
# is plugged in (drivers/pci/hotplug/pciehp_hpc.c, ``pciehp_ist``). The network
# is what is measured, and not who waits for the one processor there.
_PRIORITY = 60
_PADDING = b'\0' * 48
# Of the stream, every second time.
_CHUNK = b'\0' * 1000
_BUFFER = 8 * 1024 * 1024
# include/uapi/asm-generic/socket.h: beyond the system's limit, as root may.
_SO_RCVBUFFORCE = 33
# In struct tcp_info, include/uapi/linux/tcp.h.
_TOTAL_RETRANS, _BYTES_ACKED = 100, 120


class End:
    """What both ends do."""

    def __init__(self, own: str, other: str, interval: float,
                 session: int) -> None:
        self._interval = interval
        self._session = session
        self.sent = array.array('d')
        #: number and time of each that came, in turn
        self.received = array.array('d')
        self.sending = True
        self._other = (other, UDP_PORT)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._udp.bind((own, UDP_PORT))
        self._udp.setblocking(False)
        self._inputs: dict = {self._udp: self._receive}
        self._over = False

    def run(self) -> None:
        due = time.monotonic()
        while not self._over:
            for ready in select.select(list(self._inputs), [], [], max(
                    0.0, due - time.monotonic()))[0]:
                self._inputs[ready]()
            self._look()
            while due <= time.monotonic():
                if self.sending:
                    self._send()
                due += self._interval

    def _send(self) -> None:
        # What cannot be sent is lost like what is not delivered.
        with contextlib.suppress(OSError):
            self._udp.sendto(
                _HEADER.pack(self._session, len(self.sent)) + _PADDING,
                self._other)
        self.sent.append(time.monotonic())

    def _receive(self) -> None:
        # OSError: all is read, or the other end could not be reached (ICMP).
        with contextlib.suppress(OSError):
            while True:
                session, number = _HEADER.unpack_from(self._udp.recv(128))
                if session == self._session:
                    self.received.append(number)
                    self.received.append(time.monotonic())

    def _look(self) -> None:
        """Once each turn."""


class Guest(End):
    """The guest's end; the stream ends here."""

    def __init__(self, own: str, other: str, interval: float,
                 session: int) -> None:
        super().__init__(own, other, interval, session)
        self._listening = socket.create_server((own, TCP_PORT))
        self._inputs[self._listening] = self._accept
        signal.signal(signal.SIGTERM, self._stop)
        self._until = float('inf')

    def _stop(self, *_unused: object) -> None:
        self.sending = False
        self._until = time.monotonic() + _DRAIN

    def _look(self) -> None:
        self._over = time.monotonic() > self._until

    def _accept(self) -> None:
        stream, _ = self._listening.accept()
        stream.setblocking(False)

        def read() -> None:
            with contextlib.suppress(OSError):
                if not stream.recv(65536):
                    del self._inputs[stream]

        self._inputs[stream] = read

    def tell(self) -> None:
        numbers = array.array('I', map(int, self.received[::2]))
        json.dump({'sent': self.sent.tolist(), 'received': base64.b64encode(
            numbers.tobytes()).decode()}, sys.stdout)


class Peer(End):
    """The peer's end; the stream begins here."""

    def __init__(self, own: str, other: str, interval: float,
                 session: int) -> None:
        super().__init__(own, other, interval, session)
        #: time, bytes acknowledged, segments sent again; at each change
        self.stream = array.array('d')
        self._tcp = socket.create_connection((other, TCP_PORT), 60)
        self._tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tcp.setblocking(False)
        self._inputs[sys.stdin] = self._obey

    def _obey(self) -> None:
        # Nothing comes with the death of who gives the orders.
        for line in os.read(0, 4096).decode().split() or ['end']:
            if line == 'when':
                print(json.dumps([self.received[-1] if self.received else 0.0,
                                  self.stream[-3] if self.stream else 0.0]),
                      flush=True)
            elif line == 'hush':
                self.sending = False
            elif line == 'end':
                self._over = True

    def _send(self) -> None:
        super()._send()
        if len(self.sent) % 2:
            with contextlib.suppress(BlockingIOError):
                self._tcp.send(_CHUNK)

    def _look(self) -> None:
        info = self._tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        again, = struct.unpack_from('=I', info, _TOTAL_RETRANS)
        acknowledged, = struct.unpack_from('=Q', info, _BYTES_ACKED)
        if tuple(self.stream[-2:]) != (acknowledged, again):
            self.stream.extend([time.monotonic(), acknowledged, again])

    def tell(self) -> None:
        json.dump({'sent': self.sent.tolist(),
                   'received': self.received.tolist(),
                   'stream': self.stream.tolist()}, sys.stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('role', choices=('guest', 'peer'))
    parser.add_argument('own')
    parser.add_argument('other')
    parser.add_argument('--interval', type=float, default=INTERVAL)
    parser.add_argument('--session', type=int, required=True)
    arguments = parser.parse_args()
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    made = (Guest if arguments.role == 'guest' else Peer)(
        arguments.own, arguments.other, arguments.interval,
        arguments.session)
    if arguments.role == 'peer':
        print('ready', flush=True)
    made.run()
    made.tell()


if __name__ == '__main__':
    main()
