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

NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
#: struct rtmsg: family, destination and source length, tos, table, protocol,
#: scope, type, flags
HEADER = struct.Struct('=BBBBBBBBI')
# include/uapi/linux/rtnetlink.h
DST, OIF, GATEWAY, PRIORITY, PREFSRC, MULTIPATH, CACHEINFO = (
    1, 4, 5, 6, 7, 9, 12)
TABLE, VIA, ENCAP_TYPE, ENCAP, EXPIRES, NH_ID = 15, 18, 21, 22, 23, 30
MAIN_TABLE, LOCAL_TABLE = 254, 255
#: those to which a rule leads in every guest: "default", "main", "local"
COMMON_TABLES = (253, MAIN_TABLE, LOCAL_TABLE)
_PROTO_KERNEL = 2
# struct rta_cacheinfo: users, last use, expiry in hundredths of a second
_EXPIRY = struct.Struct('=IIi')
#: of routes to what the kernel takes in
LOCAL = 2
_CLONED = 0x200

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
            for body in kernel.dump(GETROUTE, HEADER.pack(
                    family, 0, 0, 0, 0, 0, 0, 0, 0)):
                if body[0] != family or HEADER.unpack_from(
                        body)[8] & _CLONED:
                    continue
                number = table(body)
                if number != LOCAL_TABLE or body[5] != _PROTO_KERNEL:
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
    for kind, value in netlink.attributes(body, HEADER.size):
        if kind == TABLE:
            return netlink.number(value) or 0
    return body[4]


def life(cacheinfo: bytes) -> float:
    """Seconds that a route is there for, 0 for one without an end."""
    expiry: int = _EXPIRY.unpack_from(cacheinfo)[2]
    return expiry / 100.0


def needs_its_source(body: bytes) -> bool:
    """Whether it is refused as long as its NIC lacks an address.

    IPv6 looks for the preferred source on the NIC itself (net/ipv6/route.c,
    ip6_route_info_create).
    """
    return body[0] == socket.AF_INET6 and any(
        kind == PREFSRC for kind, _ in netlink.attributes(
            body, HEADER.size))


def of_the_kernel(body: bytes) -> bool:
    return body[5] == _PROTO_KERNEL


def same_place(body: bytes) -> typing.Any:
    """What two routes have in common of which only one can be.

    It is so for the routes that the kernel makes for addresses.
    """
    return (body[0], table(body)) + _place(body)


def _devices(body: bytes,
             objects: nexthops.Nexthops) -> typing.Collection[int]:
    index: typing.Collection[int] = ()
    for kind, value in netlink.attributes(body, HEADER.size):
        if kind == NH_ID:
            return objects.devices(netlink.number(value) or 0)
        if kind == OIF:
            index = (netlink.number(value) or 0,)
        elif kind == MULTIPATH:
            index = [hop[3] for hop in hops.of(value)]
    return index


def next_hops(bodies: typing.Iterable[bytes]) -> typing.Set[bytes]:
    """The addresses of the next hops, as bytes."""
    return {value for body in bodies
            for kind, value in netlink.attributes(body, HEADER.size)
            if kind == GATEWAY}


def _place(body: bytes) -> typing.Any:
    destination = priority = b''
    for kind, value in netlink.attributes(body, HEADER.size):
        if kind == DST:
            destination = value
        elif kind == PRIORITY:
            priority = value
    return body[1], body[3], destination, priority
