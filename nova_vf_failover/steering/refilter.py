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

"""The standby's filter, refused while the VF had it, is asked for again."""

from nova_vf_failover.steering import base


class RefilterSteering(base.Steering):
    """For PFs on which a VF with another MAC keeps its filter.

    There the standby hears nothing until the VF has gone, and without this
    driver nothing after it either.
    """

    def to_standby(self, vif: base.VIF, device: str) -> None:
        """Nothing to do: the VF cannot be made to let go of its filter."""

    def vf_left(self, vif: base.VIF, device: str) -> None:
        self._host.renew_filter(device)
