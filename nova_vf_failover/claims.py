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

import typing

from nova import objects
from nova.objects import fields

from nova_vf_failover import exception


class Claims:
    """The VFs that Nova's resource tracker has given to servers here.

    :param resource_tracker: nova-compute's own, which holds the PCI tracker
    """

    def __init__(self, resource_tracker: typing.Any) -> None:
        self._resource_tracker = resource_tracker

    def reclaim(self, instance: objects.Instance,
                vif: dict[str, typing.Any]) -> objects.PciDevice:
        """The VF that the tracker of this host has given to this port.

        :param vif: the port's VIF with the binding of this host
        :raises exception.CannotSwap: the tracker has not given it that VF
        """
        address = (vif.get('profile') or {}).get('pci_slot')
        for device in self._resource_tracker.pci_tracker.pci_devs:
            if (device.address == address
                    and device.instance_uuid == instance.uuid
                    and device.status == fields.PciDeviceStatus.ALLOCATED):
                return device
        raise exception.CannotSwap(
            vif['id'],
            f'its binding names VF {address}, which the PCI tracker of this '
            f'host has not allocated to server {instance.uuid}.',
            'Hard reboot the server to have its VF plugged anew.')

    def known(self) -> bool:
        """Whether the tracker exists; it is made in its first update."""
        return self._resource_tracker.pci_tracker is not None

    def pending(self) -> bool:
        """Whether a VF is claimed here for a server that is on its way."""
        return any(device.status == fields.PciDeviceStatus.CLAIMED
                   for device in self._resource_tracker.pci_tracker.pci_devs)

    def release(self, context: typing.Any,
                instance: objects.Instance) -> None:
        """Give back what a refused live migration has claimed here.

        Nova itself would keep it claimed until its next periodic update, see
        bug 1860555.
        """
        self._resource_tracker.free_pci_device_claims_for_instance(
            context, instance)
