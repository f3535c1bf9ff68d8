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

"""The queueing discipline that an owner has put on a NIC, tc(8)."""

import socket
import struct
import typing

from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink

_NEWQDISC, _GETQDISC, _GETTCLASS = 36, 38, 42
# struct tcmsg: family, index, handle, parent, info
_HEADER = struct.Struct('=BxxxiIII')
_KIND, _OPTIONS = 1, 2
_ROOT = 0xffffffff
# The kernel does not take what it has printed (net/sched/sch_htb.c, htb_init
# and htb_dump: the version is another one).
_NOT_GIVEN_BACK = frozenset(['htb'])


def of(kernel: netlink.Netlink, index: int) -> typing.List[bytes]:
    """The disciplines of a NIC that are not the kernel's own choice.

    That has no handle.
    """
    return [body for body in kernel.dump(_GETQDISC, _HEADER.pack(
        socket.AF_UNSPEC, index, 0, 0, 0)) if _is(body, index)]


def obstacle(kernel: netlink.Netlink, nic: links.Nic) -> str:
    """Why those of a NIC cannot be moved; empty if they can."""
    found = of(kernel, nic.index)
    for body in found:
        if _HEADER.unpack_from(body)[3] != _ROOT:
            return ('%s has the queueing discipline %s, which is not at its '
                    'root; it is not moved.' % (nic.name, _kind(body)))
        if _kind(body) in _NOT_GIVEN_BACK:
            return ('%s has the queueing discipline %s, which is not moved.'
                    % (nic.name, _kind(body)))
    if found and kernel.dump(_GETTCLASS, _HEADER.pack(
            socket.AF_UNSPEC, nic.index, 0, 0, 0)):
        return ('The queueing discipline %s of %s has classes, which are not '
                'moved.' % (_kind(found[0]), nic.name))
    return ''


def put(bodies: typing.Iterable[bytes],
        index: int) -> typing.List[netlink.Message]:
    """What gives a NIC disciplines of others, in place of its own."""
    messages = []
    for body in bodies:
        _, _, handle, parent, _ = _HEADER.unpack_from(body)
        made = _HEADER.pack(socket.AF_UNSPEC, index, handle, parent, 0)
        for kind, value in netlink.attributes(body, _HEADER.size):
            if kind in (_KIND, _OPTIONS):
                made += netlink.attribute(kind, value)
        messages.append(netlink.Message(
            _NEWQDISC, netlink.CREATE | netlink.REPLACE, made))
    return messages


def _is(body: bytes, index: int) -> bool:
    _, its, handle, _, _ = _HEADER.unpack_from(body)
    return bool(its == index and handle)


def _kind(body: bytes) -> str:
    return netlink.text(dict(netlink.attributes(body, _HEADER.size))[_KIND])
