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

"""The QEMU guest agent of a simulated domain, and what it runs.

The protocol is that of QEMU's qga/qapi-schema.json; the errors around it are
those of libvirt's src/qemu/qemu_agent.c. :func:`libvirt_qemu` is what stands
in for the Python module of that name.
"""

import base64
from collections.abc import Callable
from collections.abc import Sequence
import itertools
import subprocess
import threading
import types
import typing

from nova.tests.fixtures import libvirt as fakelibvirt
from oslo_serialization import jsonutils

from tests.simulation import errors

CHANNEL = 'org.qemu.guest_agent.0'

VERSION = '7.2.0'


class Program(typing.Protocol):
    """A program that was started in a guest."""

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""

    def output(self) -> tuple[bytes, bytes]:
        """What it wrote to its standard output and standard error."""


#: Starts a program: (argv, standard input) -> Program.
#: Raises FileNotFoundError where there is no such program.
Start = Callable[[Sequence[str], bytes], Program]


class QemuGuestAgent:
    """Answers the commands that libvirt passes on to it.

    :param start: how a program is started in this guest
    """

    def __init__(self, start: Start) -> None:
        self._start = start
        self._programs: dict[int, Program] = {}
        self._pids = itertools.count(1000)
        self._commands: dict[str, Callable[..., typing.Any]] = {
            'guest-ping': lambda: {},
            'guest-sync': lambda id: id,
            'guest-info': self._info,
            'guest-exec': self._exec,
            'guest-exec-status': self._status,
        }

    def command(self, text: str) -> str:
        """One request and its answer, both JSON as on the wire."""
        request = jsonutils.loads(text)
        name = request['execute']
        if name not in self._commands:
            raise errors.internal(
                f"unable to execute QEMU agent command '{name}': The command "
                f'{name} has not been found')
        arguments = {key.replace('-', '_'): value for key, value
                     in request.get('arguments', {}).items()}
        return jsonutils.dumps({'return': self._commands[name](**arguments)})

    def _info(self) -> dict[str, typing.Any]:
        return {'version': VERSION, 'supported_commands': [
            {'name': name, 'enabled': True, 'success-response': True}
            for name in self._commands]}

    def _exec(self, path: str, arg: Sequence[str] = (),
              input_data: str = '', capture_output: bool = False,
              env: Sequence[str] = ()) -> dict[str, int]:
        try:
            program = self._start([path, *arg],
                                  base64.b64decode(input_data))
        except FileNotFoundError as error:
            raise errors.internal(
                "unable to execute QEMU agent command 'guest-exec': Guest "
                "agent command failed, error was 'Failed to execute child "
                f'process “{path}” (No such file or directory)\''
            ) from error
        pid = next(self._pids)
        self._programs[pid] = program
        return {'pid': pid}

    def _status(self, pid: int) -> dict[str, typing.Any]:
        program = self._programs.get(pid)
        if program is None:
            raise errors.internal(
                "unable to execute QEMU agent command 'guest-exec-status': "
                "Invalid parameter 'pid'")
        exit_code = program.poll()
        if exit_code is None:
            return {'exited': False}
        # The schema says that a status may be read once after the end.
        del self._programs[pid]
        out, err = program.output()
        answer: dict[str, typing.Any] = {'exited': True,
                                         'exitcode': exit_code}
        if out:
            answer['out-data'] = base64.b64encode(out).decode('ascii')
        if err:
            answer['err-data'] = base64.b64encode(err).decode('ascii')
        return answer


class Ended:
    """A program that has ended with what it printed."""

    def __init__(self, exit_code: int, out: bytes, err: bytes = b'') -> None:
        self._exit_code = exit_code
        self._output = out, err

    def poll(self) -> int | None:
        return self._exit_code

    def output(self) -> tuple[bytes, bytes]:
        return self._output


class Hanging:
    """A program that never ends."""

    def poll(self) -> int | None:
        return None

    def output(self) -> tuple[bytes, bytes]:
        return b'', b''


class Process:
    """A real process; its pipes are emptied while it runs."""

    def __init__(self, argv: Sequence[str], given: bytes) -> None:
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        self._output = b'', b''
        self._reader = threading.Thread(
            target=self._communicate, args=(given,), daemon=True)
        self._reader.start()

    def _communicate(self, given: bytes) -> None:
        self._output = self._process.communicate(given)

    def poll(self) -> int | None:
        if self._reader.is_alive():
            return None
        return self._process.returncode

    def wait(self) -> int:
        """Until it has ended; its exit code."""
        self._reader.join()
        return self._process.returncode

    def output(self) -> tuple[bytes, bytes]:
        return self._output


def libvirt_qemu() -> types.ModuleType:
    """The module through which libvirt-python reaches guest agents."""
    def qemu_agent_command(domain: typing.Any, command: str, timeout: int,
                           flags: int) -> str:
        if CHANNEL not in domain.XMLDesc(0):
            raise errors.error(
                fakelibvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
                'argument unsupported: QEMU guest agent is not configured')
        agent = domain._connection.world.guest_agents.get(
            domain.UUIDString())
        if agent is None:
            raise errors.error(
                fakelibvirt.VIR_ERR_AGENT_UNRESPONSIVE,
                'Guest agent is not responding: QEMU guest agent is not '
                'connected')
        return agent.command(command)

    module = types.ModuleType('libvirt_qemu')
    module.qemuAgentCommand = qemu_agent_command  # type: ignore[attr-defined]
    return module
