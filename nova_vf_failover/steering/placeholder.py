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

"""The VF is given another MAC, so that its own is left for the standby."""

from __future__ import annotations

from oslo_log import log as logging

from nova_vf_failover.steering import base
from nova_vf_failover.steering import functions

LOG = logging.getLogger(__name__)

_NO_MAC = '00:00:00:00:00:00'


class PlaceholderSteering(base.Steering):
    """For PFs whose driver takes the VF's filter away in the same call.

    :param renew: whether the PF has refused the standby's filter while the VF
        had it, and has to be asked once more
    """

    def __init__(self, host: functions.Functions | None = None,
                 renew: bool = False) -> None:
        super().__init__(host)
        self._renew = renew

    def to_standby(self, vif: base.VIF, device: str) -> None:
        function = self._host.find(vif['profile']['pci_slot'])
        held = base.placeholder(vif['address'])
        if self._host.mac(function) != held:
            self._host.set_mac(function, held)
        if self._renew:
            self._host.renew_filter(device)

    def vf_left(self, vif: base.VIF, device: str) -> None:
        # libvirt has given it the MAC that it had before its attach
        # (src/hypervisor/virhostdev.c, virHostdevRestoreNetConfig), unless
        # something was in the way.
        function = self._host.find(vif['profile']['pci_slot'])
        if self._host.mac(function) == base.placeholder(vif['address']):
            LOG.warning('VF %s was left with a placeholder for the MAC of '
                        'port %s; it is taken away', function.address,
                        vif['id'])
            self._host.set_mac(function, _NO_MAC)
