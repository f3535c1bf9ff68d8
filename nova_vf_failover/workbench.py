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

"""Everything of one compute service that moving a server's ports needs."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import functools
import typing

from nova import exception as nova_exception
from nova.network import model
from nova import objects
from nova.virt.libvirt import guest as libvirt_guest
from oslo_config import cfg
from oslo_log import log as logging

from nova_vf_failover import aftermath
from nova_vf_failover import claims
from nova_vf_failover import domain as vf_domain
from nova_vf_failover import fitness
from nova_vf_failover import negotiation
from nova_vf_failover import nova_types
from nova_vf_failover import operations
from nova_vf_failover import ports as vf_ports
from nova_vf_failover import registry
from nova_vf_failover import reporting
from nova_vf_failover import selection
from nova_vf_failover.standby import base as standbys
from nova_vf_failover.steering import filters
from nova_vf_failover import swap

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

Context = nova_types.Context


class LibvirtDriver(typing.Protocol):
    """What is used of Nova's libvirt driver."""

    _host: typing.Any
    _detach_with_retry: vf_domain.Detach
    vif_driver: typing.Any

    def _build_device_metadata(self, context: Context,
                               instance: objects.Instance) -> typing.Any:
        ...

    def attach_interface(self, context: Context, instance: objects.Instance,
                         image_meta: typing.Any, vif: model.VIF) -> None:
        ...


class Workbench:
    """Makes the swap of a server out of what the operator has chosen.

    :param driver: Nova's libvirt driver of this service
    :param compute: nova-compute's manager: its resource tracker and its
        access to Neutron
    :param host: the name of this compute service
    """

    def __init__(self, driver: LibvirtDriver, compute: typing.Any,
                 host: str) -> None:
        self._driver = driver
        self._compute = compute
        self.host = host
        self.standby = registry.STANDBY.make()
        self.channel = registry.CHANNEL.make()
        self._steering = registry.STEERING.make()
        self.claims = claims.Claims(compute.rt, compute.network_api, host,
                                    fitness.Fitness(self.guests))
        self.selection = selection.Selection(compute)
        self.operations = operations.Operations()
        self.aftermath = aftermath.Aftermath(compute, host)

    def guests(self) -> list[libvirt_guest.Guest]:
        """The running domains of this host."""
        guests: list[libvirt_guest.Guest] = self._driver._host.list_guests(
            only_running=True)
        return guests

    def devices(self) -> set[str]:
        """The host's network devices that these domains have."""
        return {nic.device for guest in self.guests()
                for nic in self.domain_of(guest).interfaces() if nic.device}

    def guest(self, instance: objects.Instance) -> libvirt_guest.Guest:
        """The domain of a server as Nova wraps it.

        :raises nova.exception.InstanceNotFound: it has none here
        """
        return self._driver._host.get_guest(instance)

    def power_state(self, instance: objects.Instance) -> int:
        """Nova's power state of a server."""
        return int(
            self.guest(instance).get_power_state(self._driver._host))

    def domain(self, instance: objects.Instance) -> vf_domain.Domain:
        """The domain of a server as we see it."""
        return self.domain_of(self.guest(instance))

    def domain_by_uuid(self, server: str) -> vf_domain.Domain:
        """The domain of a server of which nothing but its UUID is known.

        Nova asks an instance for nothing else where it looks for its domain.

        :raises nova.exception.InstanceNotFound: it has none here
        """
        return self.domain(objects.Instance(uuid=server))

    def domain_of(self, guest: libvirt_guest.Guest) -> vf_domain.Domain:
        """A running domain as we see it."""
        return vf_domain.Domain(guest, guest.uuid,
                                self._driver._detach_with_retry)

    def ports(self, network_info: Iterable[model.VIF]) -> list[vf_ports.Port]:
        """The VF ports among those of a server."""
        return [self.port(vif) for vif in network_info
                if negotiation.is_vf(vif)]

    def port(self, vif: model.VIF) -> vf_ports.Port:
        """A VF port with its binding on this host."""
        return vf_ports.Port(vif['id'], vif['address'].lower(), vif)

    def network_info(self, context: Context,
                     instance: objects.Instance) -> model.NetworkInfo:
        """The ports of a server as Neutron knows them now."""
        return self._compute.network_api.get_instance_nw_info(
            context, instance)

    def reporter(self, context: Context,
                 instance: objects.Instance) -> reporting.Reporter:
        """Who tells about a server."""
        return reporting.Reporter(context, instance, self.host)

    def swap(self, context: Context, instance: objects.Instance,
             operation: operations.Operation | None = None) -> swap.Swap:
        """The moves of a server's ports.

        :raises nova.exception.InstanceNotFound: it has no domain here
        :raises exception.JournalError: nobody knows where they stand
        """
        attach: Callable[[standbys.VIF], None] = functools.partial(
            self._driver.attach_interface, context, instance,
            instance.image_meta)
        plugs = vf_ports.Plugs(
            attach=attach,
            unplug=functools.partial(self._unplug, instance),
            note=functools.partial(self._note_devices, context, instance))
        return swap.Swap(
            instance, self.domain(instance), plugs, self.standby,
            self.channel, filters.Filters(self._steering, instance),
            self.claims.of(context, instance),
            self.reporter(context, instance), operation)

    def _unplug(self, instance: objects.Instance, vif: model.VIF) -> None:
        try:
            self._driver.vif_driver.unplug(instance, vif)
        except nova_exception.PciDeviceNotFoundById as error:
            # Nova takes the trust from a VF (nova/virt/libvirt/vif.py,
            # set_vf_trusted), which one that has left the host has not.
            LOG.warning('The VF of port %(port)s has gone: %(error)s',
                        {'port': vif['id'], 'error': error},
                        instance=instance)

    def owns(self, context: Context, instance: objects.Instance,
             port_id: str) -> bool:
        """Whether a port is a server's, in Neutron and not in Nova's cache.

        The cache has lost ports before (bug 1751923).
        """
        try:
            port = self._compute.network_api.show_port(context, port_id)
        except nova_exception.PortNotFound:
            return False
        return bool(port['port'].get('device_id') == instance.uuid)

    def _note_devices(self, context: Context,
                      instance: objects.Instance) -> None:
        try:
            instance.device_metadata = self._driver._build_device_metadata(
                context, instance)
            instance.save()
        except Exception:
            # Of the database: what the guest's metadata says of its NICs is
            # no reason to call a move a failure.
            LOG.exception('Where the NICs of the server are cannot be noted '
                          'down', instance=instance)
