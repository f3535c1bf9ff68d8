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

"""Routes, as the kernel has printed them: of every table, type and form."""

import socket
import struct
import typing

from nova_vf_failover.guest import addresses
from nova_vf_failover.guest import hops
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import nexthops
from nova_vf_failover.guest import rtnetlink

#: those to which a rule leads in every guest: "default", "main", "local"
COMMON_TABLES = (rtnetlink.RT_TABLE_DEFAULT, rtnetlink.RT_TABLE_MAIN,
                 rtnetlink.RT_TABLE_LOCAL)
# struct rta_cacheinfo: users, last use, expiry in hundredths of a second
_CACHEINFO = struct.Struct('=IIi')

#: family and number
Table = typing.Tuple[int, int]


class Routes:
    """All routes of this network namespace at one moment, by table.

    Those that the kernel makes for each address in its table "local" are left
    out.

    :param objects: the nexthop objects of the same moment
    """

    def __init__(self, kernel: netlink.Netlink,
                 objects: nexthops.Nexthops) -> None:
        self._objects = objects
        self.tables: typing.Dict[Table, typing.List[bytes]] = {}
        for family in addresses.FAMILIES:
            for body in kernel.dump(rtnetlink.RTM_GETROUTE, rtnetlink.Rtmsg(
                    rtm_family=family).packed()):
                header = rtnetlink.Rtmsg.of(body)
                if (header.rtm_family != family
                        or header.rtm_flags & rtnetlink.RTM_F_CLONED):
                    continue
                number = table(body)
                if (number != rtnetlink.RT_TABLE_LOCAL
                        or header.rtm_protocol != rtnetlink.RTPROT_KERNEL):
                    self.tables.setdefault((family, number), []).append(body)

    def over(self, index: int) -> typing.Tuple[
            typing.List[bytes], typing.List[bytes]]:
        """The routes over a NIC: those that come first, and the others.

        Of the IPv4 routes to one place, with one metric, the first is used.
        """
        leading: typing.List[bytes] = []
        others: typing.List[bytes] = []
        for (family, _), bodies in self.tables.items():
            mine = [body for body in bodies
                    if index in self.devices(body)]
            if family == socket.AF_INET and len(mine) < len(bodies):
                first = self._leading(bodies, index)
                leading += [body for body in mine if _place(body) in first]
                mine = [body for body in mine if _place(body) not in first]
            others += mine
        return leading, others

    def _leading(self, bodies: typing.List[bytes],
                 index: int) -> typing.Set[typing.Any]:
        """The places to which a NIC's route is first, and not the last."""
        found = set()
        before: typing.Any = None
        first = False
        for body in bodies:
            place, mine = _place(body), index in self.devices(body)
            if place != before:
                before, first = place, mine
            elif first and not mine:
                found.add(place)
        return found

    def devices(self, body: bytes) -> typing.Collection[int]:
        """The indexes of the NICs that a route leads over."""
        return _devices(body, self._objects)


def table(body: bytes) -> int:
    for kind, value in netlink.attributes(body, rtnetlink.RTMSG.size):
        if kind == rtnetlink.RTA_TABLE:
            return netlink.number(value) or 0
    return rtnetlink.Rtmsg.of(body).rtm_table


def life(cacheinfo: bytes) -> float:
    """Seconds that a route is there for, 0 for one without an end."""
    _, _, expiry = _CACHEINFO.unpack_from(cacheinfo)
    return int(expiry) / 100.0


def needs_its_source(body: bytes) -> bool:
    """Whether it is refused as long as its NIC lacks an address.

    IPv6 looks for the preferred source on the NIC itself (net/ipv6/route.c,
    ip6_route_info_create).
    """
    return rtnetlink.family(body) == socket.AF_INET6 and any(
        kind == rtnetlink.RTA_PREFSRC for kind, _ in netlink.attributes(
            body, rtnetlink.RTMSG.size))


def of_the_kernel(body: bytes) -> bool:
    return rtnetlink.Rtmsg.of(body).rtm_protocol == rtnetlink.RTPROT_KERNEL


def same_place(body: bytes) -> typing.Any:
    """What two routes have in common of which only one can be.

    It is so for the routes that the kernel makes for addresses.
    """
    return (rtnetlink.family(body), table(body)) + _place(body)


def _devices(body: bytes,
             objects: nexthops.Nexthops) -> typing.Collection[int]:
    index: typing.Collection[int] = ()
    for kind, value in netlink.attributes(body, rtnetlink.RTMSG.size):
        if kind == rtnetlink.RTA_NH_ID:
            return objects.devices(netlink.number(value) or 0)
        if kind == rtnetlink.RTA_OIF:
            index = (netlink.number(value) or 0,)
        elif kind == rtnetlink.RTA_MULTIPATH:
            index = [hop.rtnh_ifindex for hop in hops.of(value)]
    return index


def next_hops(bodies: typing.Iterable[bytes]) -> typing.Set[bytes]:
    """The addresses of the next hops, as bytes."""
    return {value for body in bodies
            for kind, value in netlink.attributes(body, rtnetlink.RTMSG.size)
            if kind == rtnetlink.RTA_GATEWAY}


def _place(body: bytes) -> typing.Any:
    destination = priority = b''
    for kind, value in netlink.attributes(body, rtnetlink.RTMSG.size):
        if kind == rtnetlink.RTA_DST:
            destination = value
        elif kind == rtnetlink.RTA_PRIORITY:
            priority = value
    header = rtnetlink.Rtmsg.of(body)
    return header.rtm_dst_len, header.rtm_tos, destination, priority
