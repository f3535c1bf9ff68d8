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

"""The groups that a guest listens to on a NIC.

A program joins a group on one NIC, by its index. When that NIC goes its
membership goes, and nobody can give it back to the program. But the kernel
hands what comes in for a group to every socket that has not said otherwise
(IP_MULTICAST_ALL, ip(7)), as long as somebody is a member: the agent is one,
on the standby and then on the new VF, and after each start of its own, until
the guest is started anew. Whether a program whose membership has gone listens
on cannot be seen, and so the agent stays a member if it leaves. Not possible:
programs that have switched IP_MULTICAST_ALL off, and memberships for single
sources, for which the kernel asks whether the very socket has them, whoever
else is a member (net/ipv4/igmp.c, ip_mc_sf_allow).
"""

import contextlib
import errno
import ipaddress
import logging
import os
import socket
import struct
import typing

from nova_vf_failover.guest import links
from nova_vf_failover.guest import sysctl

LOG = logging.getLogger(__name__)

_IPV6_JOIN_GROUP = 20
# A socket can be a member of that many groups of IPv4, if nobody has changed
# net.ipv4.igmp_max_memberships.
_MOST = 20
#: RFC 9568, 5.1.1.2 and 5.1.2.2
VRRP = frozenset(['224.0.0.18', 'ff02::12'])
# Those that the kernel joins by itself: all nodes, all routers, and those of
# neighbour discovery.
_KERNELS = frozenset(['224.0.0.1', 'ff01::1', 'ff02::1', 'ff01::2', 'ff02::2',
                      'ff05::2'])
_SOLICITED = 'ff02::1:ff'
# In which one message tells that somebody leaves, at once.
_FIRST_VERSIONS = {'ipv4/conf:force_igmp_version': '2',
                   'ipv6/conf:force_mld_version': '1'}


def groups(name: str) -> typing.List[str]:
    """The groups with a member on a NIC, without the kernel's own."""
    found = _groups_v4(name) + _groups_v6(name)
    return [group for group in found if group not in _KERNELS
            and not group.startswith(_SOLICITED)]


def filtered(index: int) -> typing.List[str]:
    """The groups of which somebody takes in single sources on a NIC."""
    # Index, name, group, source, including and excluding members, as
    # net/ipv4/igmp.c, igmp_mcf_seq_show, and net/ipv6/mcast.c,
    # igmp6_mcf_seq_show, print them.
    found = set()
    for line in _lines('mcfilter')[1:]:
        words = line.split()
        if int(words[0]) == index:
            found.add(socket.inet_ntoa(struct.pack('!I', int(words[2], 16))))
    for line in _lines('mcfilter6')[1:]:
        words = line.split()
        if int(words[0]) == index:
            found.add(str(ipaddress.IPv6Address(int(words[2], 16))))
    return sorted(found)


class Memberships:
    """The groups that the agent is a member of, on one NIC each."""

    def __init__(self) -> None:
        self._sockets: typing.Dict[int, typing.List[socket.socket]] = {}

    def join(self, index: int, wanted: typing.Iterable[str]) -> None:
        """Be a member of these groups on a NIC, and of no others there."""
        self.leave(index)
        for family, number in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
            its = [group for group in map(ipaddress.ip_address, wanted)
                   if group.version == number]
            for start in range(0, len(its), _MOST):
                self._sockets.setdefault(index, []).append(
                    _member(family, index, its[start:start + _MOST]))

    def leave(self, index: int) -> None:
        for sock in self._sockets.pop(index, []):
            sock.close()

    @contextlib.contextmanager
    def leaving(self, nic: links.Nic) -> typing.Iterator[None]:
        """Leave the groups of a NIC that is set down meanwhile, unheard.

        A switch may believe that the port has left its groups, of which it is
        a member on its other NIC. What is said on a NIC that is down is lost;
        but IGMPv3 and MLDv2 say it for a second, in which the NIC may be up
        again, with a MAC that nobody has (net/ipv4/igmp.c, igmp_ifc_event;
        net/ipv6/mcast.c, mld_ifc_event).
        """
        with sysctl.changed_for_now(nic.name, _FIRST_VERSIONS):
            try:
                yield
            finally:
                self.leave(nic.index)

    def keep_only(self, indexes: typing.Container[int]) -> None:
        """Forget NICs that have gone."""
        for index in list(self._sockets):
            if index not in indexes:
                self.leave(index)


def _member(family: int, index: int,
            wanted: typing.Iterable[typing.Any]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    for group in wanted:
        try:
            if family == socket.AF_INET:
                # struct ip_mreqn: group, any address of ours, index
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                                group.packed + struct.pack('=4xi', index))
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_JOIN_GROUP,
                                group.packed + struct.pack('=i', index))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                LOG.warning('Cannot join %s: %s', group, error)
    return sock


def _groups_v4(name: str) -> typing.List[str]:
    """From lines as net/ipv4/igmp.c, igmp_mc_seq_show prints them."""
    found = []
    current = ''
    for line in _lines('igmp')[1:]:
        words = line.split()
        if not line.startswith('\t'):
            current = words[1].rstrip(':')
        elif current == name:
            # A number of the machine's byte order, in the network's.
            found.append(socket.inet_ntoa(
                struct.pack('=I', int(words[0], 16))))
    return found


def _groups_v6(name: str) -> typing.List[str]:
    found = []
    for line in _lines('igmp6'):
        words = line.split()
        if words[1] == name:
            found.append(str(ipaddress.IPv6Address(int(words[2], 16))))
    return found


def _lines(name: str) -> typing.List[str]:
    # /proc/net is that of the process, whatever namespace this thread is in.
    for folder in ('/proc/thread-self/net', '/proc/self/net'):
        try:
            with open(os.path.join(folder, name)) as source:
                return source.read().splitlines()
        except FileNotFoundError:
            # Linux before 3.17, or IPv6 is off.
            continue
    return []
