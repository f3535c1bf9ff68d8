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

"""What lies on a NIC and is in another network namespace: of a container.

The links of this namespace do not show it. There are two traces. A device with
a MAC of its own, such as a macvlan, has the NIC take that in while it is up.
And the kernel knows other namespaces by numbers: it gives one to a namespace
that a device of this one is moved to, and tells what is in there without
anybody entering it, which the service may not do.
"""

import errno
import os
import socket
import struct
import typing

from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import rtnetlink

# In the first byte of a MAC.
_TO_MANY = 0x01

# include/uapi/linux/net_namespace.h: numbers of namespaces. A struct rtgenmsg
# has four bytes with what fills it up.
_ANY = bytes(4)
_NUMBER, _PROCESS = 1, 2

# What a kernel says that cannot tell, of namespaces that have just gone and
# of those that the agent has no power over.
_UNKNOWN = frozenset([errno.EOPNOTSUPP, errno.EINVAL, errno.EACCES,
                      errno.EPERM, errno.ENOENT, errno.ESRCH])


def obstacles(kernel: netlink.Netlink, nics: links.Links, nic: links.Nic,
              every: typing.Iterable[links.Nic]) -> typing.List[str]:
    """Sentences that name the NIC.

    :param every: the links of this namespace
    """
    found = list(_in_others(kernel, nics, nic))
    known = {its.mac for its in every} | {its.mac for its in found}
    return ['%s (%s) in another network namespace lies on %s.' % (
        its.name, its.kind, nic.name) for its in found] + [
        '%s takes in what is sent to %s: something lies on it, such as a '
        'macvlan in another network namespace.' % (nic.name, mac)
        for mac in _taken_in(kernel, nic) if mac not in known]


def _taken_in(kernel: netlink.Netlink,
              nic: links.Nic) -> typing.Iterator[str]:
    """MACs of single stations beside its own."""
    for body in kernel.dump(rtnetlink.RTM_GETNEIGH, rtnetlink.Ifinfomsg(
            ifi_family=socket.AF_BRIDGE, ifi_index=nic.index).packed()):
        header = rtnetlink.Ndmsg.of(body)
        mac = dict(netlink.attributes(body, rtnetlink.NDMSG.size)).get(
            rtnetlink.NDA_LLADDR, b'')
        if (header.ndm_family == socket.AF_BRIDGE
                and header.ndm_ifindex == nic.index
                and header.ndm_flags & rtnetlink.NTF_SELF and len(mac) == 6
                and not mac[0] & _TO_MANY):
            yield links.mac_text(mac)


def _in_others(kernel: netlink.Netlink, nics: links.Links,
               nic: links.Nic) -> typing.Iterator[links.Nic]:
    for namespace in _namespaces(kernel):
        try:
            there = nics.in_namespace(namespace)
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
            continue
        for its, number in there:
            # The number of this namespace, which it has got by this at last.
            if (its.link == nic.index and its.kind != 'veth'
                    and number == _own_number(kernel)):
                yield its


def _namespaces(kernel: netlink.Netlink) -> typing.List[int]:
    try:
        bodies = kernel.dump(rtnetlink.RTM_GETNSID, _ANY)
    except OSError as error:
        # Before Linux 4.2.
        if error.errno not in _UNKNOWN:
            raise
        return []
    return [_number(body) for body in bodies]


def _own_number(kernel: netlink.Netlink) -> int:
    return _number(kernel.get(
        rtnetlink.RTM_GETNSID, _ANY + netlink.numeric(_PROCESS, os.getpid())))


def _number(body: bytes) -> int:
    """Of a namespace; -1 if it has none."""
    value = dict(netlink.attributes(body, len(_ANY)))[_NUMBER]
    return int(struct.unpack('=i', value)[0])
