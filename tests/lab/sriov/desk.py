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

"""What a nested host does: a program that runs there and does as it is told.

It is a nova-compute without Nova's services: Nova's libvirt driver, its VIF
driver and the code of this project do everything that is done to a guest.
What they would ask Nova's database, its PCI tracker and Neutron for, comes
with each command.

A command is a line of JSON, ``{"command": ..., "arguments": {...}}``, and so
is its answer, ``{"result": ...}`` or ``{"failure": "..."}``.
"""

# As nova-compute does, before all else.
import nova.cmd  # noqa: F401

import contextlib
import json
import logging
import os
import socketserver
import sys
import time
import traceback
import typing

import libvirt_qemu
from nova import config as nova_config
from nova.network import model
from nova import objects
import nova.privsep
from nova.virt.libvirt import driver as libvirt_driver
from oslo_concurrency import lockutils
from oslo_config import cfg

from nova_vf_failover.channels import qga
from nova_vf_failover import conf
from nova_vf_failover import domain as vf_domain
from nova_vf_failover import exception
from nova_vf_failover import ports as vf_ports
from nova_vf_failover.standby import macvtap
from nova_vf_failover.steering import filters
from nova_vf_failover.steering import none
from nova_vf_failover import swap

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

# Seconds for what takes one on hardware: everything here is emulated.
_PATIENCE = 300
_DETACH_PATIENCE = 120
_ATTEMPTS = 3
# Of a copy, MiB/s: what emulated hosts reach at any time. QEMU stops a guest
# when what is left could be copied within 300 ms, and without a limit it takes
# a moment in which much got through for the speed of its connection.
_BANDWIDTH = 6
# A part of other steps: Nova's libvirt driver attaches a NIC.
_PLUG = 'hot plug'


class Times:
    """In place of our reporter: keeps how long each step took.

    :ivar steps: name, start and end of each, in seconds since it was made
    """

    def __init__(self) -> None:
        self._made = time.monotonic()
        self.steps: list[tuple[str, float, float]] = []

    @contextlib.contextmanager
    def move(self, kind: str, *_unused: typing.Any) -> typing.Iterator[None]:
        with self.step(kind, []):
            yield

    @contextlib.contextmanager
    def step(self, name: str, ports: list[str]) -> typing.Iterator[None]:
        start = self._now()
        try:
            yield
        finally:
            self.steps.append((name, start, self._now()))

    def note(self, what: str) -> None:
        self.steps.append((what, self._now(), self._now()))

    def _now(self) -> float:
        return time.monotonic() - self._made

    def heard(self, report: typing.Any) -> None:
        """Its own steps, of which only how long they took is certain."""
        LOG.info('The guest has said: %s', report)
        for step in report.steps:
            self.steps.append((f'  in the guest: {step.name}', 0.0,
                               step.end - step.start))
        if report.overlap:
            self.note('  in the guest: both NICs stay up')

    def without_nic(self) -> None:
        self.note('the guest had no NIC')

    def degraded(self, reasons: dict[str, str]) -> None:
        LOG.error('Degraded: %s', reasons)


class Claims:
    """Each guest has the VF that it was made with, on every host."""

    def find(self, vif: model.VIF) -> None:
        """It is always there."""

    def reclaim(self, vif: model.VIF, spoiled: str = '') -> model.VIF:
        return vif


