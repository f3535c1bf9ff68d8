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
from nova_vf_failover.guest import rtnetlink

#: of routes: there is one already, it has gone with its NIC
HARMLESS = frozenset([errno.EEXIST, errno.ESRCH])

_GATEWAYS = frozenset([rtnetlink.RTA_GATEWAY, rtnetlink.RTA_VIA])
# What a route with a nexthop object repeats of that object.
_OF_THE_NEXTHOP = frozenset([
    rtnetlink.RTA_OIF, rtnetlink.RTA_GATEWAY, rtnetlink.RTA_MULTIPATH,
    rtnetlink.RTA_VIA,
    rtnetlink.RTA_ENCAP_TYPE, rtnetlink.RTA_ENCAP])
_NEVER_GIVEN_BACK = frozenset([rtnetlink.RTA_TABLE, rtnetlink.RTA_CACHEINFO])

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
                rtnetlink.RTM_DELROUTE, 0,
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
                yield netlink.Message(rtnetlink.RTM_DELROUTE, 0, made)
            yield netlink.Message(rtnetlink.RTM_NEWROUTE, flags, made)


def ways(bodies: typing.Iterable[bytes], indexes: Indexes,
         number: typing.Optional[int] = None) -> typing.Set[gateways.Way]:
    """What has to be there for routes to be accepted, see :mod:`.gateways`.

    :param number: the table that they are put into, if not their own
    """
    found: typing.Set[gateways.Way] = set()
    for body in bodies:
        where = routes.table(body) if number is None else number
        for index, kind, value in _gateways(body):
            family = rtnetlink.family(body)
            if kind == rtnetlink.RTA_VIA:
                # struct rtvia: a family, and an address of it
                family, value = struct.unpack_from('=H', value)[0], value[2:]
            found.add((family, value, indexes.get(index, index), where))
    return found


def _gateways(body: bytes) -> typing.Iterator[typing.Tuple[int, int, bytes]]:
    """The NIC that each gateway is on, how it is said, and what is said."""
    found = list(netlink.attributes(body, rtnetlink.RTMSG.size))
    own = netlink.number(dict(found).get(rtnetlink.RTA_OIF)) or 0
    for kind, value in found:
        if kind in _GATEWAYS:
            yield own, kind, value
        elif kind == rtnetlink.RTA_MULTIPATH:
            for hop in hops.of(value):
                for its, gateway in netlink.attributes(hop.attributes, 0):
                    if its in _GATEWAYS:
                        yield hop.rtnh_ifindex or own, its, gateway


def remove(bodies: typing.Iterable[bytes]) -> typing.Iterator[netlink.Message]:
    """What removes routes, as they were printed, from their own tables."""
    for body in bodies:
        yield netlink.Message(
            rtnetlink.RTM_DELROUTE, 0, _changed(body, {}, {}, None, 0.0))


def without(bodies: typing.Iterable[bytes],
            index: int) -> typing.Iterator[bytes]:
    """Routes without those of their hops that lead over a NIC.

    IPv6 makes one route of those to one place with one metric, whoever has
    put them (net/ipv6/ip6_fib.c, fib6_add_rt2node).
    """
    return _with_hops(bodies, lambda hop: hop.rtnh_ifindex != index)


def only(bodies: typing.Iterable[bytes],
         index: int) -> typing.Iterator[bytes]:
    """Routes with those of their hops alone that lead over a NIC."""
    return _with_hops(bodies, lambda hop: hop.rtnh_ifindex == index)


def _with_hops(bodies: typing.Iterable[bytes],
               wanted: typing.Callable[[hops.Hop], bool]
               ) -> typing.Iterator[bytes]:
    for body in bodies:
        made, header = b'', rtnetlink.Rtmsg.of(body)
        for kind, value in netlink.attributes(body, rtnetlink.RTMSG.size):
            left = [hop for hop in hops.of(value) if wanted(hop)] if (
                kind == rtnetlink.RTA_MULTIPATH) else []
            if len(left) == 1:
                last, = left
                header = header._replace(rtm_flags=header.rtm_flags | (
                    last.rtnh_flags & rtnetlink.RTNH_F_ONLINK))
                made += netlink.numeric(
                    rtnetlink.RTA_OIF, last.rtnh_ifindex) + hops.packed(
                        last)[rtnetlink.RTNEXTHOP.size:]
            else:
                made += netlink.attribute(
                    kind, b''.join(map(hops.packed, left)) or value)
        yield header.packed() + made


def _changed(body: bytes, indexes: Indexes, objects: Indexes,
             number: typing.Optional[int], elapsed: float) -> bytes:
    """A route with other numbers.

    One whose time is over has a while for its owner to renew it. A copy in a
    table of the agent's own lasts: there nobody renews it.
    """
    header = rtnetlink.Rtmsg.of(body)
    found = list(netlink.attributes(body, rtnetlink.RTMSG.size))
    object_ = any(kind == rtnetlink.RTA_NH_ID for kind, _ in found)
    copied = number is not None
    table = routes.table(body) if number is None else number
    kept = _kept_flags(header.rtm_family, copied)
    made = [netlink.numeric(rtnetlink.RTA_TABLE, table)]
    for kind, value in found:
        if kind == rtnetlink.RTA_CACHEINFO and not copied:
            made.append(_expiry(value, elapsed))
        if kind not in _NEVER_GIVEN_BACK and not (
                object_ and kind in _OF_THE_NEXTHOP):
            made.append(netlink.attribute(
                kind, _led(kind, value, indexes, objects, kept)))
    return header._replace(
        rtm_table=rtnetlink.table_byte(table),
        rtm_flags=0 if object_ else header.rtm_flags & kept,
    ).packed() + b''.join(made)


def _kept_flags(family: int, copied: bool) -> int:
    """The flags of a route and of its hops that are given back.

    IPv6 accepts what is on the link by its table "main", whatever the table
    of the route (net/ipv6/route.c, ip6_route_check_nh_onlink): a copy would
    meet the NIC that is left there.
    """
    return 0 if copied and family != socket.AF_INET else (
        rtnetlink.RTNH_F_ONLINK)


def _led(kind: int, value: bytes, indexes: Indexes, objects: Indexes,
         kept: int) -> bytes:
    """What an attribute says when a route leads over another NIC."""
    if kind == rtnetlink.RTA_OIF:
        return hops.renumbered(value, indexes)
    if kind == rtnetlink.RTA_NH_ID:
        return hops.renumbered(value, objects)
    if kind == rtnetlink.RTA_MULTIPATH:
        return hops.led(value, indexes, kept)
    return value


def _expiry(cacheinfo: bytes, elapsed: float) -> bytes:
    """The attribute with what is left of a life, if that has an end."""
    left = routes.life(cacheinfo)
    return netlink.numeric(rtnetlink.RTA_EXPIRES, max(
        int(left - elapsed), addresses.TIME_TO_RENEW)) if left else b''


def _has_siblings(body: bytes) -> bool:
    return rtnetlink.family(body) != socket.AF_INET and any(
        kind == rtnetlink.RTA_MULTIPATH
        for kind, _ in netlink.attributes(body, rtnetlink.RTMSG.size))
