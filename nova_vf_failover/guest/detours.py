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

"""Routes that are put again: as they were, or led over another NIC."""

import errno
import socket
import struct
import typing

from nova_vf_failover.guest import addresses
from nova_vf_failover.guest import gateways
from nova_vf_failover.guest import hops
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import routes

#: of routes: there is one already, it has gone with its NIC
HARMLESS = frozenset([errno.EEXIST, errno.ESRCH])

_COMPAT_TABLE = 252
# What a route with a nexthop object repeats of that object.
_OF_THE_NEXTHOP = frozenset([
    routes.OIF, routes.GATEWAY, routes.MULTIPATH, routes.VIA,
    routes.ENCAP_TYPE, routes.ENCAP])
_NEVER_GIVEN_BACK = frozenset([routes.TABLE, routes.CACHEINFO])

Indexes = hops.Indexes
#: routes, and the seconds since they were printed
Part = typing.Tuple[typing.Iterable[bytes], float]


def put(parts: typing.Iterable[Part], indexes: Indexes, objects: Indexes,
        number: typing.Optional[int] = None,
        ) -> typing.Iterator[netlink.Message]:
    """Put routes behind those that are there, in the order of the parts.

    Not "replace": IPv6 has routes of one prefix and metric over several NICs,
    fe80::/64 first of all.

    :param indexes: NICs to lead over instead, by those that were printed
    :param objects: the same for nexthop objects
    :param number: the table to put them into, if not their own
    """
    return _put(parts, netlink.CREATE | netlink.APPEND, indexes,
                objects, number)


def put_first(bodies: typing.Sequence[bytes], indexes: Indexes,
              objects: Indexes) -> typing.Iterator[netlink.Message]:
    """Put routes of IPv4 in front of those that are there."""
    for body in bodies:
        # The kernel has made it behind another NIC's, for an address.
        if routes.of_the_kernel(body):
            yield netlink.Message(
                routes.DELROUTE, 0,
                _changed(body, indexes, objects, None, 0.0))
    yield from _put([(bodies[::-1], 0.0)], netlink.CREATE, indexes,
                    objects, None)


def _put(parts: typing.Iterable[Part], flags: int, indexes: Indexes,
         objects: Indexes, number: typing.Optional[int],
         ) -> typing.Iterator[netlink.Message]:
    for bodies, elapsed in parts:
        for body in bodies:
            made = _changed(body, indexes, objects, number, elapsed)
            if _has_siblings(body):
                # What is left of it, over other NICs, would be in the way of
                # the whole (net/ipv6/route.c, ip6_route_multipath_add).
                yield netlink.Message(routes.DELROUTE, 0, made)
            yield netlink.Message(routes.NEWROUTE, flags, made)


def ways(bodies: typing.Iterable[bytes], indexes: Indexes,
         number: typing.Optional[int] = None) -> typing.Set[gateways.Way]:
    """What has to be there for routes to be accepted, see :mod:`.gateways`.

    :param number: the table that they are put into, if not their own
    """
    found: typing.Set[gateways.Way] = set()
    for body in bodies:
        index = 0
        gates = []
        for kind, value in netlink.attributes(body, routes.HEADER.size):
            if kind == routes.OIF:
                index = netlink.number(value) or 0
            elif kind in (routes.GATEWAY, routes.VIA):
                gates.append((index, kind, value))
            elif kind == routes.MULTIPATH:
                gates += [(hop[3],) + its for hop in hops.of(value)
                          for its in netlink.attributes(hop[4], 0)
                          if its[0] in (routes.GATEWAY, routes.VIA)]
        for its, kind, value in gates:
            its = its or index
            family = body[0]
            if kind == routes.VIA:
                # struct rtvia: a family, and an address of it
                family, value = struct.unpack_from('=H', value)[0], value[2:]
            found.add((family, value, indexes.get(its, its),
                       routes.table(body) if number is None else number))
    return found


def remove(bodies: typing.Iterable[bytes]) -> typing.Iterator[netlink.Message]:
    """What removes routes, as they were printed, from their own tables."""
    for body in bodies:
        yield netlink.Message(
            routes.DELROUTE, 0, _changed(body, {}, {}, None, 0.0))


def without(bodies: typing.Iterable[bytes],
            index: int) -> typing.Iterator[bytes]:
    """Routes without those of their hops that lead over a NIC.

    IPv6 makes one route of those to one place with one metric, whoever has
    put them (net/ipv6/ip6_fib.c, fib6_add_rt2node).
    """
    for body in bodies:
        made, header = b'', list(routes.HEADER.unpack_from(body))
        for kind, value in netlink.attributes(body, routes.HEADER.size):
            left = [hop for hop in hops.of(value)
                    if hop[3] != index] if kind == routes.MULTIPATH else []
            if len(left) == 1:
                header[8] |= left[0][1] & hops.ONLINK
                made += netlink.numeric(routes.OIF, left[0][3]) + hops.packed(
                    left[0])[hops.HEADER.size:]
            else:
                made += netlink.attribute(
                    kind, b''.join(map(hops.packed, left)) or value)
        yield routes.HEADER.pack(*header) + made


def _changed(body: bytes, indexes: Indexes, objects: Indexes,
             number: typing.Optional[int], elapsed: float) -> bytes:
    """A route with other numbers.

    One whose time is over has a while for its owner to renew it. A copy in a
    table of the agent's own lasts: there nobody renews it.
    """
    copied = number is not None
    found = list(netlink.attributes(body, routes.HEADER.size))
    object_ = any(kind == routes.NH_ID for kind, _ in found)
    # IPv6 accepts what is on the link by its table "main", whatever the table
    # of the route (net/ipv6/route.c, ip6_route_check_nh_onlink): a copy would
    # meet the NIC that is left there.
    kept = 0 if copied and body[0] != socket.AF_INET else hops.ONLINK
    made = []
    for kind, value in found:
        if kind == routes.OIF:
            index = netlink.number(value) or 0
            value = struct.pack('=I', indexes.get(index, index))
        elif kind == routes.MULTIPATH:
            value = hops.led(value, indexes, kept)
        elif kind == routes.NH_ID:
            its = netlink.number(value) or 0
            value = struct.pack('=I', objects.get(its, its))
        elif kind == routes.TABLE:
            number = netlink.number(value) if number is None else number
        elif kind == routes.CACHEINFO:
            left = routes.life(value)
            if left and not copied:
                made.append(netlink.numeric(routes.EXPIRES, max(
                    int(left - elapsed), addresses.TIME_TO_RENEW)))
        if kind not in _NEVER_GIVEN_BACK and not (
                object_ and kind in _OF_THE_NEXTHOP):
            made.append(netlink.attribute(kind, value))
    number = body[4] if number is None else number
    made.insert(0, netlink.numeric(routes.TABLE, number))
    flags = 0 if object_ else routes.HEADER.unpack_from(body)[8] & kept
    return (body[:4] + bytes([number if number < 256 else _COMPAT_TABLE])
            + body[5:8] + struct.pack('=I', flags) + b''.join(made))


def _has_siblings(body: bytes) -> bool:
    return body[0] != socket.AF_INET and any(
        kind == routes.MULTIPATH
        for kind, _ in netlink.attributes(body, routes.HEADER.size))
