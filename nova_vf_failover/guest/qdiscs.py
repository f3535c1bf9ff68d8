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

import typing

from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import rtnetlink

_KIND, _OPTIONS = 1, 2
_ROOT = 0xffffffff
# The kernel does not take what it has printed (net/sched/sch_htb.c, htb_init
# and htb_dump: the version is another one).
_NOT_GIVEN_BACK = frozenset(['htb'])


def of(kernel: netlink.Netlink, index: int) -> typing.List[bytes]:
    """The disciplines of a NIC that are not the kernel's own choice.

    That has no handle.
    """
    return [body for body in kernel.dump(
        rtnetlink.RTM_GETQDISC, rtnetlink.Tcmsg(tcm_ifindex=index).packed())
        if _is(body, index)]


def obstacle(kernel: netlink.Netlink, nic: links.Nic) -> str:
    """Why those of a NIC cannot be moved; empty if they can."""
    found = of(kernel, nic.index)
    for body in found:
        if rtnetlink.Tcmsg.of(body).tcm_parent != _ROOT:
            return ('%s has the queueing discipline %s, which is not at its '
                    'root; it is not moved.' % (nic.name, _kind(body)))
        if _kind(body) in _NOT_GIVEN_BACK:
            return ('%s has the queueing discipline %s, which is not moved.'
                    % (nic.name, _kind(body)))
    if found and kernel.dump(rtnetlink.RTM_GETTCLASS, rtnetlink.Tcmsg(
            tcm_ifindex=nic.index).packed()):
        return ('The queueing discipline %s of %s has classes, which are not '
                'moved.' % (_kind(found[0]), nic.name))
    return ''


def put(bodies: typing.Iterable[bytes],
        index: int) -> typing.List[netlink.Message]:
    """What gives a NIC disciplines of others, in place of its own."""
    messages = []
    for body in bodies:
        header = rtnetlink.Tcmsg.of(body)
        made = rtnetlink.Tcmsg(
            tcm_ifindex=index, tcm_handle=header.tcm_handle,
            tcm_parent=header.tcm_parent).packed()
        for kind, value in netlink.attributes(body, rtnetlink.TCMSG.size):
            if kind in (_KIND, _OPTIONS):
                made += netlink.attribute(kind, value)
        messages.append(netlink.Message(
            rtnetlink.RTM_NEWQDISC, netlink.CREATE | netlink.REPLACE, made))
    return messages


def _is(body: bytes, index: int) -> bool:
    header = rtnetlink.Tcmsg.of(body)
    return bool(header.tcm_ifindex == index and header.tcm_handle)


def _kind(body: bytes) -> str:
    return netlink.text(dict(netlink.attributes(
        body, rtnetlink.TCMSG.size))[_KIND])
