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

"""Addresses that a guest takes from a standby, as it would from its VF.

The owner of a virtual address (keepalived, Pacemaker) lets go of it when
another host has it. It must not come back with the VF.
"""

import ipaddress
import socket
import typing

from nova_vf_failover.guest import addresses
from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import nexthops
from nova_vf_failover.guest import outfit
from nova_vf_failover.guest import routes
from nova_vf_failover.guest import rtnetlink
from nova_vf_failover.guest import switch

#: the first address of each network of a NIC
Heirs = typing.Dict[typing.Any, bytes]


def forget(kernel: netlink.Netlink, nic: links.Nic,
           worn: outfit.Outfit) -> None:
    """Leave out of an outfit what its standby, which is in use, has no more.

    The kernel itself takes addresses from a NIC that is set down, or has no
    IPv6 any more; but then it takes all of a family, or all routes over the
    NIC as well.
    """
    if not nic.up:
        return
    present = {addresses.plain(body)
               for body in addresses.of(kernel, nic.index)}
    lost = [body for body in worn.settled
            if addresses.plain(body) not in present]
    if not lost:
        return
    intact = {family for family, _ in present} & _led(kernel, nic)
    gone = [body for body in lost if rtnetlink.family(body) in intact]
    kept = [body for body in worn.addresses if body not in gone]
    worn.addresses = kept
    sources = set(map(addresses.destination, gone))
    heirs: Heirs = {}
    for body in kept:
        heirs.setdefault(addresses.network(body), addresses.destination(body))
    networks = set(map(addresses.network, gone)) - set(heirs)
    worn.change_routes(lambda bodies: filter(None, (
        _left(body, sources, heirs) for body in bodies
        if not _made_for(body, networks))))


def _led(kernel: netlink.Netlink, nic: links.Nic) -> typing.Set[int]:
    """The families of which the agent's own routes lead over a NIC."""
    leading, others = routes.Routes(
        kernel, nexthops.Nexthops(kernel)).over(nic.index)
    return {rtnetlink.family(body) for body in leading + others
            if switch.is_copy(routes.table(body))}


def _made_for(body: bytes, networks: typing.Container[typing.Any]) -> bool:
    """Whether the kernel has put a route for one of these networks."""
    return _network(body) in networks


def _network(body: bytes) -> typing.Any:
    """That of whose addresses the kernel has put a route, if it has."""
    place = dict(netlink.attributes(
        body, rtnetlink.RTMSG.size)).get(rtnetlink.RTA_DST)
    if not routes.of_the_kernel(body) or place is None:
        return None
    return ipaddress.ip_network((place, rtnetlink.Rtmsg.of(body).rtm_dst_len))


def _left(body: bytes, sources: typing.Set[bytes], heirs: Heirs) -> bytes:
    """What a kernel leaves of a route when its source goes, if anything.

    IPv4 removes it (net/ipv4/fib_semantics.c, fib_sync_down_addr), but that
    of a network that has other addresses is made anew for the first of them
    (net/ipv4/devinet.c, promote_secondaries); IPv6 chooses another source
    (net/ipv6/route.c, rt6_remove_prefsrc).
    """
    its = list(netlink.attributes(body, rtnetlink.RTMSG.size))
    kept = [(kind, value) for kind, value in its
            if kind != rtnetlink.RTA_PREFSRC or value not in sources]
    if len(kept) == len(its):
        return body
    if rtnetlink.family(body) == socket.AF_INET:
        heir = heirs.get(_network(body))
        if heir is None:
            return b''
        kept.append((rtnetlink.RTA_PREFSRC, heir))
    return body[:rtnetlink.RTMSG.size] + b''.join(
        netlink.attribute(kind, value) for kind, value in kept)
