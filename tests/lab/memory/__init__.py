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

"""What a VF costs a guest with much memory, on an emulated host.

VFIO pins all memory of a guest when the first VF is attached to it. A nested
host of :mod:`tests.lab.sriov` attaches and detaches one while the traffic of
the guest runs over its standby.
"""
