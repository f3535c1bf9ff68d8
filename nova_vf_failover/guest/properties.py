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

"""What udev, and whoever asks udev, is to know of a NIC.

Network managers wait for udev before they touch a NIC. A rule
(etc/vf-failover-agent/70-vf-failover.rules) asks for these properties for each
NIC that comes, before the service can know of it.
"""

import typing

from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import snapshot

#: "standby": nobody but the agent may touch it
ROLE = 'VF_FAILOVER'
#: the name that the guest's configuration knows it by
NAME = 'VF_FAILOVER_NAME'
STANDBY = 'standby'

Properties = typing.Dict[str, str]


def of(name: str, folder: str,
       standby_drivers: typing.FrozenSet[str]) -> Properties:
    """The properties of a NIC of this network namespace.

    :param folder: that of the service's snapshot
    """
    with netlink.Netlink() as kernel:
        nics = links.Links(kernel, standby_drivers)
        nic = nics.named(name)
        if nic is None or nic.master:
            return {}
        return _of(nic, nics, snapshot.Snapshot(folder))


def _of(nic: links.Nic, nics: links.Links,
        kept: snapshot.Snapshot) -> Properties:
    for mac in (nic.mac, links.parked(nic.mac)):
        primary, standby = nics.pair(mac)
        if standby and standby.index == nic.index:
            if primary or (mac in kept.away and not kept.restarted):
                return {ROLE: STANDBY}
            # After a start of the guest it may be all that a port has; then
            # it is to be configured like any other NIC.
            primary = standby
        if primary and primary.index == nic.index and mac in kept.names:
            return {NAME: _free(kept.names[mac], nic, nics)}
    return {}


def _free(name: str, nic: links.Nic, nics: links.Links) -> str:
    """The name that a NIC is known by; its own one if that is taken.

    So it is beside a standby that the guest was started anew on. udev itself
    may be about to choose the very same name, and leaves a NIC that it cannot
    rename as one that it has not seen (udev-event.c, rename_netif): then
    nobody would ever configure it.
    """
    holder = nics.named(name)
    return nic.name if holder and holder.index != nic.index else name
