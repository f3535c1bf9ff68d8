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

"""Nova's PCI tracker on this host: which VF is whose."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import copy
import functools
import typing

from nova import exception as nova_exception
from nova import objects
from nova.objects import fields
from oslo_log import log as logging

from nova_vf_failover import exception
from nova_vf_failover import fitness as vf_fitness
from nova_vf_failover import nova_types

LOG = logging.getLogger(__name__)

VIF = nova_types.VIF
Status = fields.PciDeviceStatus


class Claims:
    """The VFs that Nova's resource tracker has given to servers here.

    :param resource_tracker: nova-compute's own, which holds the PCI tracker
    :param network_api: Nova's, which keeps the bindings of ports in Neutron
    :param host: the name of this compute service
    :param fitness: says what is wrong with a VF
    """

    def __init__(self, resource_tracker: typing.Any, network_api: typing.Any,
                 host: str, fitness: vf_fitness.Fitness) -> None:
        self._resource_tracker = resource_tracker
        self._network_api = network_api
        self._host = host
        self._fitness = fitness

    def of(self, context: typing.Any,
           instance: objects.Instance) -> ServerClaims:
        """What the tracker has given to one server."""
        return ServerClaims(
            self._resource_tracker, self._network_api, self._host,
            functools.partial(self._fitness.fault, server=instance.uuid),
            context, instance)

    def known(self) -> bool:
        """Whether the tracker exists; it is made in its first update."""
        return self._resource_tracker.pci_tracker is not None

    def fault(self, instance: objects.Instance, address: str) -> str | None:
        """Why a server cannot use the VF at a PCI address, a clause."""
        return self._fitness.fault(address, instance.uuid)

    def release(self, context: typing.Any,
                instance: objects.Instance) -> None:
        """Give back what a live migration has claimed here that is not made.

        Nova itself would keep it claimed until its next periodic update, see
        bug 1860555.
        """
        self._resource_tracker.free_pci_device_claims_for_instance(
            context, instance)


class ServerClaims:
    """The VFs of one server, and how it comes to another one.

    Placement has no part in it: Nova does not report devices with a physical
    network there (nova/compute/pci_placement_translator.py, ``_add_dev``),
    and a port with a guaranteed bandwidth, whose PF is a provider of
    Placement, has the name of the PF in its PCI request, so that no VF of
    another PF satisfies it.

    :param fault: says what is wrong with the VF at a PCI address, or None
    """

    def __init__(self, resource_tracker: typing.Any, network_api: typing.Any,
                 host: str, fault: Callable[[str], str | None],
                 context: typing.Any, instance: objects.Instance) -> None:
        self._resource_tracker = resource_tracker
        self._network_api = network_api
        self._host = host
        self._fault = fault
        self._context = context
        self._instance = instance

    def find(self, vif: VIF) -> objects.PciDevice:
        """The VF that the tracker has given to this port.

        :param vif: the port's VIF with the binding of this host
        :raises exception.CannotSwap: the tracker has not given it that VF
        """
        for device in self._held():
            if device.address == _address(vif):
                return device
        raise exception.CannotSwap(
            exception.ports(vif['id']),
            f'its binding names VF {_address(vif)}, which the PCI tracker of '
            f'this host has not allocated to server {self._instance.uuid}.',
            'Hard reboot the server to have its VF plugged anew.')

    def confirm(self, vif: VIF) -> None:
        """See that the VFs of a port are still those that Nova has read.

        Which one it frees after a detach Nova reads before it asks the driver
        for it (nova/compute/manager.py, ``_detach_interface``).

        :raises exception.Busy: the port has been given another VF since
        """
        request = self._request(vif)
        held = {device.address for device in self._held()}
        # Nova leaves out those of other hosts, too: one that was evacuated
        # has its VF there until that host works again.
        ours = self._resource_tracker.pci_tracker.node_id
        exchanged = [device.address for device in self._instance.pci_devices
                     if request and device.request_id == request.request_id
                     and device.compute_node_id == ours
                     and device.address not in held]
        if exchanged:
            raise exception.Busy(
                f'Port {vif["id"]} has been given another VF in place of '
                f'{", ".join(exchanged)} meanwhile. Try again.')

    def reclaim(self, vif: VIF, spoiled: str = '') -> VIF:
        """The port with a VF of this host that can be used.

        That is the VF of its binding, or else another one that satisfies the
        port's PCI request: claimed, then written into the binding, and only
        then is the other one given back, as Nova gives back the VF of a port
        that is detached. Whoever finds a server with two VFs for one port,
        after a crash in between, goes on from there.

        :param spoiled: the address of a VF that is not wanted
        :raises exception.CannotSwap: there is none
        """
        request = self._request(vif)
        if request is None:
            self.find(vif)
            return vif
        self._allocate()
        held = [device for device in self._held()
                if device.request_id == request.request_id]
        held.sort(key=lambda device: device.address != _address(vif))
        faults: dict[str, str] = {}
        for device in held:
            if device.address == spoiled:
                faults[spoiled] = f'VF {spoiled} cannot be attached'
            elif self._usable(device, faults):
                chosen = device
                break
        else:
            chosen = self._claim(vif, request, faults)
        others = [device for device in held if device is not chosen]
        if chosen.address != _address(vif):
            LOG.warning('Port %(port)s gets VF %(vf)s: %(faults)s',
                        {'port': vif['id'], 'vf': chosen.address,
                         'faults': '; '.join(faults.values())
                         or f'VF {_address(vif)} is not of this server'},
                        instance=self._instance)
            vif = self._bind(vif, others)
        for device in others:
            self._resource_tracker.unclaim_pci_devices(
                self._context, device, self._instance)
        return vif

    def _held(self) -> list[objects.PciDevice]:
        return [device for device
                in list(self._resource_tracker.pci_tracker.pci_devs)
                if device.instance_uuid == self._instance.uuid
                and device.status == Status.ALLOCATED]

    def _request(self, vif: VIF) -> objects.InstancePCIRequest | None:
        """What Nova has once asked the tracker for on behalf of the port."""
        for request in self._instance.pci_requests.requests:
            if request.requester_id == vif['id']:
                return request
        return None

    def _allocate(self) -> None:
        """Take what is claimed for the server as its own.

        It is here, so a claim is what a crash has left; a new one would make
        the tracker forget it (nova/pci/manager.py, ``claim_instance``).
        """
        if any(device.instance_uuid == self._instance.uuid
               and device.status == Status.CLAIMED
               for device in self._resource_tracker.pci_tracker.pci_devs):
            self._resource_tracker.allocate_pci_devices_for_instance(
                self._context, self._instance)

    def _usable(self, device: objects.PciDevice,
                faults: dict[str, str]) -> bool:
        """Whether a VF has no fault; one that it has is added."""
        fault = self._fault(device.address)
        if fault:
            faults[device.address] = fault
        return not fault

    def _claim(self, vif: VIF, request: objects.InstancePCIRequest,
               faults: dict[str, str]) -> objects.PciDevice:
        """Another VF, allocated to the server.

        The tracker does not know which of its VFs can be used, so it is
        asked until it gives one that can.
        """
        wanted = objects.InstancePCIRequests(
            requests=[request], instance_uuid=self._instance.uuid)
        refused: list[objects.PciDevice] = []
        try:
            while True:
                device, = self._resource_tracker.claim_pci_devices(
                    self._context, wanted, self._numa_topology())
                if self._usable(device, faults):
                    break
                refused.append(device)
        except (nova_exception.PciDeviceRequestFailed, ValueError) as error:
            # A tracker without any device returns none.
            raise exception.CannotSwap(
                exception.ports(vif['id']),
                'no VF of this host can be used for it.',
                'Mend one, or migrate the server.',
                '; '.join(faults.values())) from error
        finally:
            for unusable in refused:
                self._resource_tracker.unclaim_pci_devices(
                    self._context, unusable, self._instance)
        self._allocate()
        return device

    def _numa_topology(self) -> typing.Any:
        """Where on this host the server has its CPUs and its memory.

        Nova writes that into the instance of a server that has just arrived
        when it has heard of the driver that it is here
        (nova/compute/manager.py, ``apply_migration_context``); its own claim
        for it was made with that of the migration, too.
        """
        if (self._instance.host != self._host
                and self._instance.migration_context):
            return self._instance.migration_context.new_numa_topology
        return self._instance.numa_topology

    def _bind(self, vif: VIF, others: list[objects.PciDevice]) -> VIF:
        """Have the port's binding name the VF that is not among others.

        As Nova does it where a server comes to other VFs without a
        migration, when it is unshelved.
        """
        # The instance may have been read before the tracker has changed.
        bound = {_address(port)
                 for port in self._instance.get_network_info()}
        # Nova takes the first of a port's devices, and binds every port of
        # the server. Another one that holds two keeps the one it is bound to.
        self._instance.pci_devices.objects = [
            copy.copy(device) for device in sorted(
                self._held(), key=lambda device: device.address not in bound)
            if device not in others]
        self._network_api.setup_instance_network_on_host(
            self._context, self._instance, self._host,
            provider_mappings=_providers(self._instance.get_network_info()))
        ports: list[VIF] = self._network_api.get_instance_nw_info(
            self._context, self._instance)
        for new in ports:
            if new['id'] == vif['id']:
                return new
        raise exception.CannotSwap(
            exception.ports(vif['id']),
            f'server {self._instance.uuid} does not have it any more.',
            'Recovery takes its NICs out.')


def _address(vif: VIF) -> str | None:
    return (vif.get('profile') or {}).get('pci_slot')


def _providers(network_info: Iterable[VIF]) -> dict[str, list[str]]:
    """Which provider of Placement serves which request of the ports.

    Nova wants to know it of ports with a guaranteed bandwidth, and it is in
    their bindings: by group, or one for the port where Neutron is older than
    the extension port-resource-request-groups.
    """
    providers = {}
    for vif in network_info:
        allocation = (vif.get('profile') or {}).get('allocation')
        if isinstance(allocation, str):
            providers[vif['id']] = [allocation]
        else:
            providers |= {group: [provider] for group, provider
                          in (allocation or {}).items()}
    return providers
