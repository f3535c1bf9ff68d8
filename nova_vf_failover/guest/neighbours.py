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

"""The neighbours that a NIC knows, as the kernel has printed them."""

import ipaddress
import struct
import typing

from nova_vf_failover.guest import addresses
from nova_vf_failover.guest import netlink

_NEWNEIGH, _GETNEIGH = 28, 30
# struct ndmsg: family, index, state, flags, type
_HEADER = struct.Struct('=BxxxiHBB')
# include/uapi/linux/neighbour.h
_DST, _LLADDR, _CACHEINFO, _PROBES = 1, 2, 3, 4
_PROXY = 0x08
_REACHABLE, _NOARP, _PERMANENT = 0x02, 0x40, 0x80
# Reachable, stale, delayed, probed.
_LEARNED = 0x02 | 0x04 | 0x08 | 0x10

Key = typing.Tuple[int, bytes, int]


def of(kernel: netlink.Netlink, index: int) -> typing.List[bytes]:
    """The neighbours that a NIC can reach, and those it is a proxy for."""
    found = []
    for family in addresses.FAMILIES:
        for flags in (0, _PROXY):
            found += kernel.dump(
                _GETNEIGH, _HEADER.pack(family, 0, 0, flags, 0))
    return [body for body in found
            if _HEADER.unpack_from(body)[1] == index and _worth(body)]


def put(bodies: typing.Iterable[bytes],
        index: int) -> typing.List[netlink.Message]:
    """Tell a NIC of neighbours.

    What was in use a moment ago need not be asked for on the other NIC,
    where the answer might not come in.
    """
    messages = []
    for body in bodies:
        family, _, state, flags, kind = _HEADER.unpack_from(body)
        made = _HEADER.pack(
            family, index, _REACHABLE if state & _LEARNED else state, flags,
            kind)
        for name, value in netlink.attributes(body, _HEADER.size):
            if name not in (_CACHEINFO, _PROBES):
                made += netlink.attribute(name, value)
        messages.append(netlink.Message(
            _NEWNEIGH, netlink.CREATE | netlink.REPLACE, made))
    return messages


def newest(*lists: typing.Iterable[bytes]) -> typing.List[bytes]:
    """One entry a neighbour: that of the last list that has it."""
    known: typing.Dict[Key, bytes] = {}
    for bodies in lists:
        for body in bodies:
            known[_key(body)] = body
    return list(known.values())


def plain(body: bytes) -> typing.Optional[typing.Tuple[int, str]]:
    """Family and address of one that can be asked; None for another one."""
    if _HEADER.unpack_from(body)[2] & (_LEARNED | _PERMANENT):
        return body[0], str(ipaddress.ip_address(address(body)))
    return None


def address(body: bytes) -> bytes:
    return _key(body)[1]


def _worth(body: bytes) -> bool:
    """Whether somebody learned it or wrote it down."""
    _, _, state, flags, _ = _HEADER.unpack_from(body)
    found = dict(netlink.attributes(body, _HEADER.size))
    if flags & _PROXY:
        return _DST in found
    if _DST not in found or _LLADDR not in found:
        return False
    if state & _NOARP:
        # For groups and broadcasts the kernel makes them by itself.
        return not found[_LLADDR][0] & 1
    return bool(state & (_LEARNED | _PERMANENT))


def _key(body: bytes) -> Key:
    family, _, _, flags, _ = _HEADER.unpack_from(body)
    found = dict(netlink.attributes(body, _HEADER.size))
    return family, found[_DST], flags & _PROXY
