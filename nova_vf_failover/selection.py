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

"""Which VFs are claimed for a server before it comes by live migration.

Nova's PCI tracker does not know whether a VF is still there, whether its PF is
up or whether a standby could be on that PF, and it gives the same VF each time
it is asked. One that is of no use would keep every server from this host.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import typing

from nova import exception as nova_exception
from nova import objects
from nova.objects import fields
from oslo_log import log as logging

from nova_vf_failover import nova_types

LOG = logging.getLogger(__name__)

Context = nova_types.Context
MigrateData = nova_types.MigrateData


class Selection:
    """Has Nova claim other VFs where some that it has claimed are of no use.

    :param compute: nova-compute's manager, whose own code claims them
    """

    def __init__(self, compute: typing.Any) -> None:
        self._compute = compute

    def improve(self, context: Context, instance: objects.Instance,
                data: MigrateData,
                useless: Callable[[], dict[str, str]]) -> None:
        """Claim the VFs of a server anew until all of them can be used.

        Those that cannot stay claimed meanwhile, so that the tracker gives
        others. Where it has no others all is as Nova has claimed it.

        :param data: names the VFs that are claimed
        :param useless: what is wrong with some of them, by PCI address
        """
        refused: list[objects.PciDevice] = []
        faults: dict[str, str] = {}
        try:
            while found := useless():
                claimed = self._claimed(instance, data)
                spoiled = [device for device in claimed
                           if device.address in found]
                if not spoiled:
                    # Nova has not claimed what it has named.
                    return
                refused += spoiled
                faults |= found
                self._unclaim(context, instance, (
                    device for device in claimed if device not in spoiled))
                self._claim(context, instance, data)
        except nova_exception.PciDeviceRequestFailed:
            LOG.warning('There are no other VFs: %s',
                        '; '.join(faults.values()), instance=instance)
            self._unclaim(context, instance, refused)
            refused.clear()
            self._claim(context, instance, data)
        else:
            if faults:
                LOG.warning('Other VFs are claimed: %s',
                            '; '.join(faults.values()), instance=instance)
        finally:
            self._unclaim(context, instance, refused)

    def _claimed(self, instance: objects.Instance,
                 data: MigrateData) -> list[objects.PciDevice]:
        """The VFs of the server's ports, and not those of its flavor."""
        named = {(vif.profile or {}).get('pci_slot') for vif in data.vifs}
        return [device for device
                in list(self._compute.rt.pci_tracker.pci_devs)
                if device.instance_uuid == instance.uuid
                and device.status == fields.PciDeviceStatus.CLAIMED
                and device.address in named]

    def _claim(self, context: Context, instance: objects.Instance,
               data: MigrateData) -> None:
        """As Nova does right before (``check_can_live_migrate_destination``).
        """
        devices = self._compute._claim_pci_for_instance_vifs(
            context, instance)
        self._compute._update_migrate_vifs_profile_with_pci(
            data.vifs, devices)

    def _unclaim(self, context: Context, instance: objects.Instance,
                 devices: Iterable[objects.PciDevice]) -> None:
        for device in devices:
            self._compute.rt.unclaim_pci_devices(context, device, instance)
