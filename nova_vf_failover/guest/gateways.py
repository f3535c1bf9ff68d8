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

"""Gateways that the kernel is to accept.

The kernel accepts a gateway as long as a route leads to it on its NIC. The
gateway stays when that route has gone, or when another one has come in front
of it: so that a route is there does not tell that it can be put again. While
routes are put, each of their gateways has a way of its own.
"""

import contextlib
import errno
import socket
import struct
import typing

from nova_vf_failover.guest import netlink

_NEWROUTE, _DELROUTE = 24, 25
# struct rtmsg: family, destination and source length, tos, table, protocol,
# scope, type, flags
_HEADER = struct.Struct('=BBBBBBBBI')
# include/uapi/linux/rtnetlink.h
_DST, _OIF, _PRIORITY, _TABLE = 1, 4, 6, 15
_COMPAT_TABLE = 252
_SCOPE_LINK = 253
_UNICAST = 1
#: nobody's, so that no route of the owner's is taken for a way
PROTOCOL = 117

_HAS_GONE = frozenset([errno.ENOENT, errno.ESRCH])

# Family, gateway, the index of the NIC that it is on, and a table.
Way = typing.Tuple[int, bytes, int, int]


def opened(wanted: Way) -> netlink.Message:
    """What makes a way, in front of all that lead there as well."""
    family, gateway, index, table = wanted
    made = _HEADER.pack(
        family, len(gateway) * 8, 0, 0, _COMPAT_TABLE, PROTOCOL,
        _SCOPE_LINK if family == socket.AF_INET else 0, _UNICAST, 0)
    made += netlink.attribute(_DST, gateway) + netlink.numeric(_OIF, index)
    made += netlink.numeric(_TABLE, table)
    if family != socket.AF_INET:
        made += netlink.numeric(_PRIORITY, 1)
    return netlink.Message(_NEWROUTE, netlink.CREATE, made)


def closed(way: netlink.Message) -> netlink.Message:
    """What removes a way again.

    :param way: the message that has made it, see :func:`opened`
    """
    return netlink.Message(_DELROUTE, 0, way.body)


def is_way(route: bytes) -> bool:
    return route[5] == PROTOCOL


@contextlib.contextmanager
def accepted(kernel: netlink.Netlink,
             ways: typing.Iterable[Way]) -> typing.Iterator[None]:
    """As long as this lasts."""
    made = [opened(way) for way in sorted(ways)]
    # What is refused was not needed, or what needs it will be refused.
    refused = {message.body for message, _ in kernel.attempt(made)}
    try:
        yield
    finally:
        kernel.ask([closed(message) for message in made
                    if message.body not in refused], _HAS_GONE)
