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
import typing

from nova_vf_failover.guest import addresses
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import rtnetlink

# include/uapi/linux/neighbour.h, NUD_...
_REACHABLE, _NOARP, _PERMANENT = 0x02, 0x40, 0x80
# Reachable, stale, delayed, probed.
_LEARNED = 0x02 | 0x04 | 0x08 | 0x10

Key = typing.Tuple[int, bytes, int]


def of(kernel: netlink.Netlink, index: int) -> typing.List[bytes]:
    """The neighbours that a NIC can reach, and those it is a proxy for."""
    found = []
    for family in addresses.FAMILIES:
        for flags in (0, rtnetlink.NTF_PROXY):
            found += kernel.dump(
                rtnetlink.RTM_GETNEIGH, rtnetlink.Ndmsg(
                    ndm_family=family, ndm_flags=flags).packed())
    return [body for body in found
            if rtnetlink.Ndmsg.of(body).ndm_ifindex == index
            and _worth(body)]


def put(bodies: typing.Iterable[bytes],
        index: int) -> typing.List[netlink.Message]:
    """Tell a NIC of neighbours.

    What was in use a moment ago need not be asked for on the other NIC,
    where the answer might not come in.
    """
    messages = []
    for body in bodies:
        header = rtnetlink.Ndmsg.of(body)
        made = header._replace(
            ndm_ifindex=index, ndm_state=_REACHABLE if (
                header.ndm_state & _LEARNED) else header.ndm_state).packed()
        for name, value in netlink.attributes(body, rtnetlink.NDMSG.size):
            if name not in (rtnetlink.NDA_CACHEINFO,
                            rtnetlink.NDA_PROBES):
                made += netlink.attribute(name, value)
        messages.append(netlink.Message(
            rtnetlink.RTM_NEWNEIGH, netlink.CREATE | netlink.REPLACE, made))
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
    header = rtnetlink.Ndmsg.of(body)
    if header.ndm_state & (_LEARNED | _PERMANENT):
        return header.ndm_family, str(ipaddress.ip_address(address(body)))
    return None


def address(body: bytes) -> bytes:
    return _key(body)[1]


def _worth(body: bytes) -> bool:
    """Whether somebody learned it or wrote it down."""
    header = rtnetlink.Ndmsg.of(body)
    found = dict(netlink.attributes(body, rtnetlink.NDMSG.size))
    if header.ndm_flags & rtnetlink.NTF_PROXY:
        return rtnetlink.NDA_DST in found
    if (rtnetlink.NDA_DST not in found
            or rtnetlink.NDA_LLADDR not in found):
        return False
    if header.ndm_state & _NOARP:
        # For groups and broadcasts the kernel makes them by itself.
        return not found[rtnetlink.NDA_LLADDR][0] & 1
    return bool(header.ndm_state & (_LEARNED | _PERMANENT))


def _key(body: bytes) -> Key:
    header = rtnetlink.Ndmsg.of(body)
    found = dict(netlink.attributes(body, rtnetlink.NDMSG.size))
    return (header.ndm_family, found[rtnetlink.NDA_DST],
            header.ndm_flags & rtnetlink.NTF_PROXY)
