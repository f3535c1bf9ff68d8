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

"""One virtual machine in QEMU, emulated in software.

A NIC is plugged into a tap that exists before: a root port of PCI Express for
each, so that all of them can come and go while the guest runs.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import os
import shutil
import subprocess
import tempfile
import time

from tests.lab import conversation
from tests.lab import emulator
from tests.lab import errors
from tests.lab import image as images
from tests.lab import seed as seeds

PROGRAM = 'qemu-system-x86_64'
ROOT_PORTS = 5

# What emulated processors are spared, see the kernel's
# Documentation/admin-guide/kernel-parameters.txt.
_COMMAND_LINE = (
    'root=/dev/vda rw console=ttyS0 quiet mitigations=off nokaslr no5lvl '
    'nmi_watchdog=0 systemd.show_status=no audit=0')
# One without the wide registers that C libraries use where they find them: to
# emulate those takes a third of the time of a guest's start.
_PROCESSOR = 'qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+rdrand'
_UNPLUG = 60.0


@dataclasses.dataclass(frozen=True)
class Nic:
    """A NIC that a machine may have.

    :ivar name: of the device in QEMU
    :ivar tap: the file descriptor of the tap that it is plugged into
    :ivar model: of the device in QEMU
    :ivar properties: more of it, as QEMU names them
    """

    name: str
    tap: int
    model: str
    mac: str
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict)


def check(megabytes: int, own: bool = False) -> None:
    """:raises errors.LabError: no machine can run here, and why"""
    if own:
        emulator.check()
    elif not shutil.which(PROGRAM):
        raise errors.LabError(
            f'{PROGRAM} is missing, which runs the virtual machines.')
    with open('/proc/meminfo') as lines:
        free = next(int(line.split()[1]) // 1024 for line in lines
                    if line.startswith('MemAvailable'))
    if free < megabytes + 512:
        raise errors.LabError(
            f'{free} MiB of memory are free; a virtual machine of '
            f'{megabytes} MiB needs {megabytes + 512}.')


class Machine:
    """A virtual machine; its disk forgets everything with it.

    :param nics: all that it may ever have
    :param present: the root port, from 1, of each NIC that it boots with
    :param options: more of QEMU's
    :param own: whether to run the image's own QEMU
    """

    def __init__(self, image: images.Image, seed: seeds.Seed,
                 nics: Sequence[Nic], present: dict[str, int],
                 words: Sequence[str] = (), megabytes: int = 768,
                 processors: int = 1, options: Sequence[str] = (),
                 processor: str = _PROCESSOR, own: bool = False) -> None:
        check(megabytes, own)
        self._processor = processor
        self._own = own
        self._nics = {nic.name: nic for nic in nics}
        self._folder = tempfile.TemporaryDirectory(prefix='lab-')
        self.console = self._path('console')
        seed.write(image.initrd, self._path('initrd'))
        self._process = self._start(image, present, words, megabytes,
                                    processors, options)
        try:
            self._await_sockets()
            self.qmp = conversation.Qmp(self._path('qmp'))
            self.guest = conversation.GuestAgent(self._path('qga'))
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """Power off, at once."""
        self.qmp.close()
        self.guest.close()
        self._end()

    def await_guest(self, timeout: float = 300.0) -> None:
        """:raises TimeoutError: the guest does not come up"""
        try:
            self.guest.await_guest(timeout, self._dead)
        except TimeoutError as error:
            raise TimeoutError(
                f'{error}. The end of its console:\n{self.said()}')

    def attach(self, name: str, port: int) -> None:
        """Plug a NIC into a root port, from 1."""
        self.qmp.forget()
        self.qmp.execute('device_add', **self._device(name, port))

    def detach(self, name: str) -> None:
        """Ask the guest to give a NIC back, and wait until it has.

        :raises TimeoutError: it has not
        """
        self.qmp.forget()
        self.qmp.execute('device_del', id=name)
        self.qmp.wait('DEVICE_DELETED', _UNPLUG, device=name)

    def reset(self) -> None:
        """Start the guest anew, without a word of warning to it."""
        self.guest.close()
        self.qmp.execute('system_reset')

    def said(self, characters: int = 3000) -> str:
        """The end of what the guest has printed on its console."""
        with contextlib.suppress(FileNotFoundError):
            with open(self.console, errors='replace') as file:
                return file.read()[-characters:]
        return ''

    def _start(self, image: images.Image, present: dict[str, int],
               words: Sequence[str], megabytes: int, processors: int,
               options: Sequence[str]) -> subprocess.Popen[bytes]:
        program, environment = self._program(image)
        argv = [
            *program, '-machine', 'q35', '-accel', 'tcg,thread=multi',
            '-cpu', self._processor,
            # With a single processor Linux 6.12 may panic while it starts,
            # in QEMU 7.2; with room for another one it does not.
            '-smp', f'cpus={processors},maxcpus={processors + 1}',
            '-m', str(megabytes), '-nodefaults', '-display', 'none',
            '-kernel', image.kernel, '-initrd', self._path('initrd'),
            '-append', ' '.join([_COMMAND_LINE, *words]),
            '-serial', f'file:{self.console}',
            '-qmp', f'unix:{self._path("qmp")},server=on,wait=off',
            # The image itself is never written to.
            '-drive', f'if=none,id=disk,format=raw,snapshot=on,cache=unsafe,'
                      f'file={image.disk}',
            '-device', 'virtio-blk-pci,drive=disk',
            '-device', 'virtio-rng-pci',
            '-device', 'virtio-serial-pci',
            '-chardev', f'socket,id=qga,path={self._path("qga")},'
                        'server=on,wait=off',
            '-device', 'virtserialport,chardev=qga,'
                       'name=org.qemu.guest_agent.0']
        for port in range(1, ROOT_PORTS + 1):
            argv += ['-device', f'pcie-root-port,id=port{port},'
                                f'chassis={port},addr={0x10 + port:x}']
        for nic in self._nics.values():
            argv += ['-netdev', f'tap,id={nic.name},fd={nic.tap}']
        for name, port in present.items():
            argv += ['-device', ','.join(
                [self._device(name, port)['driver']] + [
                    f'{key}={value}' for key, value in self._device(
                        name, port).items() if key != 'driver'])]
        argv += options
        with open(self._path('log'), 'wb') as log:
            return subprocess.Popen(
                # It has nothing that would end with who has started it.
                ['setpriv', '--pdeathsig', 'KILL', *argv],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[nic.tap for nic in self._nics.values()],
                env={**os.environ, **environment,
                     'TMPDIR': self._folder.name})

    def _program(self, image: images.Image,
                 ) -> tuple[Sequence[str], Mapping[str, str]]:
        if not self._own:
            return (PROGRAM,), {}
        tree = self._path('tree')
        os.mkdir(tree)
        return emulator.command(image, tree), emulator.environment(tree)

    def _device(self, name: str, port: int) -> dict[str, str]:
        nic = self._nics[name]
        return {'driver': nic.model, 'id': name, 'netdev': name,
                'mac': nic.mac, 'bus': f'port{port}', 'romfile': '',
                **nic.properties}

    def _await_sockets(self) -> None:
        until = time.monotonic() + 30
        while not os.path.exists(self._path('qga')) or not os.path.exists(
                self._path('qmp')):
            reason = self._dead()
            if reason or time.monotonic() > until:
                raise errors.LabError(reason or 'QEMU does not start.')
            time.sleep(0.02)

    def _dead(self) -> str | None:
        code = self._process.poll()
        if code is None:
            return None
        with open(self._path('log'), errors='replace') as log:
            return f'QEMU has ended with {code}: {log.read()[-2000:]}'

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def _path(self, name: str) -> str:
        return os.path.join(self._folder.name, name)
