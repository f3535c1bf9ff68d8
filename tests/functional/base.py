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

"""Two compute hosts with VFs on Nova's own services, and how to look at them.

Nova's functional harness runs the API, the conductor, the scheduler, Placement
and the compute services with Nova's libvirt driver in this process; the
hypervisor below is :mod:`tests.simulation`.
"""

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401 isort: skip

from collections.abc import Sequence
import copy
import gc
import operator
import sys
import threading
import time
import typing

import fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional.api import client
from nova.tests.functional.libvirt import base as nova_base
from nova.virt import libvirt
from nova.virt.libvirt import driver as nova_driver
import os_vif
from oslo_config import cfg
from oslo_serialization import jsonutils

from nova_vf_failover import conf
from nova_vf_failover import journal
from tests import api_paste
from tests.functional import agreement
from tests.functional import connections
from tests.functional import domains
from tests.functional import invariants
from tests.simulation import guest_agent
from tests.simulation import hosts
from tests.simulation import neutron
from tests.simulation import pci_devices

CONF = cfg.CONF

PRIMARY, STANDBY = agreement.PRIMARY, agreement.STANDBY

# Seconds after which an idle thread looks whether it is to end. A cloud has
# dozens of them, and Nova's tests have each one look a hundred times a second,
# which was a seventh of the processor time of our tests.
_IDLE = 0.2

api_paste.find()

# What is imported by now stays and is most of what there is: a sixth of the
# time of the tests went into looking at it for garbage again and again.
gc.freeze()
gc.set_threshold(5000)


