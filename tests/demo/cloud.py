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

"""One cloud, one server, one live migration: a process of its own.

It prints a line for each thing that it does and writes its measurement into a
file.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import argparse
import json
import logging
import os
import pathlib
import sys
import time
import typing

import fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.virt import libvirt
from nova.virt.libvirt import driver as nova_driver
import os_vif
from oslo_config import cfg
import testtools

from nova_vf_failover.standby import links
from nova_vf_failover.steering import functions
from tests.demo import command_line
from tests.demo import doors
from tests.demo import measurement
from tests.simulation import calls
from tests.simulation import dataplane
from tests.simulation.fabric import agent
from tests.simulation.fabric import host as fabric_hosts
from tests.simulation.fabric import network
from tests.simulation.fabric import traffic
from tests.simulation import guest_agent
from tests.simulation import hosts

CONF = cfg.CONF

NATIVE, VF_FAILOVER = 'native', 'vf_failover'

NOVA_CONF = f"""\
[DEFAULT]
compute_driver = libvirt.LibvirtDriver

[pci]
device_spec = {json.dumps({
    'vendor_id': fakelibvirt.PCI_VEND_ID,
    'product_id': fakelibvirt.VF_PROD_ID,
    'physical_network': 'physnet4'})}
"""

PLUGIN_CONF = """
[vf_failover]
enabled = {enabled}
policy = required
"""

# Seconds of traffic before the migration begins and after it has ended.
QUIET = 1.0


class FabricHosts(hosts.SimulatedHosts):
    """Hosts whose network is the kernel's."""

    def __init__(self, net: network.Network) -> None:
        super().__init__()
        self._net = net

    def make_plane(self, host: str,
                   pfs: dict[str, list[str]]) -> dataplane.DataPlane:
        (pf, vfs), = pfs.items()
        return self._net.add_host(host, pf, vfs)

    def links(self, host: str) -> links.HostLinks:
        return fabric_hosts.FabricLinks(self._net.hosts[host])

    def vf_functions(self, host: str) -> functions.Functions:
        return fabric_hosts.FabricFunctions(self._net.hosts[host])

    def _exists(self, device: str) -> bool:
        return any(device in host.namespace.names()
                   for host in self._net.hosts.values())


