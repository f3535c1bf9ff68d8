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

"""Frames that are dropped before a NIC is in use.

A VF hears from the moment it is up, and has to be up to be dressed; as long
as its standby hears too, everything would come in twice. A chain of nftables
in its family "netdev" whose policy is "drop" keeps that from the guest. Raw
sockets see the frames before it does (net/core/dev.c,
__netif_receive_skb_core), so the NIC can be proven all the same. The kernel
removes a chain with its NIC.

Linux before 4.2, and one that is built without nftables, has no such chains:
there frames come in twice for as long as it takes to dress the VF.
"""

import errno
import logging
import socket
import struct
import typing

from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink

LOG = logging.getLogger(__name__)

_TABLE = 'vf_failover'

# include/uapi/linux/netlink.h, netfilter/nfnetlink.h, netfilter/nf_tables.h
_NETLINK_NETFILTER = 12
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NFTABLES = 10
_NEWTABLE, _DELTABLE, _NEWCHAIN = [_NFTABLES << 8 | kind for kind in (0, 2, 3)]
_NETDEV = 5
# struct nfgenmsg: family, version, resource in the network's byte order
_HEADER = struct.Struct('!BBH')
_TABLE_NAME = 1
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = (
    1, 3, 4, 5, 7)
_HOOK_NUMBER, _HOOK_PRIORITY, _HOOK_DEVICE = 1, 2, 3
_INGRESS = 0
_DROP = 0
# Before the chains of others.
_PRIORITY = -1000


class Ingress:
    """What may come in on the NICs of this network namespace.

    :ivar is_shut: whether one of them may take in nothing
    """

    def __init__(self) -> None:
        self.is_shut = False
        # Kept, for to close one takes milliseconds: the kernel waits until
        # nobody is in what was removed (net/netfilter/nf_tables_api.c,
        # nft_rcv_nl_event).
        self._tables: typing.Optional[netlink.Netlink] = None

    def shut(self, nic: links.Nic) -> None:
        """From now on drop what comes in, if this kernel can."""
        try:
            self._change([
                _message(_NEWTABLE, netlink.textual(_TABLE_NAME, _TABLE)),
                _message(_NEWCHAIN, _chain(nic))])
        except OSError as error:
            LOG.info('Frames will come in twice while %s is dressed: %s',
                     nic.name, error)
        else:
            self.is_shut = True

    def open(self) -> None:
        """Drop nothing any more, on no NIC."""
        if self.is_shut:
            self.forget()
            self.is_shut = False

    def forget(self) -> None:
        """Open whatever was shut, also by an agent that was killed."""
        try:
            self._change([_message(
                _DELTABLE, netlink.textual(_TABLE_NAME, _TABLE))])
        except OSError as error:
            # The owner has flushed all tables, or this kernel has none.
            if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP,
                                   errno.EPROTONOSUPPORT, errno.EINVAL):
                raise

    def _change(self, messages: typing.List[netlink.Message]) -> None:
        """Have all of this done, or nothing.

        :raises OSError: nothing was
        """
        whose = _HEADER.pack(socket.AF_UNSPEC, 0, _NFTABLES)
        if self._tables is None:
            self._tables = netlink.Netlink(protocol=_NETLINK_NETFILTER)
        self._tables.transact(netlink.Message(_BATCH_BEGIN, 0, whose),
                              messages,
                              netlink.Message(_BATCH_END, 0, whose))


def _message(kind: int, attributes: bytes) -> netlink.Message:
    return netlink.Message(kind, netlink.CREATE if kind != _DELTABLE else 0,
                           _HEADER.pack(_NETDEV, 0, 0) + attributes)


def _chain(nic: links.Nic) -> bytes:
    hook = (_number(_HOOK_NUMBER, _INGRESS)
            + _number(_HOOK_PRIORITY, _PRIORITY)
            + netlink.textual(_HOOK_DEVICE, nic.name))
    return (netlink.textual(_CHAIN_TABLE, _TABLE)
            + netlink.textual(_CHAIN_NAME, 'nic%d' % nic.index)
            + netlink.attribute(_CHAIN_HOOK | netlink.NESTED, hook)
            + _number(_CHAIN_POLICY, _DROP)
            + netlink.textual(_CHAIN_TYPE, 'filter'))


def _number(kind: int, value: int) -> bytes:
    return netlink.attribute(kind, struct.pack('!i', value))
