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

import errno
import select
import socket
import struct
import time
import typing

from nova_vf_failover.guest import addresses
from nova_vf_failover.guest import gateways
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import nexthops

_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
# struct rtmsg: family, destination and source length, tos, table, protocol,
# scope, type, flags
_HEADER = struct.Struct('=BBBBBBBBI')
# include/uapi/linux/rtnetlink.h
_DST, _OIF, _GATEWAY, _PRIORITY, _PREFSRC, _MULTIPATH, _CACHEINFO = (
    1, 4, 5, 6, 7, 9, 12)
_TABLE, _VIA, _ENCAP_TYPE, _ENCAP, _EXPIRES, _NH_ID = 15, 18, 21, 22, 23, 30
_COMPAT_TABLE, MAIN_TABLE, LOCAL_TABLE = 252, 254, 255
_PROTO_KERNEL = 2
_LOCAL = 2
_IPV6_ROUTE_CHANGES = 0x400
_LONGEST_MESSAGE = 64 * 1024
_CLONED = 0x200
_ONLINK = 4
# struct rtnexthop: length, flags, hops, index
_HOP = struct.Struct('=HBBi')
# struct rta_cacheinfo: users, last use, expiry in hundredths of a second
_EXPIRY = struct.Struct('=IIi')
# What a route with a nexthop object repeats of that object.
_OF_THE_NEXTHOP = frozenset([_OIF, _GATEWAY, _MULTIPATH, _VIA, _ENCAP_TYPE,
                             _ENCAP])
_NEVER_GIVEN_BACK = frozenset([_TABLE, _CACHEINFO])

# Family and number.
Table = typing.Tuple[int, int]
Indexes = typing.Dict[int, int]
# Of a multipath route: length, flags, weight, index, attributes.
Hop = typing.Tuple[int, int, int, int, bytes]
# Routes, and the seconds since they were printed.
Part = typing.Tuple[typing.Iterable[bytes], float]


class Deliveries:
    """Waits until the kernel takes in what is sent to new addresses.

    The route that does so for an address of IPv6 is made by a task of the
    kernel's own, some time after the address is there (net/ipv6/addrconf.c,
    addrconf_dad_work). It has to be opened before that.

    :param index: of the NIC that gets the addresses
    """

    def __init__(self, index: int) -> None:
        self._kernel = netlink.Netlink(strict=True)
        self._changes = netlink.Netlink(_IPV6_ROUTE_CHANGES)
        self._index = index

    def __enter__(self) -> 'Deliveries':
        return self

    def __exit__(self, *_: typing.Any) -> None:
        self._kernel.close()
        self._changes.close()

    def wait(self, wanted: typing.Set[bytes], limit: float) -> bool:
        """Whether all these addresses are taken in, after a wait.

        :param wanted: addresses of IPv6, as bytes
        :param limit: seconds to wait at most
        """
        until = time.monotonic() + limit
        while not wanted <= self._present():
            left = until - time.monotonic()
            if left <= 0 or not select.select(
                    [self._changes.socket], [], [], left)[0]:
                return False
            try:
                self._changes.socket.recv(_LONGEST_MESSAGE)
            except OSError as error:
                # There were more changes than the socket could hold.
                if error.errno != errno.ENOBUFS:
                    raise
        return True

    def _present(self) -> typing.Set[bytes]:
        found = set()
        for body in self._kernel.dump(_GETROUTE, _HEADER.pack(
                socket.AF_INET6, 0, 0, 0, LOCAL_TABLE, 0, 0, 0, 0)):
            its = dict(netlink.attributes(body, _HEADER.size))
            if (body[7] == _LOCAL and body[0] == socket.AF_INET6
                    and netlink.number(its.get(_OIF)) == self._index):
                found.add(its.get(_DST, b''))
        return found


