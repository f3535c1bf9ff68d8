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

"""A nested host: a virtual machine that is a compute host."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import configparser
import json
import os
import socket
import time
import typing

import nova_vf_failover
from tests.lab.compare import recipe as compare
from tests.lab import errors
from tests.lab import image as images
from tests.lab import machine as machines
from tests.lab import seed as seeds
from tests.lab.sriov import fabric
from tests.lab.sriov import recipe

MEGABYTES = 2560
#: the root port of each, and the name that it so has in the host
PORTS = {fabric.PF: 1, fabric.MANAGEMENT: 2}
PF = 'enp1s0'
_MANAGEMENT = 'enp2s0'
#: one for each guest that has a VF
VFS = 4
_BOOT = 1200.0
_COPY = 300.0
_MODELS = {fabric.PF: 'igb', fabric.MANAGEMENT: 'virtio-net-pci'}

# Everything that QEMU can emulate, virtualization of AMD included, but for
# what Linux' KVM then uses and QEMU does not do right or fast.
_PROCESSOR = 'max,la57=off,vgif=off,v-vmsave-vmload=off'
_WORDS = ('intel_iommu=on', 'iommu=nopt', 'kvm_amd.vgif=0',
          'kvm_amd.nested=0', 'tsc=reliable',
          # It panics where a busy machine keeps the timer waiting.
          'no_timer_check')
_SITE = 'usr/lib/python3/dist-packages'
_DESK = '/srv/desk.py'
#: the QEMU of guests: before all else that the host has to do. On hardware
#: their processors do not wait for what libvirt and the desk compute.
EMULATOR = '/srv/emulator'
_EMULATOR = ('#!/bin/sh\n'
             'exec nice -n -10 /usr/bin/qemu-system-x86_64 "$@"\n')
# It is not imported here: it makes a nova-compute of its process.
_PROGRAM = os.path.join(os.path.dirname(__file__), 'desk.py')
_PORT = 7000
_FILES = {
    'etc/libvirt/qemu.conf':
        'user = "root"\ngroup = "root"\nsecurity_driver = "none"\n'
        'namespaces = []\n',
    # Nobody else is on that network.
    'etc/libvirt/libvirtd.conf':
        'auth_tcp = "none"\nlisten_addr = "0.0.0.0"\n',
    f'etc/systemd/network/20-{PF}.network':
        f'[Match]\nName={PF}\n\n[Network]\nLinkLocalAddressing=no\n',
    'etc/systemd/system/desk.service':
        '[Unit]\nAfter=libvirtd.service network.target\n'
        'Wants=libvirtd.service\n\n[Service]\n'
        f'ExecStart=/usr/bin/python3 {_DESK} {_PORT} {PF} {VFS}\n'}


def check(megabytes: int) -> None:
    """:raises errors.LabError: no hosts can be run here, and why

    :param megabytes: what all of them have together
    """
    if os.geteuid():
        raise errors.LabError('Networks and images are made by root only.')
    machines.check(megabytes, own=True)


def warn_if_busy(say: Callable[[str], None]) -> None:
    """Each host wants a processor of its own.

    With a fiftieth of one, kernels find their timers dead and systemd gives
    up before it has begun.
    """
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if load > processors:
        say(f'This machine has other work (a load of {load:.0f} on '
            f'{processors} processors): the hosts may not come up, and what '
            'is measured is what they were left.')


def seed(name: str, guests: Mapping[str, seeds.Seed]) -> seeds.Seed:
    """What a host has of its own.

    :param guests: what each guest, which may come to any host, has of its own
    """
    made = seeds.Seed()
    number = fabric.HOSTS.index(name)
    made.add('etc/machine-id', f'{number + 1}767' * 8 + '\n')
    made.add('etc/hostname', f'host-{name}\n')
    made.add('etc/hosts', '127.0.0.1 localhost\n' + ''.join(
        f'{fabric.address(host)} host-{host}\n' for host in fabric.HOSTS))
    made.add(f'etc/systemd/network/20-{_MANAGEMENT}.network',
             f'[Match]\nName={_MANAGEMENT}\n\n[Network]\n'
             f'Address={fabric.address(name)}/24\n'
             'LinkLocalAddressing=no\n')
    for path, text in _FILES.items():
        made.add(path, text)
    for path, data in _project():
        made.add(path, data)
    with open(_PROGRAM, 'rb') as file:
        made.add(_DESK, file.read())
    made.add(EMULATOR, _EMULATOR, 0o755)
    for guest, its in guests.items():
        made.add(f'{recipe.GUESTS}/{guest}', its.archive())
    return made


def _project() -> typing.Iterator[tuple[str, bytes]]:
    """The package as it is now, as pip would install it."""
    package = os.path.dirname(nova_vf_failover.__file__)
    for folder, _, names in os.walk(package):
        for name in names:
            if name.endswith('.py'):
                path = os.path.join(folder, name)
                with open(path, 'rb') as file:
                    yield os.path.join(_SITE, os.path.relpath(
                        path, os.path.dirname(package))), file.read()
    config = configparser.ConfigParser()
    config.read(os.path.join(os.path.dirname(package), 'setup.cfg'))
    points = ''.join(f'[{group}]{lines}\n\n' for group, lines
                     in config['entry_points'].items())
    information = f'{_SITE}/nova_vf_failover-0.dist-info'
    yield f'{information}/entry_points.txt', points.encode()
    yield f'{information}/METADATA', (
        b'Metadata-Version: 2.1\nName: nova-vf-failover\nVersion: 0\n')


class Host:
    """A compute host, which does what its desk is told.

    :param restored: the file of a host that was saved, to go on from there
    :param more: options of QEMU
    """

    def __init__(self, name: str, net: fabric.Fabric, image: images.Image,
                 own: seeds.Seed, restored: str = '',
                 megabytes: int = MEGABYTES, processors: int = 1,
                 more: Sequence[str] = ()) -> None:
        self.name = name
        self.address = fabric.address(name)
        self._net = net
        self._restored = restored
        number = fabric.HOSTS.index(name)
        nics = [machines.Nic(
            role, net.taps[name][role], model,
            f'52:54:00:0{PORTS[role]}:00:{number + 17:02x}')
            for role, model in _MODELS.items()]
        options = ['-device', 'intel-iommu,intremap=on', '-no-reboot',
                   '-uuid', f'00000000-0000-4000-8000-0000000000{number:02}',
                   *more]
        if restored:
            options += ['-incoming', 'defer']
        self.machine = machines.Machine(
            image, own, nics, PORTS, (*compare.WORDS, *_WORDS),
            megabytes=megabytes, processors=processors, options=options,
            processor=_PROCESSOR, own=True)
        self.machine.qmp.execute('migrate-set-capabilities', capabilities=[
            {'capability': 'events', 'state': True}])

    def close(self) -> None:
        self.machine.close()

    def await_ready(self) -> None:
        """Until its desk does what it is told.

        :raises TimeoutError: it never does
        """
        if self._restored:
            self._go_on()
        self.machine.await_guest(_BOOT)
        if not self._restored:
            self.machine.guest.output('systemctl', 'start', 'desk')
        until = time.monotonic() + _BOOT
        while True:
            try:
                self.call('greet')
                return
            except OSError as error:
                if time.monotonic() > until:
                    raise TimeoutError(
                        f'The desk of host {self.name} does not open: '
                        f'{error}\n{self.log()}')
                time.sleep(1)

    def call(self, command: str, /, timeout: float = 600.0,
             **arguments: typing.Any) -> typing.Any:
        """Have the desk do something, and wait until it is done.

        :raises DeskError: it could not
        """
        with self._net.connect(self.name, _PORT, timeout) as connection:
            connection.sendall(json.dumps(
                {'command': command, 'arguments': arguments}).encode()
                + b'\n')
            connection.shutdown(socket.SHUT_WR)
            said = _read(connection)
        if not said:
            raise DeskError(f'{command} on host {self.name}: its desk has '
                            'ended')
        answer = json.loads(said)
        if 'failure' in answer:
            raise DeskError(f'{command} on host {self.name}: '
                            f'{answer["failure"]}')
        return answer['result']

    def save(self, path: str) -> None:
        """Write it to a file; it stays stopped.

        :raises errors.LabError: QEMU could not
        """
        self.machine.guest.output('sync')
        self.machine.qmp.execute('stop')
        self.machine.qmp.execute('migrate', uri=f'file:{path}')
        self._await_migration()

    def _go_on(self) -> None:
        """:raises errors.LabError: QEMU could not"""
        self.machine.qmp.execute('migrate-incoming',
                                 uri=f'file:{self._restored}')
        self._await_migration()
        # It was stopped when it was saved.
        self.machine.qmp.execute('cont')

    def _await_migration(self) -> None:
        """QEMU takes a file for a host that it migrates to or from."""
        qmp = self.machine.qmp
        try:
            qmp.wait('MIGRATION', _COPY, status='completed')
        except TimeoutError as error:
            raise errors.LabError(
                f'Host {self.name} cannot be saved or go on: '
                f'{qmp.execute("query-migrate")}') from error

    def log(self) -> str:
        """The end of what it has noted."""
        return self.machine.guest.run(
            'sh', '-c', 'journalctl -b -u desk -u libvirtd -o '
            'short-monotonic --no-pager | tail -80').output


class DeskError(Exception):
    """What a host was told it could not do."""


def _read(connection: socket.socket) -> bytes:
    parts = []
    while True:
        part = connection.recv(65536)
        if not part:
            return b''.join(parts)
        parts.append(part)
