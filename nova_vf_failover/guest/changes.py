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

"""What others change of the routes and rules of this network namespace.

The kernel tells of each change. What the agent changes itself is sorted out by
the kernel, with a filter of classic BPF (see filter.rst in its
Documentation/networking): the copies of 100,000 routes would be told of in
more messages than a socket holds.
"""

import errno
import struct
import typing

from nova_vf_failover.guest import gateways
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import packetfilter
from nova_vf_failover.guest import routes
from nova_vf_failover.guest import rtnetlink
from nova_vf_failover.guest import rules

# include/uapi/linux/rtnetlink.h, RTNLGRP_...: routes and rules of IPv4, then
# those of IPv6.
_GROUPS = (7, 8, 11, 19)

# Where the protocol of a route is, and where attributes begin: behind the
# header of a message and its struct rtmsg or fib_rule_hdr, which are equally
# long. Both have the number of the table in an attribute of one kind.
_PROTOCOL, _ATTRIBUTES = 16 + 5, 16 + 12
# include/uapi/linux/filter.h and bpf_common.h; what loads knows the network's
# byte order only. The last number but one finds an attribute.
_LOAD_BYTE, _LOAD_BEHIND, _LOAD_FOUND = 0x30, 0x40, 0x20
_SET, _SET_INDEX, _TO_INDEX, _AND, _JUMP_EQUAL, _RETURN = (
    0x00, 0x01, 0x07, 0x54, 0x15, 0x06)
_NETLINK_ATTRIBUTE = 0xfffff000 + 12


class Changes:
    """Listens while there is something to listen for.

    :param tables: the agent's own: as many as a power of two, and the first
        one is a multiple of that
    :param protocols: of the agent's own rules
    :ivar seen: whether something has changed since :meth:`follow`; set by
        whoever has waited for it
    """

    def __init__(self, tables: typing.Sequence[int],
                 protocols: typing.Container[int]) -> None:
        self._protocols = protocols
        self._left: typing.FrozenSet[int] = frozenset()
        self._following = False
        self.seen = False
        self._told = netlink.Netlink()
        self._told.socket.settimeout(None)
        packetfilter.load(self._told.socket, _by_others(tables))

    def follow(self, left: typing.Iterable[int]) -> None:
        """From now on; what has changed before is about to be looked at.

        :param left: indexes of NICs whose routes go unnoticed
        """
        self._left = frozenset(left)
        self.seen = False
        if not self._following:
            for group in _GROUPS:
                self._told.join(group)
            self._following = True
        self._told.forget()

    def stop(self) -> None:
        self.seen = False
        if self._following:
            for group in _GROUPS:
                self._told.leave(group)
            self._following = False

    def wait(self) -> None:
        """Until somebody changes something, however long that takes."""
        while not self._heard():
            pass

    def _heard(self) -> bool:
        try:
            return any([self._counts(kind, body)
                        for kind, body in self._told.heard()])
        except OSError as error:
            # There were more changes than the socket could hold.
            if error.errno != errno.ENOBUFS:
                raise
            return True

    def _counts(self, kind: int, body: bytes) -> bool:
        if kind in (rtnetlink.RTM_NEWRULE, rtnetlink.RTM_DELRULE):
            return rules.Rule(body).protocol not in self._protocols
        if kind not in (rtnetlink.RTM_NEWROUTE, rtnetlink.RTM_DELROUTE):
            return False
        if routes.table(body) == rtnetlink.RT_TABLE_LOCAL:
            return not routes.of_the_kernel(body)
        if kind == rtnetlink.RTM_NEWROUTE:
            return True
        # Routes that go with a VF have no copy that leads over it.
        over = dict(netlink.attributes(body, rtnetlink.RTMSG.size)).get(
            rtnetlink.RTA_OIF)
        return netlink.number(over) not in self._left


def _by_others(tables: typing.Sequence[int]) -> bytes:
    """The filter: not what is in these tables, nor what opens a way."""
    mask, first = [
        struct.unpack('!I', struct.pack('=I', number))[0]
        for number in (0xffffffff & -len(tables), tables[0])]
    # How many instructions to skip, if it is so and if not.
    return b''.join(packetfilter.instruction(*its) for its in (
        (_LOAD_BYTE, 0, 0, _PROTOCOL),
        (_JUMP_EQUAL, 9, 0, gateways.PROTOCOL),
        (_SET, 0, 0, _ATTRIBUTES),
        (_SET_INDEX, 0, 0, rtnetlink.RTA_TABLE),
        (_LOAD_FOUND, 0, 0, _NETLINK_ATTRIBUTE),
        (_JUMP_EQUAL, 4, 0, 0),
        (_TO_INDEX, 0, 0, 0),
        (_LOAD_BEHIND, 0, 0, 4),
        (_AND, 0, 0, mask),
        (_JUMP_EQUAL, 1, 0, first),
        (_RETURN, 0, 0, packetfilter.WHOLE),
        (_RETURN, 0, 0, 0)))