class Desk:
    """The commands, one a method.

    A port is ``{"server", "mac", "slot", "vlan"}``: the UUID of its server,
    and the PCI address of its VF.

    :param driver: Nova's, initialized
    """

    def __init__(self, driver: libvirt_driver.LibvirtDriver) -> None:
        self._driver = driver
        self._standby = macvtap.MacvtapStandby()
        self._channel = qga.QemuGuestAgentChannel()

    def greet(self) -> str:
        """Whether libvirt can be spoken with, and which it is."""
        version = self._driver._host.get_connection().getLibVersion()
        return '.'.join(str(part) for part in (
            version // 1000000, version // 1000 % 1000, version % 1000))

    # -- guests -------------------------------------------------------------

    def start(self, xml: str) -> None:
        """Define a guest and start it."""
        self._connection().defineXML(xml).create()

    def end(self, server: str) -> None:
        domain = self._domain(server)
        with contextlib.suppress(libvirt_driver.libvirt.libvirtError):
            # It may have ended by itself.
            domain.destroy()
        domain.undefine()

    def suspend(self, server: str) -> None:
        self._domain(server).suspend()

    def resume(self, server: str) -> None:
        self._domain(server).resume()

    def describe(self, server: str) -> str:
        return str(self._domain(server).XMLDesc(0))

    def agent(self, server: str, command: str,
              arguments: dict[str, typing.Any]) -> typing.Any:
        """One command to the QEMU guest agent, and its answer."""
        answer = libvirt_qemu.qemuAgentCommand(
            self._domain(server), json.dumps(
                {'execute': command, 'arguments': arguments}), 60, 0)
        return json.loads(answer)['return']

    # -- the swap of this project -------------------------------------------

    def check(self, port: dict[str, typing.Any]) -> list[typing.Any]:
        """What is looked at before a migration."""
        return self._swap('check', port, Times())

    def failover(self, port: dict[str, typing.Any]) -> list[typing.Any]:
        return self._swap('failover', port, Times())

    def failback(self, port: dict[str, typing.Any]) -> list[typing.Any]:
        """Until it has worked, as recovery would see to it.

        libvirt waits 5 s until a guest's agent is there (src/qemu/
        qemu_agent.c, QEMU_AGENT_WAIT_TIME), and an emulated guest that has
        just arrived may take longer. It is on its standby meanwhile.
        """
        times = Times()
        for _ in range(_ATTEMPTS):
            try:
                return self._swap('failback', port, times)
            except exception.Degraded as error:
                LOG.warning('Tried again: %s', error)
                times.note(f'degraded: {error}')
        return self._swap('failback', port, times)

    def expect(self, port: dict[str, typing.Any]) -> None:
        """On the destination: plug what the standby will be on."""
        instance, vif = self._server(port), self._vif(port)
        standby = self._standby.describe(vif)
        with self._standby.plugging(standby):
            self._driver.vif_driver.plug(instance, standby)

    def release(self, port: dict[str, typing.Any]) -> None:
        """On the source: remove what the standby was on."""
        self._standby.release(self._standby.describe(self._vif(port)))

    def _swap(self, method: str, port: dict[str, typing.Any],
              times: Times) -> list[typing.Any]:
        instance, vif = self._server(port), self._vif(port)

        def attach(its: model.VIF) -> None:
            with times.step(_PLUG, []):
                self._attach(instance, its)

        plugs = vf_ports.Plugs(
            attach=attach,
            unplug=lambda its: self._driver.vif_driver.unplug(instance, its),
            # There is no database here.
            note=lambda: None)
        its = swap.Swap(
            instance, self._seen(instance), plugs, self._standby,
            self._channel, filters.Filters(none.NoSteering(), instance),
            Claims(), times)
        getattr(its, method)([vf_ports.Port(
            vif['id'], vif['address'].lower(), vif)])
        return times.steps

    # -- what Nova does by itself -------------------------------------------

    def attach(self, port: dict[str, typing.Any]) -> None:
        self._attach(self._server(port), self._vif(port))

    def detach(self, port: dict[str, typing.Any]) -> None:
        """As Nova does ahead of a live migration: it waits for the guest."""
        self._seen(self._server(port)).detach_primary(port['mac'])

    def migrate(self, server: str, address: str) -> None:
        """Live migrate a guest to the host at an address."""
        libvirt = libvirt_driver.libvirt
        self._guest(server).migrate(
            f'qemu+tcp://{address}/system', migrate_uri=f'tcp://{address}',
            flags=(libvirt.VIR_MIGRATE_LIVE
                   | libvirt.VIR_MIGRATE_PEER2PEER
                   | libvirt.VIR_MIGRATE_PERSIST_DEST
                   | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE),
            bandwidth=_BANDWIDTH)

    # -- what they share ----------------------------------------------------

    def _attach(self, instance: objects.Instance, vif: model.VIF) -> None:
        """As ``LibvirtDriver.attach_interface``, but for the database."""
        driver = self._driver
        driver.vif_driver.plug(instance, vif)
        config = driver.vif_driver.get_config(
            instance, vif, objects.ImageMeta.from_dict({}), instance.flavor,
            CONF.libvirt.virt_type)
        self._guest(instance.uuid).attach_device(
            config, persistent=True, live=True)

    def _seen(self, instance: objects.Instance) -> vf_domain.Domain:
        return vf_domain.Domain(self._guest(instance.uuid), instance.uuid,
                                self._driver._detach_with_retry)

    def _guest(self, server: str) -> typing.Any:
        return self._driver._host.get_guest(objects.Instance(uuid=server))

    def _domain(self, server: str) -> typing.Any:
        return self._connection().lookupByUUIDString(server)

    def _connection(self) -> typing.Any:
        return self._driver._host.get_connection()

    def _server(self, port: dict[str, typing.Any]) -> objects.Instance:
        return objects.Instance(
            uuid=port['server'], host='lab', metadata={}, system_metadata={},
            flavor=objects.Flavor(vcpus=1, memory_mb=256, extra_specs={}),
            info_cache=objects.InstanceInfoCache(
                network_info=model.NetworkInfo([self._vif(port)])))

    @staticmethod
    def _vif(port: dict[str, typing.Any]) -> model.VIF:
        return model.VIF(
            id=port['server'], address=port['mac'],
            network=model.Network(id=port['server'], subnets=[]),
            type=model.VIF_TYPE_HW_VEB, vnic_type=model.VNIC_TYPE_DIRECT,
            # What Neutron's mechanism driver sriovnicswitch says.
            details={model.VIF_DETAILS_VLAN: str(port['vlan'])},
            profile={'pci_slot': port['slot']}, active=True)


class _Handler(socketserver.StreamRequestHandler):
    """Reads a command, and answers it."""

    desk: Desk

    def handle(self) -> None:
        asked = json.loads(self.rfile.readline())
        LOG.info('Told: %s', asked)
        try:
            answer = {'result': getattr(self.desk, asked['command'])(
                **asked['arguments'])}
        except Exception:
            LOG.exception('%s', asked['command'])
            # Some errors of oslo.config cannot be printed.
            answer = {'failure': traceback.format_exc()[-2000:]}
        self.wfile.write(json.dumps(answer).encode() + b'\n')


class _Server(socketserver.ThreadingTCPServer):

    allow_reuse_address = True
    daemon_threads = True


def _make_vfs(pf: str, count: int) -> None:
    """VFs that no driver takes: they are for guests."""
    device = f'/sys/class/net/{pf}/device'
    for name, value in (('sriov_drivers_autoprobe', 0),
                        ('sriov_numvfs', count)):
        with open(os.path.join(device, name), 'w') as file:
            file.write(str(value))


def _configure() -> None:
    nova_config.parse_args(['desk'], default_config_files=[])
    conf.register_opts(CONF)
    for name in ('failover_timeout', 'failback_timeout', 'check_timeout'):
        CONF.set_override(name, _PATIENCE, 'vf_failover')
    CONF.set_override('device_detach_timeout', _DETACH_PATIENCE, 'libvirt')
    # Where Nova makes a VLAN device it holds a lock.
    lockutils.set_defaults('/run')
    objects.register_all()
    # This is root, who needs no helper.
    nova.privsep.sys_admin_pctxt.set_client_mode(False)


def main() -> None:
    port, pf, count = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    if not os.path.exists(f'/sys/class/net/{pf}/device/virtfn0'):
        _make_vfs(pf, int(count))
    _configure()
    driver = libvirt_driver.LibvirtDriver(None)
    driver._host.initialize()
    _Handler.desk = Desk(driver)
    with _Server(('', int(port)), _Handler) as server:
        server.serve_forever()


if __name__ == '__main__':
    main()
