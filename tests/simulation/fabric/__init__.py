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

"""The hosts, their NICs and a guest as network namespaces of this machine.

Real: every interface. A PF and its VFs are veth pairs whose other ends are
ports of the NIC's switch; the standby is a macvtap on the PF; what is sent
through the macvtap goes to a TAP device in the guest's namespace, moved by a
process as QEMU's vhost would. Simulated: the switch inside the NIC, which is a
bridge with static rules, see :mod:`tests.simulation.fabric.nic`.
"""
