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

"""The contract of the simulation, held by libvirt and QEMU themselves.

libvirt's QEMU driver runs inside this process (``qemu:///embed``), in a folder
of its own: it meets no libvirt that may run on this machine. Where the
environment names another one, by its URI, that is tested. The guests have no
operating system.
"""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import queue
import select
import shutil
import tempfile
import threading
import typing
import unittest

from oslotest import base

from tests.unit.simulation import contract

try:
    import libvirt
    import libvirt_qemu
except ImportError:
    libvirt = None

#: the variable of the environment with the URI of another libvirt
ELSEWHERE = 'OS_TEST_LIBVIRT'

# Nobody's daemons are asked, and QEMU runs as who runs the tests.
_QEMU_CONF = """
user = "root"
group = "root"
stdio_handler = "file"
namespaces = []
cgroup_controllers = []
"""


class Events:
    """libvirt's event loop, which takes one thread of a process."""

    def __init__(self) -> None:
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=self._run, daemon=True).start()

    @staticmethod
    def _run() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()


@unittest.skipUnless(libvirt, 'needs libvirt-python; run "tox -e libvirt"')
class LibvirtTestCase(contract.LibvirtContract, base.BaseTestCase):

    libvirt = libvirt

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        libvirt.registerErrorHandler(lambda context, error: None, None)
        Events()
        cls.connection = libvirt.open(
            os.environ.get(ELSEWHERE) or cls._make_own())
        cls.addClassCleanup(cls.connection.close)

    @classmethod
    def _make_own(cls) -> str:
        # Its sockets' paths must be short.
        root = tempfile.mkdtemp(prefix='vff', dir='/tmp')
        cls.addClassCleanup(shutil.rmtree, root, ignore_errors=True)
        folder = pathlib.Path(root, 'etc')
        folder.mkdir()
        (folder / 'qemu.conf').write_text(_QEMU_CONF)
        return f'qemu:///embed?root={root}'

    def setUp(self) -> None:
        super().setUp()
        self.removed: queue.Queue[str] = queue.Queue()
        identity = self.connection.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
            lambda connection, domain, alias, opaque:
            self.removed.put(alias), None)
        self.addCleanup(self.connection.domainEventDeregisterAny, identity)

    def define(self, xml: str) -> typing.Any:
        domain = self.connection.defineXML(xml)
        self.addCleanup(domain.undefine)
        self.addCleanup(lambda: domain.isActive() and domain.destroy())
        return domain

    def look_up(self) -> typing.Any:
        return self.connection.lookupByUUIDString(contract.UUID)

    def let_go(self, domain: typing.Any) -> None:
        # What a guest without an operating system does not answer, QEMU
        # does when the guest is reset (hw/pci/pcie.c).
        domain.reset(0)

    def await_removal(self) -> str:
        return self.removed.get(timeout=30)

    @contextlib.contextmanager
    def job(self, domain: typing.Any) -> Iterator[None]:
        """The guest is saved into a pipe that nobody empties."""
        if ELSEWHERE in os.environ:
            self.skipTest('the pipe has to be on the host of libvirt')
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        pipe = os.path.join(folder, 'pipe')
        os.mkfifo(pipe)
        end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        saving = threading.Thread(target=domain.save, args=(pipe,))
        saving.start()
        try:
            # There is something to read once the job has begun.
            select.select([end], [], [], 30)
            yield
        finally:
            while saving.is_alive():
                select.select([end], [], [], 0.1)
                with contextlib.suppress(BlockingIOError):
                    os.read(end, 1 << 20)
            saving.join()
            os.close(end)

    def ask_guest(self, domain: typing.Any, command: str) -> str:
        return libvirt_qemu.qemuAgentCommand(domain, command, 5, 0)
