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

"""Sends numbered packets to a peer at a fixed rate, and notes what comes in.

A program of its own, in the namespace of a guest or of its peer. It says that
it is ready, and begins with the first line of its standard input. With the
second one it sends no more, and says so; it goes on receiving until the end of
the input. Then it writes into a file: how many packets it sent, when it sent
each, and the number and the time of each that it received. Times are seconds
of CLOCK_MONOTONIC, which all namespaces of a machine share.
"""

import argparse
import array
import contextlib
import errno
import os
import select
import socket
import struct
import sys
import time
import typing

_NUMBER = struct.Struct('!Q')
# Seconds during which packets may still arrive after the end of the input.
_DRAIN = 0.5
# A receiver that is kept from running finds everything that came meanwhile.
_BUFFER = 8 * 1024 * 1024
# include/uapi/asm-generic/socket.h: beyond the system's limit, as root may.
_SO_RCVBUFFORCE = 33


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('own')
    parser.add_argument('peer')
    parser.add_argument('port', type=int)
    parser.add_argument('rate', type=float, help='packets a second')
    parser.add_argument('log')
    arguments = parser.parse_args()
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))
    family = socket.AF_INET6 if ':' in arguments.own else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        sock.bind((arguments.own, arguments.port))
        sock.setblocking(False)
        print('ready', flush=True)
        # Without a buffer, which might hold a line back from select.
        orders = open(sys.stdin.fileno(), 'rb', buffering=0, closefd=False)
        orders.readline()
        sent, received = _exchange(
            sock, (arguments.peer, arguments.port), 1 / arguments.rate,
            orders)
    with open(arguments.log, 'wb') as log:
        array.array('d', [len(sent)]).tofile(log)
        sent.tofile(log)
        received.tofile(log)


def _exchange(sock: socket.socket, peer: tuple[str, int],
              interval: float, orders: typing.Any,
              ) -> tuple['array.array[float]', 'array.array[float]']:
    sent: array.array[float] = array.array('d')
    received: array.array[float] = array.array('d')
    padding = b'\0' * 56
    due = time.monotonic()
    until = float('inf')
    inputs = [sock, orders]
    while orders in inputs:
        readable, _, _ = select.select(
            inputs, [], [],
            max(0.0, due - time.monotonic()) if due < until else None)
        if sock in readable:
            _receive(sock, received)
        order = b''
        if orders in readable:
            until = min(until, time.monotonic())
            order = orders.readline()
            if not order:
                inputs.remove(orders)
        while due <= time.monotonic() and due < until:
            # What cannot be sent is lost like what is not delivered.
            with contextlib.suppress(OSError):
                sock.sendto(_NUMBER.pack(len(sent)) + padding, peer)
            sent.append(time.monotonic())
            due += interval
        if order:
            print('stopped', flush=True)
    until = time.monotonic() + _DRAIN
    while select.select([sock], [], [], max(
            0.0, until - time.monotonic()))[0]:
        _receive(sock, received)
    return sent, received


def _receive(sock: socket.socket,
             received: 'array.array[float]') -> None:
    while True:
        try:
            data = sock.recv(128)
        except BlockingIOError:
            return
        except OSError as error:
            # The peer could not be reached a moment ago (ICMP).
            if error.errno not in (errno.ECONNREFUSED, errno.EHOSTUNREACH,
                                   errno.ENETUNREACH):
                raise
            continue
        received.append(_NUMBER.unpack_from(data)[0])
        received.append(time.monotonic())


if __name__ == '__main__':
    main()
