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

"""A compute host with an SR-IOV NIC, for the command to look at.

libvirt, the QEMU guest agent and the links are the simulation's; sysfs,
nova.conf and rootwrap's files are files.
"""

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401 isort: skip

import contextlib
import functools
import io
import os
import pathlib
import platform
import tempfile
import types
import typing

import fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from oslo_config import cfg
from oslotest import base

from nova_vf_failover.cmd import hardware
from nova_vf_failover.cmd import main
from tests.simulation import hosts
from tests.simulation import modules
from tests.simulation import pci_devices
from tests.unit.simulation import contract
from tests.unit.simulation import test_hypervisor

CONF = cfg.CONF

UUID = contract.UUID
SERVER = ('<metadata><n:instance xmlns:n="http://openstack.org/xmlns/'
          'libvirt/nova/1.1"><n:name>web-1</n:name></n:instance></metadata>')
GOOD = {
    'DEFAULT': {'compute_driver': 'libvirt.LibvirtDriver',
                'rootwrap_config': '{root}/etc/nova/rootwrap.conf'},
    'pci': {'device_spec': '{"vendor_id": "8086", "product_id": "1515", '
                           '"physical_network": "physnet4"}'},
    'vf_failover': {},
}
PF, VFS = '0000:81:00.0', ['0000:81:00.1', '0000:81:00.2']
# As modules.dep has them.
VFIO = 'kernel/drivers/vfio/pci/vfio-pci.ko.xz'
VHOST = 'kernel/drivers/vhost/vhost_net.ko.xz'


class CommandTestCase(base.BaseTestCase):
    """The command on a host on which nothing is wrong."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.config = {group: dict(options)
                       for group, options in GOOD.items()}
        CONF.reset()
        self.addCleanup(CONF.reset)
        self.make_libvirt()
        self.make_sysfs()
        self.make_programs()
        self.useFixture(fixtures.MockPatch(
            'nova_vf_failover.cmd.main.logging.setup'))

    def make_libvirt(self):
        self.hosts = self.useFixture(hosts.SimulatedHosts())
        self.connection = self.hosts.add_host(
            'alpha', pci_devices.Nics(
                num_pfs=1, num_vfs=len(VFS), bus=0x81))
        self.plane = self.hosts.planes['alpha']
        self.libvirt = types.SimpleNamespace(
            openAuth=lambda uri, auth, flags: self.connection,
            **{name: getattr(fakelibvirt, name) for name in dir(fakelibvirt)
               if name.startswith(('VIR_CRED_', 'VIR_CONNECT_', 'VIR_ERR_'))},
            registerErrorHandler=fakelibvirt.registerErrorHandler,
            libvirtError=fakelibvirt.libvirtError)
        self.useFixture(modules.StandIn('libvirt', self.libvirt))
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.guest.libvirt', fakelibvirt))
        self.connection.fakeLibVersion = 10000000
        self.connection.fakeVersion = 8002002

    def make_sysfs(self):
        self.devices = self.root / 'sys' / 'bus' / 'pci' / 'devices'
        self.drivers = self.root / 'sys' / 'bus' / 'pci' / 'drivers'
        pf = self.devices / PF
        (pf / 'net' / 'alphapf0').mkdir(parents=True)
        self.set_driver('ice')
        for address in VFS:
            vf = self.devices / address
            (vf / 'iommu_group').mkdir(parents=True)
            (vf / 'physfn').symlink_to(pf)
            (vf / 'vendor').write_text('0x8086\n')
            (vf / 'device').write_text('0x1515\n')
        modules = self.root / 'modules' / platform.release()
        modules.mkdir(parents=True)
        self.modules = modules / 'modules.dep'
        self.modules.write_text(
            f'{VFIO}: kernel/vfio.ko.xz\n{VHOST}: kernel/vhost.ko.xz\n')
        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.cmd.checks.hardware.Sysfs', functools.partial(
                hardware.Sysfs, self.root / 'sys', self.root / 'modules')))

    def load_modules(self):
        (self.drivers / 'vfio-pci').mkdir()
        (self.root / 'sys' / 'class' / 'misc' / 'vhost-net').mkdir(
            parents=True)

    def set_driver(self, name):
        link = self.devices / PF / 'driver'
        link.unlink(missing_ok=True)
        (self.drivers / name).mkdir(parents=True, exist_ok=True)
        link.symlink_to(self.drivers / name)

    def make_programs(self):
        """sudo, privsep-helper, and rootwrap's rules about them."""
        for name in ('sudo', 'privsep-helper'):
            path = self.root / 'bin' / name
            path.parent.mkdir(exist_ok=True)
            path.write_text('#!/bin/sh\n')
            path.chmod(0o755)
        self.useFixture(fixtures.EnvironmentVariable(
            'PATH', str(self.root / 'bin')))
        self.rootwrap = self.root / 'etc' / 'nova' / 'rootwrap.conf'
        (self.rootwrap.parent / 'rootwrap.d').mkdir(parents=True)
        self.rootwrap.write_text(
            f'[DEFAULT]\nfilters_path={self.rootwrap.parent}/rootwrap.d\n'
            f'exec_dirs={self.root}/bin\n')

    def boot(self, **options: typing.Any) -> typing.Any:
        """A running server with a VF, whose guest has the agent."""
        xml = contract.domain(test_hypervisor.HOSTDEV, **options)
        domain = self.connection.defineXML(
            xml.replace('<memory', f'{SERVER}<memory', 1))
        domain.createWithFlags(0)
        self.agent = self.hosts.add_guest(UUID)
        self.agent._guest.add(contract.MAC, 'primary')
        return domain

    def run_command(self, *arguments: str) -> tuple[int, str, str]:
        """The exit code, the output, and what went to standard error."""
        path = self.root / 'nova.conf'
        self.write_options(path, self.config)
        return self.run_with('--config-file', os.fspath(path), *arguments)

    def write_options(self, path: pathlib.Path,
                      config: dict[str, dict[str, str]]) -> None:
        with open(path, 'w') as file:
            for group, options in config.items():
                file.write(f'[{group}]\n')
                for name, value in options.items():
                    value = value.replace('{root}', str(self.root))
                    file.write(f'{name} = {value}\n')

    def run_with(self, *arguments: str) -> tuple[int, str, str]:
        """The same, with the options that the arguments name or none."""
        out, err = io.StringIO(), io.StringIO()
        CONF.reset()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main.main(list(arguments))
        return code, out.getvalue(), err.getvalue()
