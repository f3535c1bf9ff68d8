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

"""What must be true of servers with VFs, whatever has happened to them.

Two of them hold at every moment, a third of every server that nobody works
upon, and the others of a cloud that has come to rest. Nothing here raises for
what it finds: each question is answered with the violations that there are.
"""

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401 isort: skip

import collections
from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses
import threading
import typing

from nova import objects
from nova.objects import fields
from nova.tests.fixtures import libvirt as fakelibvirt

from tests.functional import domains
from tests.functional import threads

#: the guest reaches its peer through at least one NIC, always
NETWORK = 'network'
#: two NICs of one MAC only where the journal says so, always
ONE_NIC = 'one_nic'
#: tracker, Placement, bindings, domain and host's interfaces say the same
AGREEMENT = 'agreement'
#: the status of the migration and the state of the server are so
TRUTH = 'truth'
#: no thread, device, VF or allocation belongs to nobody
LEAKS = 'leaks'

NAMES = (NETWORK, ONE_NIC, AGREEMENT, TRUTH, LEAKS)

# Migrations that go on, as nova.objects.MigrationList has them.
_IN_PROGRESS = frozenset({
    'accepted', 'queued', 'preparing', 'pre-migrating', 'migrating',
    'running', 'post-migrating', 'finished', 'reverting', 'confirming'})

_HELD = (fields.PciDeviceStatus.ALLOCATED, fields.PciDeviceStatus.CLAIMED)


@dataclasses.dataclass(frozen=True)
class Violation:
    """Something that is not as it must be.

    :ivar invariant: one of NAMES
    :ivar subject: the server or the host that it is true of
    """

    invariant: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f'{self.invariant}: {self.subject}: {self.text}'


@dataclasses.dataclass(frozen=True)
class Server:
    """A server and the MACs of its VF ports, by the id of the port.

    :ivar status: what Nova's API should say of it
    :ivar since: a migration; this one and those before it do not tell any
        more where the server is, for it was shelved since
    """

    uuid: str
    macs: dict[str, str]
    status: str = 'ACTIVE'
    since: int = 0

    @classmethod
    def of(cls, uuid: str, ports: Iterable[dict[str, typing.Any]],
           status: str = 'ACTIVE', since: int = 0) -> 'Server':
        """A server with ports as Neutron shows them."""
        return cls(uuid, {port['id']: port['mac_address'].lower()
                          for port in ports}, status, since)


