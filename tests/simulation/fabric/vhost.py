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

"""Moves frames between a macvtap and a guest's TAP device, as vhost does.

A process of its own, so that nothing else delays frames. Its standard input
is a unix socket: ``pause``, ``announce``, and ``connect`` with the file
descriptor of a macvtap; each is answered with one byte when it is done.
"""

import array
import contextlib
import os
import selectors
import socket
import struct
import subprocess
import sys
import time

_LONGEST_FRAME = 65536
# QEMU's migration announcements: five, with growing pauses, seconds
# (qapi/net.json, AnnounceParameters).
_ANNOUNCE_PAUSES = (0.05, 0.15, 0.25, 0.35)

_ETH_P_RARP = 0x8035


class Vhost:
    """The parent's side: starts the process and tells it what to do.

    :param tap: file descriptor of the guest's TAP device
    """

    def __init__(self, tap: int, mac: str) -> None:
        self._socket, theirs = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            # By its path: the package would bring Nova along.
            [sys.executable, __file__, str(tap), mac],
            stdin=theirs.fileno(),
            pass_fds=[tap])
        theirs.close()

    def connect(self, macvtap: int) -> None:
        """Let frames pass between the guest and this macvtap."""
        rights = array.array('i', [macvtap])
        self._socket.sendmsg([b'connect'], [
            (socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        self._done()

    def pause(self) -> None:
        """Let no frame pass: the guest stands still."""
        self._tell(b'pause')

    def announce(self) -> None:
        """Tell the network where the guest is now."""
        self._tell(b'announce')

    def close(self) -> None:
        self._socket.close()
        self._process.wait()

    def _tell(self, command: bytes) -> None:
        self._socket.send(command)
        self._done()

    def _done(self) -> None:
        if not self._socket.recv(1):
            raise RuntimeError('the process that moves frames has ended')


class Relay:
    """The process."""

    def __init__(self, tap: int, mac: str) -> None:
        self._tap = tap
        self._mac = bytes(int(part, 16) for part in mac.split(':'))
        self._macvtap: int | None = None
        self._control = socket.socket(fileno=os.dup(0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._control, selectors.EVENT_READ)
        self._announcements: list[float] = []
        os.set_blocking(tap, False)

    def run(self) -> None:
        while True:
            now = time.monotonic()
            while self._announcements and self._announcements[0] <= now:
                del self._announcements[0]
                self._announce()
            timeout = (self._announcements[0] - now
                       if self._announcements else None)
            for key, _ in self._selector.select(timeout):
                if key.fileobj is self._control:
                    if not self._obey():
                        return
                elif key.fd == self._tap:
                    self._move(self._tap, self._macvtap)
                elif key.fd == self._macvtap:
                    self._move(self._macvtap, self._tap)

    def _obey(self) -> bool:
        command, ancillary, _, _ = self._control.recvmsg(
            32, socket.CMSG_SPACE(4))
        if not command:
            return False
        if command == b'connect':
            descriptors = array.array('i')
            descriptors.frombytes(ancillary[0][2])
            self._connect(descriptors[0])
        elif command == b'pause':
            self._disconnect()
        elif command == b'announce':
            now = time.monotonic()
            self._announce()
            self._announcements = [
                now + sum(_ANNOUNCE_PAUSES[:count + 1])
                for count in range(len(_ANNOUNCE_PAUSES))]
        self._control.send(b'.')
        return True

    def _connect(self, macvtap: int) -> None:
        self._disconnect()
        os.set_blocking(macvtap, False)
        self._macvtap = macvtap
        self._selector.register(macvtap, selectors.EVENT_READ)
        self._selector.register(self._tap, selectors.EVENT_READ)

    def _disconnect(self) -> None:
        if self._macvtap is not None:
            self._selector.unregister(self._macvtap)
            self._selector.unregister(self._tap)
            os.close(self._macvtap)
            self._macvtap = None

    def _move(self, source: int, target: int | None) -> None:
        for _ in range(64):
            try:
                frame = os.read(source, _LONGEST_FRAME)
            except BlockingIOError:
                return
            # A NIC that is down, or a queue that is full, loses it.
            with contextlib.suppress(OSError):
                if target is not None:
                    os.write(target, frame)

    def _announce(self) -> None:
        """RFC 903, as QEMU's net/announce.c sends it."""
        if self._macvtap is None:
            return
        frame = (b'\xff' * 6 + self._mac + struct.pack(
            '!HHHBBH', _ETH_P_RARP, 1, 0x0800, 6, 4, 3)
            + self._mac + bytes(4) + self._mac + bytes(4)).ljust(60, b'\0')
        with contextlib.suppress(OSError):
            os.write(self._macvtap, frame)


if __name__ == '__main__':
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    Relay(int(sys.argv[1]), sys.argv[2]).run()
