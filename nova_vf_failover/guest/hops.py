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

#: of a hop or a route: its gateway need not be in a network of the NIC
ONLINK = 4
#: struct rtnexthop: length, flags, weight, index
HEADER = struct.Struct('=HBBi')

#: length, flags, weight, index of the NIC, attributes
Hop = typing.Tuple[int, int, int, int, bytes]
Indexes = typing.Dict[int, int]


def packed(hop: Hop) -> bytes:
    made = HEADER.pack(*hop[:4]) + hop[4]
    return made + b'\0' * (-len(made) % 4)


def of(value: bytes) -> typing.Iterator[Hop]:
    """The hops in a RTA_MULTIPATH."""
    offset = 0
    while offset + HEADER.size <= len(value):
        length, flags, weight, index = HEADER.unpack_from(value, offset)
        if length < HEADER.size:
            return
        yield (length, flags, weight, index,
               value[offset + HEADER.size:offset + length])
        offset += (length + 3) & ~3


def led(value: bytes, indexes: Indexes, kept: int) -> bytes:
    """Hops that lead over other NICs.

    :param indexes: NICs to lead over instead, by those that were printed
    :param kept: those of the flags that are given back
    """
    return b''.join(
        packed((length, flags & kept, weight, indexes.get(index, index), rest))
        for length, flags, weight, index, rest in of(value))