class Invariants:
    """Looks at a cloud of :class:`tests.functional.base.FailoverTestCase`.

    :param cloud: that test case, with ``remember_hosts`` called
    """

    def __init__(self, cloud: typing.Any) -> None:
        self._cloud = cloud
        self._threads = set(threading.enumerate())

    # -- at every moment -----------------------------------------------------

    def network(self, server: Server) -> list[Violation]:
        """The guest is reached through a NIC of each of its ports.

        While a guest stands still in a stop-and-copy it is not asked; see
        :class:`tests.faults.watch.Watch`.
        """
        planes = self._cloud.hosts.planes
        return [Violation(NETWORK, server.uuid,
                          f'{mac} is not reached: its guest '
                          f'{self._nics(server, mac)}')
                for port, mac in server.macs.items()
                if not any(plane.reaches(
                    server.uuid, mac, self._cloud.neutron.vlan_of(port))
                    for plane in planes.values())]

    def one_nic(self, server: Server) -> list[Violation]:
        """A port outside the journal has its VF and nothing else.

        As the journal is written before the act, this holds at each step.
        """
        found = []
        for host, domain in self._running(server).items():
            away = domains.journal_of(domain)
            for port, mac in server.macs.items():
                kinds = sorted(nic.kind for nic in domains.nics_of(domain)
                               if nic.mac == mac)
                if port not in away and kinds != ['hostdev']:
                    found.append(Violation(
                        ONE_NIC, server.uuid, f'port {port} is not in the '
                        f'journal on {host} and its NICs are {kinds}'))
        return found

    # -- at rest -------------------------------------------------------------

    def at_rest(self, servers: Iterable[Server]) -> list[Violation]:
        """Everything, of a cloud with these servers and no others."""
        servers = list(servers)
        found = []
        for server in servers:
            found += self.network(server) + self.one_nic(server)
            found += self.agreement(server) + self.truth(server)
        return found + self.leaks(servers)

    def degraded(self, server: Server) -> set[str]:
        """The ports that are not plainly on their VFs."""
        return {port for domain in self._running(server).values()
                for port in domains.journal_of(domain)}

    def where(self, server: Server) -> str | None:
        """The host on which the guest runs, if it is one."""
        hosts = list(self._running(server))
        return hosts[0] if len(hosts) == 1 else None

    def agreement(self, server: Server) -> list[Violation]:
        """Everybody who knows of a server and its VFs says the same."""
        return self.ports(server) + self.claims(server)

    def ports(self, server: Server) -> list[Violation]:
        """Nova, Neutron and libvirt say the same of a server's ports."""
        host = self._agreed(server)
        if host is None:
            shown = self._cloud.api.get_server(server.uuid)
            running = list(self._running(server))
            return [Violation(
                AGREEMENT, server.uuid, f'its domain is on {running} and '
                f'Nova has it on {shown["OS-EXT-SRV-ATTR:host"]}')]
        texts = list(self._domain(server, host))
        away = self.degraded(server)
        for port in server.macs:
            texts += self._binding(port, host)
            if port not in away:
                texts += self._vf_of_guest(server, port, host)
        return [Violation(AGREEMENT, server.uuid, text) for text in texts]

    def claims(self, server: Server) -> list[Violation]:
        """Placement, the host's tracker and its NIC say so as well."""
        host = self._agreed(server)
        if host is None:
            return []
        texts = list(self._placement(server, host))
        away = self.degraded(server)
        for port in server.macs:
            if port not in away:
                texts += self._vf_of_host(server, port, host)
        return [Violation(AGREEMENT, server.uuid, text) for text in texts]

    def truth(self, server: Server) -> list[Violation]:
        """The server's state and its migrations' status are so."""
        shown = self._cloud.api.get_server(server.uuid)
        state = (shown['status'], shown['OS-EXT-STS:task_state'])
        texts = []
        if state != (server.status, None):
            texts.append(f'it is {state} although its guest runs')
        texts += self._standing_still(server)
        migrations = sorted(self._cloud.api.api_get(
            f'/os-migrations?instance_uuid={server.uuid}'
        ).body['migrations'], key=lambda each: each['id'])
        texts += [f'migration {migration["id"]} is {migration["status"]}'
                  for migration in migrations
                  if migration['status'] in _IN_PROGRESS]
        if migrations and not texts and migrations[-1]['id'] > server.since:
            texts += _untrue(migrations[-1], self.where(server))
        return [Violation(TRUTH, server.uuid, text) for text in texts]

    def leaks(self, servers: Iterable[Server]) -> list[Violation]:
        """Nothing on the hosts is nobody's, and no thread goes on."""
        return [*(Violation(LEAKS, thread.name, 'this thread goes on')
                  for thread in self.new_threads()), *self.foreign(servers)]

    def foreign(self, servers: Iterable[Server]) -> list[Violation]:
        """What is on the hosts is of one of these servers."""
        servers = list(servers)
        found = []
        for name, plane in self._cloud.hosts.planes.items():
            here = [server for server in servers
                    if self.where(server) == name]
            found += [Violation(LEAKS, name, text) for text in [
                *self._foreign_vfs(name, plane, here),
                *self._foreign_links(name, plane, here)]]
        return found

    def new_threads(self) -> list[threading.Thread]:
        """Those that work, which were not there at first.

        The workers of pools wait for work, and one more of them is no leak.
        """
        return [thread for thread in threading.enumerate()
                if thread not in self._threads
                and thread.is_alive() and not threads.is_worker(thread)
                and not threads.is_listener(thread)
                and not threads.is_guest(thread)]

    # -- what each of them is made of ----------------------------------------

    def _running(self, server: Server) -> dict[str, typing.Any]:
        """The running domains of a server, by the name of the host."""
        return domains.running(self._cloud.hosts.world, server.uuid)

    def _standing_still(self, server: Server) -> Iterator[str]:
        """A guest stands still where its server is paused, and only there."""
        for host, domain in self._running(server).items():
            stands = domain.info()[0] == fakelibvirt.VIR_DOMAIN_PAUSED
            if stands != (server.status == 'PAUSED'):
                yield (f'it is {server.status} and its guest on {host} '
                       f'{"stands still" if stands else "runs"}')

    def _agreed(self, server: Server) -> str | None:
        """The host of a server by Nova, if its guest runs there."""
        host = self.where(server)
        shown = self._cloud.api.get_server(server.uuid)
        return host if shown['OS-EXT-SRV-ATTR:host'] == host else None

    def _domain(self, server: Server, host: str) -> Iterator[str]:
        """That there is one, and that nothing is wrong in it."""
        defined = [name for name, _domain in domains.defined(
            self._cloud.hosts.world, server.uuid)]
        if defined != [host]:
            yield f'it is on {host} and has domains on {defined}'
        yield from domains.wrong_in(
            self._running(server)[host], set(server.macs.values()))

    def _nics(self, server: Server, mac: str) -> str:
        guest = self._cloud.hosts.guests.get(server.uuid)
        if guest is None:
            return 'has never run'
        return (f'uses {guest.uses.get(mac)} and has '
                f'{sorted(guest.nics.get(mac, ()))}')

    def _placement(self, server: Server, host: str) -> Iterator[str]:
        uuids = self._cloud.compute_rp_uuids
        held = set(self._cloud._get_allocations_by_server_uuid(server.uuid))
        wanted = {uuids[host]}
        if held & set(uuids.values()) != wanted:
            yield (f'it is on {host} and holds allocations of '
                   f'{_hosts(held, uuids)}')
        for migration in self._cloud.api.api_get(
                f'/os-migrations?instance_uuid={server.uuid}'
        ).body['migrations']:
            held = set(self._cloud._get_allocations_by_server_uuid(
                migration['uuid']))
            if held:
                yield (f'migration {migration["id"]} is over '
                       f'({migration["status"]}) and holds allocations of '
                       f'{_hosts(held, uuids)}')

    def _binding(self, port: str, host: str) -> Iterator[str]:
        neutron = self._cloud.neutron
        bindings = {name: binding['status'] for name, binding
                    in neutron._port_bindings[port].items()}
        if bindings != {host: 'ACTIVE'}:
            yield f'port {port} has the bindings {bindings}, not of {host}'
        shown = neutron.show_port(port)['port']
        binding = (shown['binding:vnic_type'], shown['binding:vif_type'],
                   shown['binding:host_id'])
        if binding != ('direct', 'hw_veb', host):
            yield f'port {port} is bound as {binding}, not on {host}'

    def _address(self, port: str) -> str | None:
        """The VF of a port by its binding."""
        address: str | None = self._cloud.neutron.show_port(port)['port'][
            'binding:profile'].get('pci_slot')
        return address

    def _vf_of_guest(self, server: Server, port: str,
                     host: str) -> Iterator[str]:
        """That the guest has a port's VF, and will start with it."""
        address = self._address(port)
        domain = self._running(server)[host]
        for what, persistent in domains.TREES:
            vfs = [(nic.kind, nic.vf)
                   for nic in domains.nics_of(domain, persistent)
                   if nic.mac == server.macs[port]]
            if vfs != [('hostdev', address)]:
                yield (f'port {port} is bound to VF {address} and the {what} '
                       f'domain has {vfs}')

    def _vf_of_host(self, server: Server, port: str,
                    host: str) -> Iterator[str]:
        """That the NIC and the tracker have it for this server's."""
        address = self._address(port)
        vf = self._cloud.hosts.planes[host].vfs.get(address)
        if vf is None or (vf.owner, vf.mac, vf.vlan or 0) != (
                server.uuid, server.macs[port],
                self._cloud.neutron.vlan_of(port)):
            yield f'VF {address} of port {port} is {vf} on {host}'
        for what, devices in self._trackers(host):
            owners = [device.instance_uuid for device in devices
                      if device.address == address
                      and device.status == fields.PciDeviceStatus.ALLOCATED]
            if owners != [server.uuid]:
                yield (f'VF {address} of port {port} is of {owners} in '
                       f'the {what} of {host}')

    def _trackers(
        self, host: str,
    ) -> Iterator[tuple[str, list[objects.PciDevice]]]:
        cloud = self._cloud
        yield 'tracker', list(
            cloud.computes[host].manager.rt.pci_tracker.pci_devs)
        yield 'database', list(objects.PciDeviceList.get_by_compute_node(
            cloud.ctxt, objects.ComputeNode.get_by_nodename(
                cloud.ctxt, host).id))

    def _foreign_vfs(self, host: str, plane: typing.Any,
                     servers: list[Server]) -> Iterator[str]:
        """VFs that are held for other ports than those that are here."""
        expected = sorted(self._address(port) or ''
                          for server in servers for port in server.macs)
        for what, devices in self._trackers(host):
            held = sorted(device.address for device in devices
                          if device.dev_type == 'type-VF'
                          and device.status in _HELD)
            if held != expected:
                yield (f'its {what} holds the VFs {held}, and those of its '
                       f'servers are {expected}')
        # A guest that does not say which of the two NICs it uses keeps both.
        may = collections.Counter(
            server.uuid for server in servers for _port in server.macs)
        must = may - collections.Counter(
            server.uuid for server in servers
            for _port in self.degraded(server) & set(server.macs))
        owned = collections.Counter(
            vf.owner or f'nobody with the MAC {vf.mac}'
            for vf in plane.vfs.values() if vf.owner or vf.mac)
        if not must <= owned <= may:
            yield (f'its VFs are of {dict(owned)} and should be of '
                   f'{dict(must)}')

    def _foreign_links(self, host: str, plane: typing.Any,
                       servers: list[Server]) -> Iterator[str]:
        """Macvtaps and VLAN devices that no degraded port uses.

        And whatever was there before and is not any more.
        """
        now = plane.snapshot()
        wanted = sorted(server.macs[port] for server in servers
                        for port in self.degraded(server))
        macvtaps = sorted(mac for _source, mac, _flowing in now['macvtaps'])
        if not set(macvtaps) <= set(wanted):
            yield f'its macvtaps are {macvtaps}, and {wanted} are degraded'
        links, clean = set(now['links']), set(
            self._cloud.clean[host]['links'])
        left = links - clean - {
            source for source, _mac, _flowing in now['macvtaps']}
        if left:
            yield f'its links {sorted(left)} are left'
        if clean - links:
            yield f'its links {sorted(clean - links)} are gone'


def _untrue(migration: dict[str, typing.Any],
            host: str | None) -> Iterator[str]:
    """What is not so of the last migration of a server that is on a host."""
    arrived = migration['status'] in ('completed', 'confirmed', 'done')
    place = migration['dest_compute' if arrived else 'source_compute']
    if place != host:
        yield (f'migration {migration["id"]} from '
               f'{migration["source_compute"]} to '
               f'{migration["dest_compute"]} is {migration["status"]} and '
               f'the guest is on {host}')


def _hosts(providers: Iterable[str], uuids: dict[str, str]) -> list[str]:
    names = {uuid: host for host, uuid in uuids.items()}
    return sorted(names.get(provider, provider) for provider in providers)