class Routes:
    """All routes of this network namespace at one moment, by table.

    Those that the kernel makes for each address in its table "local" are left
    out.

    :param hops: the nexthop objects of the same moment
    """

    def __init__(self, kernel: netlink.Netlink,
                 hops: nexthops.Nexthops) -> None:
        self._hops = hops
        self.tables: typing.Dict[Table, typing.List[bytes]] = {}
        for family in addresses.FAMILIES:
            for body in kernel.dump(_GETROUTE, _HEADER.pack(
                    family, 0, 0, 0, 0, 0, 0, 0, 0)):
                if body[0] != family or _HEADER.unpack_from(
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
        return _devices(body, self._hops)


def table(body: bytes) -> int:
    for kind, value in netlink.attributes(body, _HEADER.size):
        if kind == _TABLE:
            return netlink.number(value) or 0
    return body[4]


def needs_its_source(body: bytes) -> bool:
    """Whether it is refused as long as its NIC lacks an address.

    IPv6 looks for the preferred source on the NIC itself (net/ipv6/route.c,
    ip6_route_info_create).
    """
    return body[0] == socket.AF_INET6 and any(
        kind == _PREFSRC for kind, _ in netlink.attributes(
            body, _HEADER.size))


def of_the_kernel(body: bytes) -> bool:
    return body[5] == _PROTO_KERNEL


def same_place(body: bytes) -> typing.Any:
    """What two routes have in common of which only one can be.

    It is so for the routes that the kernel makes for addresses.
    """
    return (body[0], table(body)) + _place(body)


def put(parts: typing.Iterable[Part], indexes: Indexes, hops: Indexes,
        number: typing.Optional[int] = None,
        ) -> typing.Iterator[netlink.Message]:
    """Put routes behind those that are there, in the order of the parts.

    Not "replace": IPv6 has routes of one prefix and metric over several NICs,
    fe80::/64 first of all.

    :param indexes: NICs to lead over instead, by those that were printed
    :param hops: the same for nexthop objects
    :param number: the table to put them into, if not their own
    """
    return _put(parts, netlink.CREATE | netlink.APPEND, indexes, hops, number)


def put_first(bodies: typing.Sequence[bytes], indexes: Indexes,
              hops: Indexes) -> typing.Iterator[netlink.Message]:
    """Put routes of IPv4 in front of those that are there."""
    for body in bodies:
        # The kernel has made it behind another NIC's, for an address.
        if of_the_kernel(body):
            yield netlink.Message(
                _DELROUTE, 0, _changed(body, indexes, hops, None, 0.0))
    yield from _put([(bodies[::-1], 0.0)], netlink.CREATE, indexes, hops, None)


def _put(parts: typing.Iterable[Part], flags: int, indexes: Indexes,
         hops: Indexes, number: typing.Optional[int],
         ) -> typing.Iterator[netlink.Message]:
    for bodies, elapsed in parts:
        for body in bodies:
            made = _changed(body, indexes, hops, number, elapsed)
            if number is None and _has_siblings(body):
                # What is left of it, over other NICs, would be in the way of
                # the whole (net/ipv6/route.c, ip6_route_multipath_add).
                yield netlink.Message(_DELROUTE, 0, made)
            yield netlink.Message(_NEWROUTE, flags, made)


def ways(bodies: typing.Iterable[bytes], indexes: Indexes,
         number: typing.Optional[int] = None) -> typing.Set[gateways.Way]:
    """What has to be there for routes to be accepted, see :mod:`.gateways`.

    :param number: the table that they are put into, if not their own
    """
    found: typing.Set[gateways.Way] = set()
    for body in bodies:
        index = 0
        hops = []
        for kind, value in netlink.attributes(body, _HEADER.size):
            if kind == _OIF:
                index = netlink.number(value) or 0
            elif kind in (_GATEWAY, _VIA):
                hops.append((index, kind, value))
            elif kind == _MULTIPATH:
                hops += [(hop[3],) + its for hop in _hops(value)
                         for its in netlink.attributes(hop[4], 0)
                         if its[0] in (_GATEWAY, _VIA)]
        for its, kind, value in hops:
            its = its or index
            family = body[0]
            if kind == _VIA:
                # struct rtvia: a family, and an address of it
                family, value = struct.unpack_from('=H', value)[0], value[2:]
            found.add((family, value, indexes.get(its, its),
                       table(body) if number is None else number))
    return found


def remove(bodies: typing.Iterable[bytes]) -> typing.Iterator[netlink.Message]:
    for body in bodies:
        yield netlink.Message(
            _DELROUTE, 0, _changed(body, {}, {}, None, 0.0))


#: of routes: there is one already, it has gone with its NIC
HARMLESS = frozenset([errno.EEXIST, errno.ESRCH])


def _changed(body: bytes, indexes: Indexes, hops: Indexes,
             number: typing.Optional[int], elapsed: float) -> bytes:
    """A route with other numbers.

    One whose time is over has a while for its owner to renew it. A copy in a
    table of the agent's own lasts: there nobody renews it.
    """
    copied = number is not None
    found = list(netlink.attributes(body, _HEADER.size))
    object_ = any(kind == _NH_ID for kind, _ in found)
    # IPv6 accepts what is on the link by its table "main", whatever the table
    # of the route (net/ipv6/route.c, ip6_route_check_nh_onlink): a copy would
    # meet the NIC that is left there.
    kept = 0 if number is not None and body[0] != socket.AF_INET else _ONLINK
    made = []
    for kind, value in found:
        if kind == _OIF:
            index = netlink.number(value) or 0
            value = struct.pack('=I', indexes.get(index, index))
        elif kind == _MULTIPATH:
            value = _multipath(value, indexes, kept)
        elif kind == _NH_ID:
            its = netlink.number(value) or 0
            value = struct.pack('=I', hops.get(its, its))
        elif kind == _TABLE:
            number = netlink.number(value) if number is None else number
        elif kind == _CACHEINFO:
            left = _EXPIRY.unpack_from(value)[2] / 100.0
            if left and not copied:
                made.append(netlink.numeric(_EXPIRES, max(
                    int(left - elapsed), addresses.TIME_TO_RENEW)))
        if kind not in _NEVER_GIVEN_BACK and not (
                object_ and kind in _OF_THE_NEXTHOP):
            made.append(netlink.attribute(kind, value))
    number = body[4] if number is None else number
    made.insert(0, netlink.numeric(_TABLE, number))
    flags = 0 if object_ else _HEADER.unpack_from(body)[8] & kept
    return (body[:4] + bytes([number if number < 256 else _COMPAT_TABLE])
            + body[5:8] + struct.pack('=I', flags) + b''.join(made))


def _has_siblings(body: bytes) -> bool:
    return body[0] != socket.AF_INET and any(
        kind == _MULTIPATH
        for kind, _ in netlink.attributes(body, _HEADER.size))


def _multipath(value: bytes, indexes: Indexes, kept: int) -> bytes:
    return b''.join(
        _hop((length, flags & kept, weight, indexes.get(index, index), rest))
        for length, flags, weight, index, rest in _hops(value))


def _hop(hop: Hop) -> bytes:
    made = _HOP.pack(*hop[:4]) + hop[4]
    return made + b'\0' * (-len(made) % 4)


def _hops(value: bytes) -> typing.Iterator[Hop]:
    offset = 0
    while offset + _HOP.size <= len(value):
        length, flags, weight, index = _HOP.unpack_from(value, offset)
        if length < _HOP.size:
            return
        yield (length, flags, weight, index,
               value[offset + _HOP.size:offset + length])
        offset += (length + 3) & ~3


def _devices(body: bytes,
             hops: nexthops.Nexthops) -> typing.Collection[int]:
    index: typing.Collection[int] = ()
    for kind, value in netlink.attributes(body, _HEADER.size):
        if kind == _NH_ID:
            return hops.devices(netlink.number(value) or 0)
        if kind == _OIF:
            index = (netlink.number(value) or 0,)
        elif kind == _MULTIPATH:
            index = [hop[3] for hop in _hops(value)]
    return index


def without(bodies: typing.Iterable[bytes],
            index: int) -> typing.Iterator[bytes]:
    """Routes without those of their hops that lead over a NIC.

    IPv6 makes one route of those to one place with one metric, whoever has
    put them (net/ipv6/ip6_fib.c, fib6_add_rt2node).
    """
    for body in bodies:
        made, header = b'', list(_HEADER.unpack_from(body))
        for kind, value in netlink.attributes(body, _HEADER.size):
            hops = [hop for hop in _hops(value)
                    if hop[3] != index] if kind == _MULTIPATH else []
            if len(hops) == 1:
                header[8] |= hops[0][1] & _ONLINK
                made += netlink.numeric(_OIF, hops[0][3]) + _hop(
                    hops[0])[_HOP.size:]
            else:
                made += netlink.attribute(
                    kind, b''.join(map(_hop, hops)) or value)
        yield _HEADER.pack(*header) + made


def next_hops(bodies: typing.Iterable[bytes]) -> typing.Set[bytes]:
    """The addresses of the next hops, as bytes."""
    return {value for body in bodies
            for kind, value in netlink.attributes(body, _HEADER.size)
            if kind == _GATEWAY}


def _place(body: bytes) -> typing.Any:
    destination = priority = b''
    for kind, value in netlink.attributes(body, _HEADER.size):
        if kind == _DST:
            destination = value
        elif kind == _PRIORITY:
            priority = value
    return body[1], body[3], destination, priority