class FailoverTestCase(agreement.Agreement):
    """Servers with VF ports on the hosts ``alpha`` and ``beta``."""

    ADMIN_API = True
    microversion = 'latest'

    #: set to False for a cloud without the plugin
    PLUGIN = True

    PCI_ALIAS: list[str] = []
    PCI_DEVICE_SPEC = [jsonutils.dumps({
        'vendor_id': fakelibvirt.PCI_VEND_ID,
        'product_id': product, 'physical_network': 'physnet4',
    }) for product in (fakelibvirt.PF_PROD_ID, fakelibvirt.VF_PROD_ID)]

    @classmethod
    def outside_of_a_test(cls) -> typing.Self:
        """A cloud that a program sets up, uses, and cleans up after.

        A test case is made for one of its methods, and runs none for it.
        """
        return cls('outside_of_a_test')

    def setUp(self) -> None:
        conf.register_opts(CONF)
        self.useFixture(connections.KeptConnections())
        super().setUp()
        self.useFixture(fixtures.MonkeyPatch(
            'futurist._thread.ThreadWorker.MAX_IDLE_FOR', _IDLE))
        self._stay_in_green_threads()
        # A test says when a host looks for what is unfinished.
        self.flags(recovery_interval=0, group='vf_failover')
        self.neutron = self.useFixture(neutron.SimulatedNeutron(self))
        self.hosts = self.useFixture(self.make_hosts())
        self.addCleanup(setattr, libvirt, 'LibvirtDriver',
                        nova_driver.LibvirtDriver)
        self.shorten_timeouts()
        self._add_guest_agent_to_images()
        self.buses = {'alpha': 0x81, 'beta': 0x91, 'gamma': 0xa1,
                      'delta': 0xb1}
        self.ports: list[dict[str, typing.Any]] = []

    def _stay_in_green_threads(self) -> None:
        """Have the simulation called where it can be told to go on.

        Where eventlet is in use Nova calls libvirt in native threads, and an
        event of patched ``threading`` does not wake one of these.
        """
        tpool = sys.modules.get('eventlet.tpool')
        if tpool:
            self.useFixture(fixtures.MonkeyPatch(
                'eventlet.tpool.execute',
                lambda method, *arguments, **keywords: method(
                    *arguments, **keywords)))

    def make_hosts(self) -> hosts.SimulatedHosts:
        """What runs below Nova's libvirt driver."""
        return hosts.SimulatedHosts()

    def shorten_timeouts(self) -> None:
        """Do not wait for guests that a test has made silent."""
        self.flags(device_detach_attempts=2, device_detach_timeout=1,
                   group='libvirt')
        self.useFixture(fixtures.MockPatch(
            'nova_vf_failover.channels.qga.WAY_TIMEOUT', 1))
        self.flags(check_timeout=1, failover_timeout=1, failback_timeout=1,
                   group='vf_failover')

    def _add_guest_agent_to_images(self) -> None:
        for image in self.glance.images.values():
            image['properties']['hw_qemu_guest_agent'] = 'yes'

    # -- hosts -----------------------------------------------------------

    def _get_connection(self, host_info: typing.Any = None,
                        pci_info: typing.Any = None,
                        mdev_info: typing.Any = None,
                        vdpa_info: typing.Any = None,
                        libvirt_version: int | None = None,
                        qemu_version: int | None = None,
                        hostname: str = '') -> typing.Any:
        return self.hosts.add_host(
            hostname, pci_info,
            host_info=host_info or fakelibvirt.HostInfo(
                cpu_nodes=2, cpu_sockets=1, cpu_cores=2, cpu_threads=2),
            version=libvirt_version or fakelibvirt.FAKE_LIBVIRT_VERSION,
            hv_version=qemu_version or fakelibvirt.FAKE_QEMU_VERSION)

    def start_host(self, name: str, plugin: bool | None = None,
                   num_vfs: int = 4, numa_node: int = 0,
                   num_pfs: int = 1) -> None:
        """Start a compute service with one PF, or more.

        :param plugin: whether it has the plugin; PLUGIN unless told
        """
        self._install(self.PLUGIN if plugin is None else plugin)
        self.start_compute(hostname=name, pci_info=(
            pci_devices.Nics(
                num_pfs=num_pfs, num_vfs=num_vfs, numa_node=numa_node,
                bus=self.buses[name])))
        self._hear_events(name)

    def restart_host(self, name: str) -> None:
        """Start the compute service of a host anew; its guests run on."""
        self.hosts.newest = name
        self.restart_compute_service(name)
        self._hear_events(name)

    def recover(self, name: str) -> None:
        """Have a host look once for what is unfinished, and wait for it."""
        recovery = self.computes[name].driver._recovery
        recovery.look()
        recovery.settle(60)

    def hold_recovery(self, server: dict[str, typing.Any],
                      name: str) -> threading.Event:
        """Have a host try to bring a server back, up to what its guest is
        asked.

        :returns: what lets the guest answer
        """
        reached, go_on = threading.Event(), threading.Event()

        def dawdle(argv: Sequence[str], given: bytes) -> guest_agent.Program:
            reached.set()
            go_on.wait(60)
            return self.agent.start(argv, given)

        self.hosts.world.guest_agents[server['id']] = (
            guest_agent.QemuGuestAgent(dawdle))
        self.computes[name].driver._recovery.look()
        self.assertTrue(reached.wait(60))
        return go_on

    def _hear_events(self, name: str) -> None:
        host = self.computes[name].driver._host
        connection = self.hosts.world.connections[name]
        # The harness turns off Nova's event thread; libvirt's events go to
        # the very callbacks that it would have registered.
        for event, callback in (
                (fakelibvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
                 host._event_device_removed_callback),
                (fakelibvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
                 host._event_device_removal_failed_callback)):
            connection.domainEventRegisterAny(None, event, callback, host)

    def _install(self, plugin: bool) -> None:
        """Load the plugin as nova-compute does when it starts."""
        libvirt.LibvirtDriver = nova_driver.LibvirtDriver
        self.flags(enabled=plugin, group='vf_failover')
        os_vif.initialize(reset=True)

    def start_hosts(self, alpha: dict[str, typing.Any] | None = None,
                    beta: dict[str, typing.Any] | None = None) -> None:
        """Start both hosts.

        :param alpha: what :meth:`start_host` is told about it
        """
        self.start_host('alpha', **alpha or {})
        self.start_host('beta', **beta or {})
        self.remember_hosts()

    def remember_hosts(self) -> None:
        """The hosts are clean now, and whoever works is to work."""
        self.clean = {name: plane.snapshot()
                      for name, plane in self.hosts.planes.items()}
        self.invariants = invariants.Invariants(self)

    def plane(self, host: str) -> typing.Any:
        return self.hosts.planes[host]

    # -- servers ---------------------------------------------------------

    def add_port(self, vlan: str | None = '42') -> dict[str, typing.Any]:
        """A direct port in Neutron, as on a flat or on a VLAN network."""
        port = copy.deepcopy(
            nova_base.LibvirtNeutronFixture.network_4_port_1)
        number = len(self.ports) + 1
        port['id'] = f'5b0e3d0e-5d5c-4a3f-9c55-d7a4f04d6f{number:02x}'
        port['mac_address'] = f'fa:16:3e:00:00:{number:02x}'
        port['fixed_ips'][0]['ip_address'] = f'192.168.4.{number + 10}'
        port['admin_state_up'] = True
        port['tenant_id'] = self.neutron.tenant_id
        # Neutron's way to say that a network is flat.
        self.neutron.add_direct_port(port, vlan or '0')
        self.ports.append(port)
        return port

    def boot(self, *ports: dict[str, typing.Any], host: str = 'alpha',
             **keywords: typing.Any) -> dict[str, typing.Any]:
        """A server on these ports whose guest has the agent."""
        server = self._create_server(
            networks=[{'port': port['id']} for port in ports], host=host,
            **keywords)
        self.agent = self.hosts.add_guest(server['id'])
        return server

    def migrate(self, server: dict[str, typing.Any],
                expected: str = 'completed',
                host: str | None = None) -> dict[str, typing.Any]:
        """Live migrate through the API and wait for how it ends."""
        self._ask_for_migration(server, host)
        self._wait_for_migration_status(server, [expected])
        return self._wait_for_state_change(server, 'ACTIVE')

    def _ask_for_migration(self, server: dict[str, typing.Any],
                           host: str | None = None) -> None:
        self.api.post_server_action(server['id'], {
            'os-migrateLive': {'host': host, 'block_migration': 'auto'}})

    def begin_migration(self, server: dict[str, typing.Any]) -> None:
        """Live migrate, and hold the memory copy where it is."""
        self.hosts.world.migrations.proceed.clear()
        self._ask_for_migration(server)

    def hold_the_copy(self, server: dict[str, typing.Any]) -> None:
        """Live migrate until the memory copy goes on, and hold it there."""
        self.begin_migration(server)
        self.assertTrue(self.hosts.world.migrations.running.wait(60))

    def finish(self, server: dict[str, typing.Any]) -> None:
        """Have the held copies go on, and wait for this server's end."""
        self.hosts.world.migrations.proceed.set()
        self._wait_for_migration_status(server, ['completed'])
        self._wait_for_state_change(server, 'ACTIVE')

    def _wait_for_migration_status(
        self, server: dict[str, typing.Any], expected_statuses: list[str],
    ) -> dict[str, typing.Any]:
        """As in the harness, with patience for guests that do not answer.

        Only the newest one counts: how an earlier one ended says nothing.
        """
        until = time.monotonic() + 60
        while True:
            migration = self._newest_migration(server)
            if migration and migration['status'] in expected_statuses:
                return migration
            self.assertLess(time.monotonic(), until, migration)
            time.sleep(0.2)

    def _newest_migration(self, server: dict[str, typing.Any],
                          ) -> dict[str, typing.Any] | None:
        return max((migration for migration in self.api.api_get(
            '/os-migrations').body['migrations']
            if migration['instance_uuid'] == server['id']),
            key=operator.itemgetter('id'), default=None)

    def abort(self, server: dict[str, typing.Any],
              status: str) -> None:
        """Abort a live migration through the API once it is in a status."""
        migration = self._wait_for_migration_status(server, [status])
        self.api.delete_migration(server['id'], migration['id'])
        self._wait_for_migration_status(server, ['cancelled'])
        self._wait_for_state_change(server, 'ACTIVE')

    def refusal(self, server: dict[str, typing.Any]) -> str:
        """Try to live migrate, and the error that its event shows."""
        try:
            self.migrate(server, 'error')
        except client.OpenStackApiException:
            # The harness makes the API wait for the conductor, so what the
            # conductor runs into becomes the answer.
            self._wait_for_state_change(server, 'ACTIVE')
        return '\n'.join(
            event['details'] or '' for event in self._events(server))

    def events(self, server: dict[str, typing.Any]) -> dict[str, str]:
        """The results of the instance events of the last live migration."""
        return {event['event']: event['result']
                for event in self._events(server)}

    def _events(self, server: dict[str, typing.Any],
                ) -> list[dict[str, typing.Any]]:
        actions = self.api.get_instance_actions(server['id'])
        request = next(action['request_id'] for action in actions
                       if action['action'] == 'live-migration')
        return self.api.api_get(
            f'/servers/{server["id"]}/os-instance-actions/{request}'
        ).body['instanceAction']['events']

    def domain(self, host: str, server: dict[str, typing.Any]) -> typing.Any:
        return self.hosts.world.connections[host].lookupByUUIDString(
            server['id'])

    def until(self, condition: typing.Callable[[], typing.Any]) -> None:
        """Wait for something that is told by nobody."""
        end = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)

    def entries(self, host: str,
                server: dict[str, typing.Any]) -> list[journal.Entry]:
        """The journal of a server, in the order of its ports."""
        found = domains.journal_of(self.domain(host, server))
        return [found[port['id']] for port in self.ports
                if port['id'] in found]

    def told(self, *kinds: str) -> list[dict[str, typing.Any]]:
        """What our notifications of these kinds say."""
        return [notification['payload']['nova_object.data'] for notification
                in self.notifier.versioned_notifications
                if notification['event_type'] in [
                    f'vf_failover.{kind}' for kind in kinds]]


class OnePortTestCase(FailoverTestCase):
    """Both hosts run, and a server with one VF port is on ``alpha``."""

    def setUp(self) -> None:
        super().setUp()
        self.start_hosts()
        self.server = self.boot(self.add_port())


class TwoPortsTestCase(FailoverTestCase):
    """As well, with two ports on two VLANs."""

    def setUp(self) -> None:
        super().setUp()
        self.start_hosts()
        self.server = self.boot(self.add_port(), self.add_port('43'))
