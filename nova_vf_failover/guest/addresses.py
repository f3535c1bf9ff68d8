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

"""The addresses of a NIC, as the kernel has printed them."""

import errno
import ipaddress
import os
import socket
import struct
import typing

from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import release
from nova_vf_failover.guest import rtnetlink

# Where IPv6 is off (ipv6.disable=1) the kernel answers a question about it
# with everything that it has (net/core/rtnetlink.c, rtnl_dump_all).
FAMILIES = (socket.AF_INET,) + (
    (socket.AF_INET6,) if os.path.isdir('/proc/sys/net/ipv6') else ())

# include/uapi/linux/if_addr.h
_ADDRESS, _LOCAL, _LABEL, _CACHEINFO, _FLAGS, _TARGET_NETNSID = (
    1, 2, 3, 6, 8, 10)
# struct ifa_cacheinfo: preferred and valid life in seconds; created, updated
_LIVES = struct.Struct('=IIII')
_FOREVER = 0xffffffff
# Seconds, more than what asks for a lease waits before it asks again.
TIME_TO_RENEW = 120
_TEMPORARY, _NODAD, _HOMEADDRESS, _TENTATIVE = 0x01, 0x02, 0x10, 0x40
_MANAGETEMPADDR, _NOPREFIXROUTE, _MCAUTOJOIN = 0x100, 0x200, 0x400
# IFAPROT_KERNEL_RA, since Linux 5.18
_PROTO, _ADVERTISED = 11, b'\x02'
# The first Linux that heeds the latter, in each family.
_HEEDED: typing.Dict[int, typing.Tuple[int, int]] = {
    socket.AF_INET: (4, 18), socket.AF_INET6: (3, 14)}
# What is not settable is the kernel's to know.
_SETTABLE = (_NODAD | _HOMEADDRESS | _MANAGETEMPADDR | _NOPREFIXROUTE
             | _MCAUTOJOIN)
# There the kernel is to make no temporary address, which would be gone with
# the standby (net/ipv6/addrconf.c, manage_tempaddrs).
_ON_STANDBY = _SETTABLE & ~_MANAGETEMPADDR
# Taken over as they are; IPv6 knows an address by IFA_ADDRESS alone.
_REPLACED = frozenset([_CACHEINFO, _FLAGS, _TARGET_NETNSID])


def of(kernel: netlink.Netlink, index: int) -> typing.List[bytes]:
    """The addresses of a NIC, in the order in which they are to be put."""
    found: typing.Dict[int, typing.List[bytes]] = {
        family: [] for family in FAMILIES}
    for family in FAMILIES:
        for body in kernel.dump(rtnetlink.RTM_GETADDR, rtnetlink.Ifaddrmsg(
                ifa_family=family).packed()):
            header = rtnetlink.Ifaddrmsg.of(body)
            if header.ifa_index == index and header.ifa_family == family:
                found[family].append(body)
    # The kernel puts a new IPv6 address before those of its scope
    # (net/ipv6/addrconf.c, ipv6_link_dev_addr), and the first one is chosen.
    return found[socket.AF_INET] + found.get(socket.AF_INET6, [])[::-1]


def put(bodies: typing.Iterable[bytes], index: int,
        elapsed: float) -> typing.List[netlink.Message]:
    """Give a primary its addresses, with what is left of their lives.

    Nobody could renew those that have ended: their owner gets a while for it.

    :param elapsed: seconds since they were printed
    """
    messages = []
    for body in bodies:
        preferred, valid = [
            life if life == _FOREVER else max(0, life - int(elapsed))
            for life in _lives(body)]
        messages.append(_message(
            body, index, _flags(body) & _SETTABLE, preferred,
            max(valid, TIME_TO_RENEW)))
    return messages


def lasting(bodies: typing.Iterable[bytes]) -> typing.List[netlink.Message]:
    """What has addresses last on their NIC, for nobody is there to renew them.
    """
    return [_message(body, rtnetlink.Ifaddrmsg.of(body).ifa_index,
                     _flags(body) & _SETTABLE, _preferred(body), _FOREVER)
            for body in leased(bodies)]


def leased(bodies: typing.Iterable[bytes]) -> typing.List[bytes]:
    """Those that end unless a program asks for more of their lives.

    The kernel itself renews those that it makes of an advertised prefix.
    Before Linux 3.14 they are like others; then all of IPv6 are left out.
    """
    return [body for body in bodies if _lives(body)[1] != _FOREVER and (
        rtnetlink.family(body) == socket.AF_INET or not _of_the_kernel(body))]


def _of_the_kernel(body: bytes) -> bool:
    found = dict(netlink.attributes(body, rtnetlink.IFADDRMSG.size))
    return (release.before(3, 14)
            or bool(_flags(body) & (_TEMPORARY | _MANAGETEMPADDR))
            or found.get(_PROTO) == _ADVERTISED)


