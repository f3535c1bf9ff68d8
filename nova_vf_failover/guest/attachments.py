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

"""What programs have tied to a NIC that does not go along with its traffic."""

import os
import struct
import typing

from nova_vf_failover.guest import links
from nova_vf_failover.guest import multicast
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import nfnetlink
from nova_vf_failover.guest import rtnetlink

# linux/if_link.h
_XDP, _XDP_ATTACHED, _PROP_LIST, _ALT_IFNAME = 43, 2, 52, 53

_SYSFS = '/sys/class/net'

# linux/xfrm.h: where the attributes of a state begin, behind a struct
# xfrm_usersa_info, and where a policy has the index of its NIC, in its
# struct xfrm_selector.
_NETLINK_XFRM = 6
_GETSA, _GETPOLICY = 18, 21
_STATE_LENGTH = 224
_SELECTOR_INDEX = struct.Struct('=48xi')
_OFFLOAD_DEV = 28
_OFFLOAD = struct.Struct('=i')


def of(kernel: netlink.Netlink, nic: links.Nic) -> typing.List[str]:
    """Sentences that name the NIC."""
    return (_of_the_link(kernel, nic) + _rdma(nic) + _sources(nic)
            + _chains(nic) + _states(nic) + _policies(nic))


def _of_the_link(kernel: netlink.Netlink,
                 nic: links.Nic) -> typing.List[str]:
    found = []
    for body in kernel.dump(rtnetlink.RTM_GETLINK,
                            rtnetlink.Ifinfomsg().packed()):
        if rtnetlink.Ifinfomsg.of(body).ifi_index != nic.index:
            continue
        its = dict(netlink.attributes(body, rtnetlink.IFINFOMSG.size))
        xdp = dict(netlink.attributes(its.get(_XDP, b''), 0))
        if any(xdp.get(_XDP_ATTACHED, b'')):
            found.append('%s has an XDP program, which is not moved.'
                         % nic.name)
        found += ['%s is called %s too; other names are not moved.' % (
            nic.name, netlink.text(value))
            for kind, value in netlink.attributes(
                its.get(_PROP_LIST, b''), 0) if kind == _ALT_IFNAME]
    return found


def _rdma(nic: links.Nic) -> typing.List[str]:
    if not os.path.isdir(os.path.join(
            _SYSFS, nic.name, 'device', 'infiniband')):
        return []
    return ['%s has an RDMA device, which does not go along.' % nic.name]


def _sources(nic: links.Nic) -> typing.List[str]:
    return ['A program listens to %s on %s for single sources only; that is '
            'not moved.' % (group, nic.name)
            for group in multicast.filtered(nic.index)]


def _chains(nic: links.Nic) -> typing.List[str]:
    """Chains of nftables in the way of what comes in or goes out."""
    found = []
    for body in netlink.asked(
            nfnetlink.NETLINK_NETFILTER, nfnetlink.NFT_MSG_GETCHAIN,
            nfnetlink.NFGENMSG.pack(nfnetlink.NFPROTO_NETDEV, 0, 0)):
        its = dict(netlink.attributes(body, nfnetlink.NFGENMSG.size))
        if nic.name in _hooked(its.get(nfnetlink.NFTA_CHAIN_HOOK, b'')):
            found.append(
                'The chain %s of the nftables table %s is bound to %s; what '
                'comes in on the standby passes by it.' % (
                    netlink.text(its[nfnetlink.NFTA_CHAIN_NAME]),
                    netlink.text(its[nfnetlink.NFTA_CHAIN_TABLE]), nic.name))
    return found


def _hooked(hook: bytes) -> typing.List[str]:
    its = dict(netlink.attributes(hook, 0))
    names = [value for kind, value in netlink.attributes(
        its.get(nfnetlink.NFTA_HOOK_DEVS, b''), 0)
        if kind == nfnetlink.NFTA_DEVICE_NAME]
    if nfnetlink.NFTA_HOOK_DEV in its:
        names.append(its[nfnetlink.NFTA_HOOK_DEV])
    return [netlink.text(name) for name in names]


def _states(nic: links.Nic) -> typing.List[str]:
    """IPsec that the NIC does by itself."""
    indexes = [
        _OFFLOAD.unpack_from(value)[0]
        for body in netlink.asked(_NETLINK_XFRM, _GETSA, b'')
        for kind, value in netlink.attributes(body, _STATE_LENGTH)
        if kind == _OFFLOAD_DEV]
    if nic.index not in indexes:
        return []
    return ['%s does IPsec for %d states (offload), which end with it.' % (
        nic.name, indexes.count(nic.index))]


def _policies(nic: links.Nic) -> typing.List[str]:
    count = sum(_SELECTOR_INDEX.unpack_from(body)[0] == nic.index
                for body in netlink.asked(_NETLINK_XFRM, _GETPOLICY, b''))
    if not count:
        return []
    return ['%d IPsec policies are bound to %s; they do not apply on the '
            'standby.' % (count, nic.name)]
