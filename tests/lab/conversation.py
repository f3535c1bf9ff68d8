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

"""The two conversations with a virtual machine: QEMU's, and its guest's.

Both are JSON over a socket, an object a line: QMP (docs/interop/qmp-spec) and
the protocol of the QEMU guest agent (qga/qapi-schema.json).
"""

import base64
from collections.abc import Callable
import contextlib
import dataclasses
import itertools
import json
import socket
import threading
import time
import typing

Arguments = dict[str, typing.Any]

_LONGEST_PAUSE = 0.25


class Refusal(Exception):
    """The other side said that it cannot do what it was asked."""


class Qmp:
    """QEMU's monitor. Events are kept until somebody waits for them.

    :param path: of its unix socket
    """

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        self._lines = self._socket.makefile('r')
        self._heard = threading.Condition()
        self._answers: list[Arguments] = []
        self._events: list[Arguments] = []
        self._over = False
        threading.Thread(target=self._listen, daemon=True).start()
        self.execute('qmp_capabilities')

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def execute(self, command: str, **arguments: typing.Any) -> typing.Any:
        """:raises Refusal: QEMU does not do it"""
        self._socket.sendall(json.dumps(
            {'execute': command, 'arguments': arguments}).encode() + b'\n')
        with self._heard:
            if not self._heard.wait_for(
                    lambda: self._answers or self._over, 60) or (
                        not self._answers):
                raise Refusal(f'QEMU does not answer {command}')
            answer = self._answers.pop(0)
        if 'error' in answer:
            raise Refusal(f'{command}: {answer["error"]["desc"]}')
        return answer['return']

    def forget(self) -> None:
        """Wait for no event that has come until now."""
        with self._heard:
            self._events.clear()

    def wait(self, event: str, timeout: float,
             **data: typing.Any) -> Arguments:
        """The next event of this name with these data.

        :raises TimeoutError: it does not come
        """
        def matches(heard: Arguments) -> bool:
            return heard['event'] == event and (
                data.items() <= heard.get('data', {}).items())

        with self._heard:
            if not self._heard.wait_for(
                    lambda: any(map(matches, self._events)), timeout):
                raise TimeoutError(
                    f'QEMU told of no {event} {data} for {timeout} s')
            found = next(filter(matches, self._events))
            self._events.remove(found)
            return found

    def _listen(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in self._lines:
                said = json.loads(line)
                with self._heard:
                    if 'event' in said:
                        self._events.append(said)
                    elif 'QMP' not in said:
                        self._answers.append(said)
                    self._heard.notify_all()
        with self._heard:
            self._over = True
            self._heard.notify_all()


@dataclasses.dataclass(frozen=True)
class Ended:
    """A program that has run in a guest."""

    code: int
    output: str
    errors: str


class GuestAgent:
    """Runs programs in a guest.

    :param path: of the unix socket of its virtio-serial port
    """

    _numbers = itertools.count(1000)

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def close(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None

    def await_guest(self, timeout: float,
                    given_up: Callable[[], str | None]) -> None:
        """Until the guest's side answers, anew after each start of it.

        :param given_up: says why it never will
        :raises TimeoutError: it does not
        """
        until = time.monotonic() + timeout
        while True:
            try:
                self._synchronise(2.0)
                return
            except (OSError, ValueError):
                # Nobody reads on the other side yet.
                reason = given_up()
                if reason or time.monotonic() > until:
                    raise TimeoutError(
                        reason or 'The guest\'s QEMU guest agent does not '
                        f'answer for {timeout} s')

    def start(self, *argv: str, given: str = '') -> int:
        """Start a program; its process identifier there."""
        return self._ask('guest-exec', {
            'path': argv[0], 'arg': list(argv[1:]), 'capture-output': True,
            'input-data': base64.b64encode(given.encode()).decode()})['pid']

    def end(self, pid: int, timeout: float = 120.0) -> Ended:
        """Wait for the end of a program, of which there is no event.

        :raises TimeoutError: it does not end
        """
        until = time.monotonic() + timeout
        pause = 0.01
        while time.monotonic() < until:
            status = self._ask('guest-exec-status', {'pid': pid})
            if status['exited']:
                output, errors = (base64.b64decode(status.get(
                    key, '')).decode(errors='replace')
                    for key in ('out-data', 'err-data'))
                return Ended(status.get('exitcode', -1), output, errors)
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)
        raise TimeoutError(f'A program in the guest runs for {timeout} s')

    def run(self, *argv: str, given: str = '',
            timeout: float = 120.0) -> Ended:
        return self.end(self.start(*argv, given=given), timeout)

    def output(self, *argv: str) -> str:
        """What a program prints.

        :raises Refusal: it failed
        """
        ended = self.run(*argv)
        if ended.code:
            raise Refusal(f'{" ".join(argv)} in the guest: exit code '
                          f'{ended.code}: {ended.output}{ended.errors}')
        return ended.output

    def _ask(self, command: str, arguments: Arguments) -> typing.Any:
        answer = self._exchange(command, arguments, 60.0)
        while isinstance(answer.get('return'), int):
            # To a guest-sync that was not waited for any longer.
            answer = self._receive()
        if 'error' in answer:
            raise Refusal(f'{command}: {answer["error"]["desc"]}')
        return answer['return']

    def _synchronise(self, timeout: float) -> None:
        """Skip what an earlier start of the guest has left in the port."""
        number = next(self._numbers)
        self.close()
        answer = self._exchange('guest-sync', {'id': number}, timeout)
        if answer.get('return') != number:
            raise ValueError(answer)

    def _exchange(self, command: str, arguments: Arguments,
                  timeout: float) -> Arguments:
        if not self._socket:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.connect(self._path)
        self._socket.settimeout(timeout)
        self._socket.sendall(json.dumps(
            {'execute': command, 'arguments': arguments}).encode() + b'\n')
        return self._receive()

    def _receive(self) -> Arguments:
        assert self._socket
        data = b''
        while not data.endswith(b'\n'):
            part = self._socket.recv(65536)
            if not part:
                raise ConnectionError('QEMU has closed the port')
            data += part
        return json.loads(data.splitlines()[-1].strip(b'\xff'))