def voices(bodies: typing.Iterable[bytes]) -> typing.List[bytes]:
    """One address a family, for what is said about the NIC itself.

    Prefer an address that is not shared with other hosts: link-local for IPv6,
    and for IPv4 one of a network, before those that a service may have on
    several hosts (/32).
    """
    found: typing.Dict[int, bytes] = {}
    for body in sorted(bodies, key=_shared):
        if rtnetlink.Ifaddrmsg.of(body).ifa_scope < rtnetlink.RT_SCOPE_HOST:
            found.setdefault(rtnetlink.family(body), body)
    return [found[family] for family in FAMILIES if family in found]


def _shared(body: bytes) -> typing.Tuple[bool, bool]:
    header = rtnetlink.Ifaddrmsg.of(body)
    wanted = rtnetlink.RT_SCOPE_LINK if (
        header.ifa_family == socket.AF_INET6) else rtnetlink.RT_SCOPE_UNIVERSE
    return (header.ifa_scope != wanted,
            header.ifa_prefixlen == 8 * len(destination(body)))


def in_use(bodies: typing.Iterable[bytes]) -> typing.List[bytes]:
    """Those of which nobody doubts that they are ours."""
    return [body for body in bodies if not _flags(body) & _TENTATIVE]


def in_doubt(bodies: typing.Iterable[bytes]) -> typing.List[bytes]:
    """The others: somebody else has them, or the kernel is still asking."""
    return [body for body in bodies if _flags(body) & _TENTATIVE]


def put_quietly(bodies: typing.Iterable[bytes],
                index: int) -> typing.List[netlink.Message]:
    """Give a standby the same addresses, with no routes and no questions.

    IPv6 would find its own address in use: the other NIC has it. On a
    standby nobody renews an address, so that none may end. A kernel that does
    not know that it shall make no route makes none for an address that is a
    whole network; else it would lead past the rules to a standby that nobody
    has tried.
    """
    return [
        _message(_without_route(body), index, _flags(body) & _ON_STANDBY
                 | _NODAD | _NOPREFIXROUTE, _preferred(body), _FOREVER,
                 (_LABEL,))
        for body in in_use(bodies)]


def _without_route(body: bytes) -> bytes:
    header = rtnetlink.Ifaddrmsg.of(body)
    if release.before(*_HEEDED[header.ifa_family]):
        return header._replace(
            ifa_prefixlen=len(destination(body)) * 8).packed() + (
                body[rtnetlink.IFADDRMSG.size:])
    return body


def remove(kernel: netlink.Netlink, index: int) -> None:
    """Take every address from a NIC."""
    # With a first address of IPv4 its secondary ones go too.
    kernel.ask([netlink.Message(rtnetlink.RTM_DELADDR, 0, body)
                for body in of(kernel, index)],
               tolerated=(errno.EADDRNOTAVAIL,))


def network(body: bytes) -> typing.Any:
    """The network that an address is of."""
    return ipaddress.ip_network(
        (destination(body), rtnetlink.Ifaddrmsg.of(body).ifa_prefixlen),
        strict=False)


def plain(body: bytes) -> typing.Tuple[int, str]:
    """The family and the address itself."""
    return rtnetlink.family(body), str(
        ipaddress.ip_address(destination(body)))


def destination(body: bytes) -> bytes:
    """The address itself, as bytes."""
    found = dict(netlink.attributes(body, rtnetlink.IFADDRMSG.size))
    return found.get(_LOCAL) or found[_ADDRESS]


def _message(body: bytes, index: int, flags: int, preferred: int, valid: int,
             leave_out: typing.Container[int] = ()) -> netlink.Message:
    made = rtnetlink.Ifaddrmsg.of(body)._replace(
        ifa_flags=flags & 0xff, ifa_index=index).packed()
    for kind, value in netlink.attributes(body, rtnetlink.IFADDRMSG.size):
        if kind not in _REPLACED and kind not in leave_out:
            made += netlink.attribute(kind, value)
    made += netlink.numeric(_FLAGS, flags)
    made += netlink.attribute(_CACHEINFO, _LIVES.pack(preferred, valid, 0, 0))
    return netlink.Message(
        rtnetlink.RTM_NEWADDR, netlink.CREATE | netlink.REPLACE, made)


def _flags(body: bytes) -> int:
    flags = netlink.number(
        dict(netlink.attributes(body, rtnetlink.IFADDRMSG.size)).get(_FLAGS))
    # Before Linux 3.14 there are eight of them.
    return rtnetlink.Ifaddrmsg.of(body).ifa_flags if flags is None else flags


def _preferred(body: bytes) -> int:
    """Forever, but for an address that is not to be used for new sessions."""
    preferred, _ = _lives(body)
    return _FOREVER if preferred else 0


def _lives(body: bytes) -> typing.Tuple[int, int]:
    life = dict(netlink.attributes(
        body, rtnetlink.IFADDRMSG.size)).get(_CACHEINFO)
    if life is None:
        return _FOREVER, _FOREVER
    preferred, valid, _, _ = _LIVES.unpack(life)
    return preferred, valid
