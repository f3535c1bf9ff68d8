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

"""Nexthop objects, ip-nexthop(8), as the kernel has printed them."""

import errno
import socket
import struct
import typing

from nova_vf_failover.guest import gateways
from nova_vf_failover.guest import hops
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import rtnetlink

# include/uapi/linux/nexthop.h
_ID, _GROUP, _GROUP_TYPE, _BLACKHOLE, _OIF, _GATEWAY, _ENCAP_TYPE, _ENCAP = (
    1, 2, 3, 4, 5, 6, 7, 8)
_FDB, _RES_GROUP = 11, 12
# What can be given back: all up to NHA_FDB but the list's own questions, and
# the settings of a resilient group.
_GIVEN_BACK = frozenset([
    _ID, _GROUP, _GROUP_TYPE, _BLACKHOLE, _OIF, _GATEWAY, _ENCAP_TYPE, _ENCAP,
    _FDB, _RES_GROUP])
# Without the flag the kernel does not take these of an object (nlmsg_parse in
# net/ipv4/nexthop.c is strict); of a route it does not look at it
# (nlmsg_parse_deprecated in net/ipv4/fib_frontend.c).
_NESTED = frozenset([_ENCAP, _RES_GROUP])
_UNBALANCED_TIME = 4
# struct nexthop_grp: id, weight - 1
_MEMBER = struct.Struct('=IBBH')


class Nexthops:
    """All nexthop objects of this network namespace at one moment."""

    def __init__(self, kernel: netlink.Netlink) -> None:
        self.bodies: typing.Dict[int, bytes] = {}
        try:
            found = kernel.dump(rtnetlink.RTM_GETNEXTHOP,
                                rtnetlink.Nhmsg().packed())
        except netlink.NetlinkError as error:
            # Before Linux 5.3 there are none.
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            found = []
        for body in found:
            self.bodies[identity(body)] = body

    def devices(self, number: int) -> typing.Collection[int]:
        """The indexes of the NICs that an object leads over."""
        body = self.bodies.get(number)
        if body is None:
            return ()
        found = dict(netlink.attributes(body, rtnetlink.NHMSG.size))
        if _GROUP in found:
            return {index for member, _, _, _ in _members(found[_GROUP])
                    for index in self.devices(member)}
        return (netlink.number(found[_OIF]) or 0,) if _OIF in found else ()

    def over(self, index: int) -> typing.List[bytes]:
        """The objects that lead over a NIC, groups last."""
        return sorted((
            body for number, body in self.bodies.items()
            if index in self.devices(number)), key=_is_group)

    def within(self, numbers: typing.Container[int]) -> typing.List[int]:
        return [number for number in self.bodies if number in numbers]


def identity(body: bytes) -> int:
    """The number by which routes and groups name an object."""
    for kind, value in netlink.attributes(body, rtnetlink.NHMSG.size):
        if kind == _ID:
            return netlink.number(value) or 0
    return 0


def ways(bodies: typing.Iterable[bytes], indexes: typing.Dict[int, int],
         number: int) -> typing.Set[gateways.Way]:
    """What has to be there for objects to be accepted.

    :param number: the table to have it in
    """
    found: typing.Set[gateways.Way] = set()
    for body in bodies:
        its = dict(netlink.attributes(body, rtnetlink.NHMSG.size))
        if _GATEWAY in its:
            index = netlink.number(its.get(_OIF)) or 0
            found.add((rtnetlink.family(body), its[_GATEWAY],
                       indexes.get(index, index), number))
    return found


def put(bodies: typing.Iterable[bytes], indexes: typing.Dict[int, int],
        numbers: typing.Dict[int, int],
        present: typing.Container[int]) -> typing.List[netlink.Message]:
    """Make objects, or make them anew.

    :param indexes: NICs to lead over instead, by those that were printed
    :param numbers: identities to have instead
    :param present: the objects that there are besides; a group goes without
        the members that are missing
    """
    bodies = sorted(bodies, key=_is_group)
    there = {identity(body) for body in bodies}

    def there_too(member: int) -> bool:
        return member in there or member in present

    return [netlink.Message(
        rtnetlink.RTM_NEWNEXTHOP, netlink.CREATE | netlink.REPLACE,
        _changed(body, indexes, numbers, there_too)) for body in bodies]


def _changed(body: bytes, indexes: typing.Dict[int, int],
             numbers: typing.Dict[int, int],
             there: typing.Callable[[int], bool]) -> bytes:
    """An object with other numbers."""
    header = rtnetlink.Nhmsg.of(body)
    # As with routes, see detours._kept_flags.
    kept = 0 if numbers and header.nh_family != socket.AF_INET else (
        rtnetlink.RTNH_F_ONLINK)
    # The scope is for the kernel to find.
    made = [header._replace(
        nh_scope=0, nh_flags=header.nh_flags & kept).packed()]
    for kind, value in netlink.attributes(body, rtnetlink.NHMSG.size):
        if kind in _GIVEN_BACK:
            flag = netlink.NESTED if kind in _NESTED else 0
            made.append(netlink.attribute(
                kind | flag, _led(kind, value, indexes, numbers, there)))
    return b''.join(made)


def _led(kind: int, value: bytes, indexes: typing.Dict[int, int],
         numbers: typing.Dict[int, int],
         there: typing.Callable[[int], bool]) -> bytes:
    """What an attribute says when an object leads over another NIC."""
    if kind == _ID:
        return hops.renumbered(value, numbers)
    if kind == _OIF:
        return hops.renumbered(value, indexes)
    if kind == _GROUP:
        return b''.join(
            _MEMBER.pack(numbers.get(member, member), *rest)
            for member, *rest in _members(value) if there(member))
    if kind == _RES_GROUP:
        return b''.join(
            netlink.attribute(*setting)
            for setting in netlink.attributes(value, 0)
            if setting[0] != _UNBALANCED_TIME)
    return value


def remove(numbers: typing.Iterable[int]) -> typing.List[netlink.Message]:
    """Remove objects; the kernel removes their routes with them."""
    return [netlink.Message(
        rtnetlink.RTM_DELNEXTHOP, 0,
        rtnetlink.Nhmsg().packed() + netlink.numeric(_ID, number))
        for number in numbers]


def _is_group(body: bytes) -> bool:
    return any(kind == _GROUP for kind, _ in netlink.attributes(
        body, rtnetlink.NHMSG.size))


def _members(value: bytes) -> typing.Iterator[typing.Tuple[int, ...]]:
    return _MEMBER.iter_unpack(value)
