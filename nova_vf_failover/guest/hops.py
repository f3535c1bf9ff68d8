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

"""The hops of a route that has several, as the kernel has printed them."""

import struct
import typing

from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import rtnetlink

Indexes = typing.Dict[int, int]


class Hop(typing.NamedTuple):
    """A struct rtnexthop, and the attributes behind it."""

    rtnh_len: int
    rtnh_flags: int
    rtnh_hops: int
    rtnh_ifindex: int
    attributes: bytes


def packed(hop: Hop) -> bytes:
    made = rtnetlink.RTNEXTHOP.pack(*hop[:-1]) + hop.attributes
    return made + b'\0' * (-len(made) % 4)


def of(value: bytes) -> typing.Iterator[Hop]:
    """The hops in a RTA_MULTIPATH."""
    offset = 0
    size = rtnetlink.RTNEXTHOP.size
    while offset + size <= len(value):
        length, flags, weight, index = rtnetlink.RTNEXTHOP.unpack_from(
            value, offset)
        if length < size:
            return
        yield Hop(length, flags, weight, index,
                  value[offset + size:offset + length])
        offset += (length + 3) & ~3


def led(value: bytes, indexes: Indexes, kept: int) -> bytes:
    """Hops that lead over other NICs.

    :param indexes: NICs to lead over instead, by those that were printed
    :param kept: those of the flags that are given back
    """
    return b''.join(packed(hop._replace(
        rtnh_flags=hop.rtnh_flags & kept,
        rtnh_ifindex=indexes.get(hop.rtnh_ifindex, hop.rtnh_ifindex)))
        for hop in of(value))


def renumbered(value: bytes, numbers: Indexes) -> bytes:
    """The value of an attribute that is a number, with another one for it."""
    number = netlink.number(value) or 0
    return struct.pack('=I', numbers.get(number, number))
