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
import typing

from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import rtnetlink

#: nobody's, so that no route of the owner's is taken for a way
PROTOCOL = 117

_HAS_GONE = frozenset([errno.ENOENT, errno.ESRCH])

# Family, gateway, the index of the NIC that it is on, and a table.
Way = typing.Tuple[int, bytes, int, int]


def opened(wanted: Way) -> netlink.Message:
    """What makes a way, in front of all that lead there as well."""
    family, gateway, index, table = wanted
    made = rtnetlink.Rtmsg(
        rtm_family=family, rtm_dst_len=len(gateway) * 8,
        rtm_table=rtnetlink.RT_TABLE_COMPAT, rtm_protocol=PROTOCOL,
        rtm_scope=rtnetlink.RT_SCOPE_LINK if family == socket.AF_INET else (
            rtnetlink.RT_SCOPE_UNIVERSE),
        rtm_type=rtnetlink.RTN_UNICAST).packed()
    made += netlink.attribute(rtnetlink.RTA_DST, gateway)
    made += netlink.numeric(rtnetlink.RTA_OIF, index)
    made += netlink.numeric(rtnetlink.RTA_TABLE, table)
    if family != socket.AF_INET:
        made += netlink.numeric(rtnetlink.RTA_PRIORITY, 1)
    return netlink.Message(rtnetlink.RTM_NEWROUTE, netlink.CREATE, made)


def closed(way: netlink.Message) -> netlink.Message:
    """What removes a way again.

    :param way: the message that has made it, see :func:`opened`
    """
    return netlink.Message(rtnetlink.RTM_DELROUTE, 0, way.body)


def is_way(route: bytes) -> bool:
    return rtnetlink.Rtmsg.of(route).rtm_protocol == PROTOCOL


@contextlib.contextmanager
def accepted(kernel: netlink.Netlink,
             ways: typing.Iterable[Way]) -> typing.Iterator[None]:
    """Have the kernel accept gateways as long as this lasts."""
    made = [opened(way) for way in sorted(ways)]
    # What is refused was not needed, or what needs it will be refused.
    refused = {message.body for message, _ in kernel.attempt(made)}
    try:
        yield
    finally:
        kernel.ask([closed(message) for message in made
                    if message.body not in refused], _HAS_GONE)
