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

"""Outfits that nothing was put into yet."""

from nova_vf_failover.guest import links
from nova_vf_failover.guest import outfit


def bare(name='eth0', index=3):
    """What a NIC wears that has only been made."""
    return outfit.Outfit(
        name, index, links.Appearance(
            mtu=1500, flags=0, txqlen=1000, group=0, alias=''),
        taken=0.0, sysctls={}, unusual={}, groups=[])