class Cloud(base.FailoverTestCase):
    """Nova's functional harness, with two hosts of the fabric below it."""

    def __init__(self, arguments: argparse.Namespace,
                 people: typing.TextIO) -> None:
        super().__init__('live_migrate')
        self._people = people
        self._arguments = arguments
        self.timeline = measurement.Timeline()
        # With an underscore, for Nova's test case removes other attributes.
        self._measurement: measurement.Measurement | None = None
        self._port: network.Port | None = None

    @property
    def done(self) -> measurement.Measurement | None:
        return self._measurement

    # -- the cloud ---------------------------------------------------------

    def make_hosts(self) -> hosts.SimulatedHosts:
        self.net = self.useFixture(
            network.Network({}, observe=self._observe))
        return FabricHosts(self.net)

    def shorten_timeouts(self) -> None:
        """Everything is as an operator has it."""
        for option in ('device_spec', 'alias'):
            CONF.clear_override(option, 'pci')

    def remember_hosts(self) -> None:
        """Nobody compares them here."""

    def _install(self, plugin: bool) -> None:
        """What nova-compute does when it starts: read its file, load os-vif.
        """
        libvirt.LibvirtDriver = nova_driver.LibvirtDriver
        CONF(['--config-file', self._nova_conf()], project='nova')
        os_vif.initialize(reset=True)

    def _nova_conf(self) -> str:
        path = pathlib.Path(self.useFixture(fixtures.TempDir()).path,
                            'nova.conf')
        path.write_text(NOVA_CONF + PLUGIN_CONF.format(
            enabled=self._arguments.scheme == VF_FAILOVER)
            + self._more_configuration())
        return str(path)

    def _more_configuration(self) -> str:
        """What else stands in nova.conf."""
        return ''

    def _open_doors(self) -> command_line.OpenStack:
        tokens = doors.Tokens(self.api_fixture.project_id)
        compute = self.useFixture(doors.Door(doors.ComputeDoor(
            self.api_fixture.app(), tokens)))
        others = self.useFixture(doors.Door(doors.OtherDoors(
            tokens, compute.url, self._images, self._networks,
            lambda: [self._shown(port) for port in self.ports],
            self._make_port, self._remove_port)))
        return command_line.OpenStack(f'{others.url}/identity')

    def _images(self) -> list[dict[str, typing.Any]]:
        return [{'id': image['id'], 'name': image['name'],
                 'status': 'active', 'visibility': 'public'}
                for image in self.glance.images.values()]

    def _networks(self) -> list[dict[str, typing.Any]]:
        return [{'id': self.neutron.network_4['id'], 'name': 'sriov',
                 'provider:network_type': 'flat',
                 'provider:physical_network': 'physnet4',
                 'provider:segmentation_id': None}]

    def _make_port(self, body: dict[str, typing.Any],
                   ) -> dict[str, typing.Any]:
        """Neutron's part: a flat network, as this kernel knows no VLANs."""
        port = self.add_port(vlan=None)
        port['name'] = body['name']
        self._remember_port(port['mac_address'])
        return self._shown(port)

    def _remember_port(self, mac: str) -> None:
        """The guest will have this port."""
        self._port = network.Port(1, mac)
        self.net.add_port(self._port)

    def _remove_port(self, port_id: str) -> None:
        self.ports = [port for port in self.ports if port['id'] != port_id]
        self.neutron.delete_port(port_id)

    def _shown(self, port: dict[str, typing.Any]) -> dict[str, typing.Any]:
        return {**self.neutron.show_port(port['id'])['port'],
                'fixed_ips': []}

    # -- the guest -----------------------------------------------------------

    def _observe(self, name: str, phase: str) -> None:
        """Of plain Nova's steps, and for the guest's operating system."""
        if self._arguments.scheme == NATIVE:
            step = {'return_vf': 'vf detach', 'assign_vf': 'vf attach'}
            self.timeline.note(step[name], phase)
        if (name, phase) == ('assign_vf', 'end') and not hasattr(
                self, 'agent'):
            # A guest configures a NIC that appears. The agent sees to those
            # that come back to it.
            self.net.boot_port(self._port, 'eth0', gateway=True)

    def _start_agent(self, server: str) -> None:
        guest = self.net.guest.namespace
        self.agent = agent.Agent(guest)
        self.addCleanup(self.agent.close)
        self.agent.start()
        self.hosts.world.guest_agents[server] = guest_agent.QemuGuestAgent(
            self.agent.run)

    # -- the story -----------------------------------------------------------

    def live_migrate(self) -> None:
        """Create a server with a VF and move it while packets run."""
        migrations = self.hosts.world.migrations
        migrations.copy_seconds = self._arguments.copy_seconds
        migrations.observer = lambda step, phase: self.timeline.note(
            {'copy': 'copy', 'stop': 'cut-over'}[step], phase)
        counter = self.useFixture(calls.Calls(self.neutron))
        self._say('Starting nova-compute on alpha and beta')
        self.start_hosts()
        openstack = self._open_doors()
        server = self._create_server_with_vf(openstack)
        if self._arguments.scheme == VF_FAILOVER:
            self._start_agent(server)
        session = self.net.traffic(self._port, rate=self._arguments.rate)
        time.sleep(QUIET)
        self._say('openstack server migrate --live-migration --host beta '
                  '--wait vm')
        with counter.counting() as count:
            start = time.monotonic()
            openstack.run('server', 'migrate', '--live-migration', '--host',
                          'beta', '--wait', 'vm')
            end = time.monotonic()
        time.sleep(QUIET)
        towards, away = session.stop()
        self._check_where_it_is(openstack)
        self._measurement = measurement.Measurement(
            start, end, self._steps(start, end), towards, away,
            count.totals(), self._events_of(openstack))

    def _create_server_with_vf(self,
                               openstack: command_line.OpenStack) -> str:
        self._create_port(openstack)
        self._say('openstack server create --port vf --wait vm')
        return openstack.ask(
            'server', 'create', '--image', self.glance.image1['id'],
            '--flavor', self._create_flavor(), '--port', 'vf', '--host',
            'alpha', '--wait', 'vm')['id']

    def _create_port(self, openstack: command_line.OpenStack) -> None:
        self._say('openstack port create --network sriov --vnic-type direct '
                  'vf')
        openstack.run('port', 'create', '--network', 'sriov', '--vnic-type',
                      'direct', 'vf')

    def _check_where_it_is(self, openstack: command_line.OpenStack) -> None:
        self._say('openstack server show vm')
        shown = openstack.ask('server', 'show', 'vm')
        found = shown['status'], shown['OS-EXT-SRV-ATTR:host']
        if found != ('ACTIVE', 'beta'):
            raise command_line.CommandFailed(
                'The server should be ACTIVE on beta and is %s on %s: %s' % (
                    *found, shown.get('fault')))

    def _events_of(self, openstack: command_line.OpenStack,
                   ) -> list[dict[str, typing.Any]]:
        self._say('openstack server event list vm')
        request, = [event['Request ID'] for event in openstack.ask(
            'server', 'event', 'list', 'vm')
            if event['Action'] == 'live-migration']
        self._say(f'openstack server event show vm {request}')
        shown = openstack.ask('server', 'event', 'show', 'vm', request)
        return [{key: event[key] for key in (
            'event', 'result', 'start_time', 'finish_time')}
            for event in shown['events']]

    def _steps(self, start: float, end: float) -> list[traffic.Step]:
        """The data planes' steps, and those that the plugin tells of."""
        offset = time.time() - time.monotonic()
        told = [
            traffic.Step(payload['step'], payload['started_at'] - offset,
                         payload['started_at'] + payload['duration_s']
                         - offset)
            for payload in (
                notification['payload']['nova_object.data'] for notification
                in self.notifier.versioned_notifications
                if notification['event_type'].startswith('vf_failover.'))
            if payload['duration_s'] is not None and not payload['steps']]
        self.timeline.steps += told
        return self.timeline.within(start, end)

    def _say(self, sentence: str) -> None:
        print(sentence, file=self._people, flush=True)


def stdout_for_people() -> typing.TextIO:
    """Where the standard output is; what Nova prints goes with the errors.
    """
    people = os.fdopen(os.dup(sys.stdout.fileno()), 'w')
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return people


def main(cloud_class: type[Cloud] = Cloud) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument('scheme', choices=[NATIVE, VF_FAILOVER])
    parser.add_argument('result')
    parser.add_argument('--copy-seconds', type=float, required=True)
    parser.add_argument('--rate', type=float, required=True)
    arguments = parser.parse_args()
    cloud = cloud_class(arguments, stdout_for_people())
    result = testtools.TestResult()
    cloud.run(result)
    for _, failure in result.errors + result.failures:
        print(failure, file=sys.stderr)
    if not cloud.done or not result.wasSuccessful():
        return 1
    with open(arguments.result, 'w') as file:
        json.dump({'document': cloud.done.document(),
                   'details': cloud.done.details()}, file)
    return 0


if __name__ == '__main__':
    logging.captureWarnings(True)
    sys.exit(main())
