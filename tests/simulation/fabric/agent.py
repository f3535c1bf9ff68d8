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

"""The real ``vf-failover-agent`` in the namespace of a guest."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import typing

from tests.simulation.fabric import namespace
from tests.simulation import guest_agent

# As an image has it, but for the driver: the standby is a TAP device here.
PROGRAM = (sys.executable, '-m', 'nova_vf_failover.guest')
_STANDBY_DRIVER = 'tun'


class Agent:
    """The service of one guest, and its commands.

    :param program: how the agent is started, if not from the package
    :ivar options: of the service
    """

    def __init__(self, guest: namespace.Namespace,
                 program: Sequence[str] = PROGRAM) -> None:
        self._guest = guest
        self._program = program
        self.options: tuple[str, ...] = ()
        self._folder = tempfile.TemporaryDirectory()
        self._socket = os.path.join(self._folder.name, 'socket')
        self.log = os.path.join(self._folder.name, 'log')
        self.snapshot = os.path.join(self._folder.name, 'snapshot.json')
        self._service: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the service and wait until it is ready.

        :raises RuntimeError: it is not
        """
        path = os.path.join(self._folder.name, 'notify')
        with contextlib.ExitStack() as stack:
            notified = stack.enter_context(
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            notified.bind(path)
            stack.callback(os.unlink, path)
            log = stack.enter_context(open(self.log, 'ab'))
            self._service = subprocess.Popen(
                # It has nothing that would end with who has started it.
                ['setpriv', '--pdeathsig', 'KILL', *self._argv(
                    'run', '--state-dir', self._folder.name,
                    '--standby-driver', _STANDBY_DRIVER, *self.options)],
                env={**os.environ, 'NOTIFY_SOCKET': path}, stderr=log)
            notified.settimeout(30)
            try:
                notified.recv(64)
            except TimeoutError as error:
                with open(self.log) as written:
                    raise RuntimeError('The agent does not start: '
                                       f'{written.read()}') from error

    @property
    def _running(self) -> 'subprocess.Popen[bytes]':
        assert self._service, 'It was not started.'
        return self._service

    def memory(self) -> float:
        """The most memory that the service has had, in MB (10^6 bytes)."""
        with open(f'/proc/{self._running.pid}/status') as status:
            line = next(line for line in status if line.startswith('VmHWM'))
        return int(line.split()[1]) * 1024 / 1e6

    def kill(self) -> None:
        """End the service as a crash would."""
        self._running.kill()
        self._running.wait()

    @contextlib.contextmanager
    def held_up(self) -> Iterator[None]:
        """A time in which others come first."""
        self._running.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._running.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the service, if it is there, as an init would."""
        if self._service and self._service.poll() is None:
            self._service.terminate()
            try:
                self._service.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        self._folder.cleanup()

    def command(self, *arguments: str, given: str = '',
                ) -> tuple[int, dict[str, typing.Any]]:
        """Run a command to its end.

        :returns: its exit code and its report
        """
        done = subprocess.run(self._argv(*arguments), input=given,
                              stdout=subprocess.PIPE, text=True)
        return done.returncode, json.loads(done.stdout)

    def ask(self, request: dict[str, typing.Any]) -> dict[str, typing.Any]:
        """Say to the service what a command says, and nothing is started.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(60)
            sock.connect(self._socket)
            sock.sendall(json.dumps(request).encode() + b'\n')
            with sock.makefile() as answer:
                return json.loads(answer.readline())

    def properties(self, name: str) -> str:
        """What udev is told of a NIC."""
        return subprocess.run(self._argv(
            'udev', name, '--state-dir', self._folder.name,
            '--standby-driver', _STANDBY_DRIVER), check=True,
            stdout=subprocess.PIPE, text=True).stdout

    def text(self, *arguments: str) -> str:
        """What a command prints."""
        return subprocess.run(self._argv(*arguments), stdout=subprocess.PIPE,
                              text=True).stdout

    def run(self, argv: Sequence[str], given: bytes) -> guest_agent.Program:
        """What the QEMU guest agent is told to run.

        :raises FileNotFoundError: the image has no such program
        """
        if argv[0] != 'vf-failover-agent':
            raise FileNotFoundError(argv[0])
        return guest_agent.Process(self._argv(*argv[1:]), given)

    def _argv(self, *arguments: str) -> list[str]:
        return self._guest.command(*self._program, '--socket', self._socket,
                                   *arguments)
