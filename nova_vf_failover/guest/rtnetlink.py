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

"""What messages of rtnetlink(7) begin with, and the numbers in them.

Constants of the kernel's interface and its C structs, by the kernel's own
names: include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h, neighbour.h,
fib_rules.h, nexthop.h. What only one module knows of is said there.
"""

import struct
import typing

RTM_NEWLINK, RTM_GETLINK = 16, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_GETNEIGH = 28, 30
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
RTM_NEWQDISC, RTM_GETQDISC, RTM_GETTCLASS = 36, 38, 42
RTM_GETNSID = 90
RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106

RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC = 1, 4, 5, 6, 7
RTA_MULTIPATH, RTA_CACHEINFO, RTA_TABLE, RTA_VIA = 9, 12, 15, 18
RTA_ENCAP_TYPE, RTA_ENCAP, RTA_EXPIRES, RTA_NH_ID = 21, 22, 23, 30

RT_TABLE_COMPAT, RT_TABLE_DEFAULT, RT_TABLE_MAIN, RT_TABLE_LOCAL = (
    252, 253, 254, 255)
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_HOST = 0, 253, 254
RTPROT_KERNEL, RTPROT_RA = 2, 9
RTN_UNICAST, RTN_LOCAL = 1, 2
RTM_F_CLONED = 0x200
#: of a hop, a route or a nexthop object: its gateway need not be in a network
#: of the NIC
RTNH_F_ONLINK = 4

NDA_DST, NDA_LLADDR, NDA_CACHEINFO, NDA_PROBES = 1, 2, 3, 4
NTF_SELF, NTF_PROXY = 0x02, 0x08

IFINFOMSG = struct.Struct('=BxHiII')
IFADDRMSG = struct.Struct('=BBBBI')
RTMSG = struct.Struct('=BBBBBBBBI')
RTNEXTHOP = struct.Struct('=HBBi')
NDMSG = struct.Struct('=BxxxiHBB')
FIB_RULE_HDR = struct.Struct('=BBBBBxxBI')
NHMSG = struct.Struct('=BBBxI')
TCMSG = struct.Struct('=BxxxiIII')


def family(body: bytes) -> int:
    """Of any of these messages: each begins with it."""
    return body[0]


class Ifinfomsg(typing.NamedTuple):
    """A link; ``ifi_change`` tells which of the flags are meant."""

    ifi_family: int = 0
    ifi_type: int = 0
    ifi_index: int = 0
    ifi_flags: int = 0
    ifi_change: int = 0

    @classmethod
    def of(cls, body: bytes) -> 'Ifinfomsg':
        return cls._make(IFINFOMSG.unpack_from(body))

    def packed(self) -> bytes:
        return IFINFOMSG.pack(*self)


class Ifaddrmsg(typing.NamedTuple):
    """An address; a longer form of the flags is an attribute."""

    ifa_family: int
    ifa_prefixlen: int = 0
    ifa_flags: int = 0
    ifa_scope: int = 0
    ifa_index: int = 0

    @classmethod
    def of(cls, body: bytes) -> 'Ifaddrmsg':
        return cls._make(IFADDRMSG.unpack_from(body))

    def packed(self) -> bytes:
        return IFADDRMSG.pack(*self)


class Rtmsg(typing.NamedTuple):
    """A route; a number of a table above 255 is an attribute."""

    rtm_family: int
    rtm_dst_len: int = 0
    rtm_src_len: int = 0
    rtm_tos: int = 0
    rtm_table: int = 0
    rtm_protocol: int = 0
    rtm_scope: int = 0
    rtm_type: int = 0
    rtm_flags: int = 0

    @classmethod
    def of(cls, body: bytes) -> 'Rtmsg':
        return cls._make(RTMSG.unpack_from(body))

    def packed(self) -> bytes:
        return RTMSG.pack(*self)


class Ndmsg(typing.NamedTuple):
    """A neighbour."""

    ndm_family: int
    ndm_ifindex: int = 0
    ndm_state: int = 0
    ndm_flags: int = 0
    ndm_type: int = 0

    @classmethod
    def of(cls, body: bytes) -> 'Ndmsg':
        return cls._make(NDMSG.unpack_from(body))

    def packed(self) -> bytes:
        return NDMSG.pack(*self)


class FibRuleHdr(typing.NamedTuple):
    """A policy rule."""

    family: int
    dst_len: int = 0
    src_len: int = 0
    tos: int = 0
    table: int = 0
    action: int = 0
    flags: int = 0

    @classmethod
    def of(cls, body: bytes) -> 'FibRuleHdr':
        return cls._make(FIB_RULE_HDR.unpack_from(body))

    def packed(self) -> bytes:
        return FIB_RULE_HDR.pack(*self)


class Nhmsg(typing.NamedTuple):
    """A nexthop object."""

    nh_family: int = 0
    nh_scope: int = 0
    nh_protocol: int = 0
    nh_flags: int = 0

    @classmethod
    def of(cls, body: bytes) -> 'Nhmsg':
        return cls._make(NHMSG.unpack_from(body))

    def packed(self) -> bytes:
        return NHMSG.pack(*self)


class Tcmsg(typing.NamedTuple):
    """A queueing discipline, or a class of one."""

    tcm_family: int = 0
    tcm_ifindex: int = 0
    tcm_handle: int = 0
    tcm_parent: int = 0
    tcm_info: int = 0

    @classmethod
    def of(cls, body: bytes) -> 'Tcmsg':
        return cls._make(TCMSG.unpack_from(body))

    def packed(self) -> bytes:
        return TCMSG.pack(*self)


def table_byte(number: int) -> int:
    """What stands for a table in the one byte that a header has for it."""
    return number if number < 256 else RT_TABLE_COMPAT
