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

"""What is known to help with the driver of the PF, and nothing else."""

from __future__ import annotations

from nova_vf_failover.steering import base
from nova_vf_failover.steering import functions
from nova_vf_failover.steering import none
from nova_vf_failover.steering import placeholder
from nova_vf_failover.steering import refilter


class AutoSteering(base.Steering):
    """Chooses by the PF's driver, after what was read of them.

    doc/source/receive-filters.rst has the functions of the kernel that each
    line rests on. Not here is mlx5_core, where a VF's filter follows its own
    list and not its administrative MAC, and everything nobody has read.
    """

    def __init__(self, host: functions.Functions | None = None) -> None:
        super().__init__(host)
        plain = placeholder.PlaceholderSteering(self._host)
        self._known: dict[str, base.Steering] = {
            'igb': plain,
            'ixgbe': plain,
            'i40e': plain,
            # Before Linux 5.19 it kept nothing of a filter that it refused.
            'ice': placeholder.PlaceholderSteering(self._host, renew=True),
            'bnxt_en': refilter.RefilterSteering(self._host),
        }
        self._other = none.NoSteering(self._host)

    def to_standby(self, vif: base.VIF, device: str) -> None:
        self._chosen(vif).to_standby(vif, device)

    def vf_left(self, vif: base.VIF, device: str) -> None:
        self._chosen(vif).vf_left(vif, device)

    def _chosen(self, vif: base.VIF) -> base.Steering:
        function = self._host.find(vif['profile']['pci_slot'])
        return self._known.get(self._host.driver(function), self._other)
