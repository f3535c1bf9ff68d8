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
in its family "netdev" keeps what is sent to the VF alone from the guest. What
is sent to many passes: a network manager that configures the VF waits for a
router to speak. So does what a router or a DHCP server may send to it alone,
for without that a network manager waits for its time to run out. Raw sockets,
which DHCP clients have, see the frames before the chain does (net/core/dev.c,
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

from nova_vf_failover.guest import frames
from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import nfnetlink

LOG = logging.getLogger(__name__)

_TABLE = 'vf_failover'

# include/uapi/linux/netfilter.h, netfilter/nf_tables.h
_INGRESS = 0
_TABLE_NAME, _ELEMENT, _REGISTER = 1, 1, 1
_PROTOCOL, _PACKET_TYPE, _DROP, _ACCEPT = 1, 19, 0, 1
_LOAD_TO, _LOAD_BASE, _LOAD_OFFSET, _LOAD_LENGTH, _NETWORK = 1, 2, 3, 4, 1
# include/uapi/linux/if_packet.h, PACKET_HOST
_FOR_US = b'\0'
# What a NIC has to hear to be configured: the protocol of a frame, and which
# bytes have to be where behind its Ethernet header. Advertisements of routers
# (radvd answers one host alone if it is told to), and answers of DHCP servers,
# to the ports 546 and 68.
_ANSWERS = (
    (frames.ETH_P_IPV6, ((6, b'\x3a'), (40, b'\x86'))),
    (frames.ETH_P_IPV6, ((6, b'\x11'), (42, b'\x02\x22'))),
    (frames.ETH_P_IP, ((0, b'\x45'), (9, b'\x11'), (22, b'\x00\x44'))))
# Before the chains of others.
_PRIORITY = -1000

# The owner has flushed all tables; or the kernel has none, of this family
# (EAFNOSUPPORT: before 4.16 that was a module; net/netfilter/nf_tables_api.c,
# nf_tables_deltable, nf_tables_afinfo_lookup) or at all.
_NOTHING_SHUT = frozenset([
    errno.ENOENT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP,
    errno.EPROTONOSUPPORT, errno.EINVAL])


class Ingress:
    """What may come in on the NICs of this network namespace.

    :ivar is_shut: whether one of them may not take in all
    """

    def __init__(self) -> None:
        self.is_shut = False
        # Kept, for to close one takes milliseconds: the kernel waits until
        # nobody is in what was removed (net/netfilter/nf_tables_api.c,
        # nft_rcv_nl_event).
        self._tables: typing.Optional[netlink.Netlink] = None

    def shut(self, nic: links.Nic) -> None:
        """From now on drop what is sent to a NIC alone, if this kernel can.

        As nft(8) would write it: the answers, then meta pkttype host drop.
        """
        passed = [(_meta(_PROTOCOL, struct.pack('!H', protocol))
                   + b''.join(_bytes(*its) for its in where), _ACCEPT)
                  for protocol, where in _ANSWERS]
        dropped = _meta(_PACKET_TYPE, _FOR_US), _DROP
        try:
            self._change([
                _message(nfnetlink.NFT_MSG_NEWTABLE,
                         netlink.textual(_TABLE_NAME, _TABLE)),
                _message(nfnetlink.NFT_MSG_NEWCHAIN, _chain(nic))] + [
                    _message(nfnetlink.NFT_MSG_NEWRULE, _rule(nic, *its))
                    for its in passed + [dropped]])
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
                nfnetlink.NFT_MSG_DELTABLE,
                netlink.textual(_TABLE_NAME, _TABLE))])
        except OSError as error:
            if error.errno not in _NOTHING_SHUT:
                raise

    def _change(self, messages: typing.List[netlink.Message]) -> None:
        """Have all of this done, or nothing.

        :raises OSError: nothing was
        """
        whose = nfnetlink.NFGENMSG.pack(
            socket.AF_UNSPEC, 0, nfnetlink.NFNL_SUBSYS_NFTABLES)
        if self._tables is None:
            self._tables = netlink.Netlink(
                protocol=nfnetlink.NETLINK_NETFILTER)
        self._tables.transact(
            netlink.Message(nfnetlink.NFNL_MSG_BATCH_BEGIN, 0, whose),
            messages,
            netlink.Message(nfnetlink.NFNL_MSG_BATCH_END, 0, whose))


def _message(kind: int, attributes: bytes) -> netlink.Message:
    # Each rule behind those that are there.
    flags = {nfnetlink.NFT_MSG_DELTABLE: 0,
             nfnetlink.NFT_MSG_NEWRULE: netlink.CREATE | netlink.APPEND}
    return netlink.Message(
        kind, flags.get(kind, netlink.CREATE),
        nfnetlink.NFGENMSG.pack(nfnetlink.NFPROTO_NETDEV, 0, 0) + attributes)


def _chain(nic: links.Nic) -> bytes:
    hook = (_number(nfnetlink.NFTA_HOOK_HOOKNUM, _INGRESS)
            + _number(nfnetlink.NFTA_HOOK_PRIORITY, _PRIORITY)
            + netlink.textual(nfnetlink.NFTA_HOOK_DEV, nic.name))
    return (netlink.textual(nfnetlink.NFTA_CHAIN_TABLE, _TABLE)
            + netlink.textual(nfnetlink.NFTA_CHAIN_NAME, _chain_name(nic))
            + _nested(nfnetlink.NFTA_CHAIN_HOOK, hook)
            + netlink.textual(nfnetlink.NFTA_CHAIN_TYPE, 'filter'))


def _chain_name(nic: links.Nic) -> str:
    return 'nic%d' % nic.index


def _rule(nic: links.Nic, conditions: bytes, verdict: int) -> bytes:
    return (netlink.textual(nfnetlink.NFTA_RULE_TABLE, _TABLE)
            + netlink.textual(nfnetlink.NFTA_RULE_CHAIN, _chain_name(nic))
            + _nested(nfnetlink.NFTA_RULE_EXPRESSIONS, conditions
                      + _expression('immediate', _decided(verdict))))


def _decided(verdict: int) -> bytes:
    return _number(
        nfnetlink.NFTA_IMMEDIATE_DREG, nfnetlink.NFT_REG_VERDICT) + _nested(
            nfnetlink.NFTA_IMMEDIATE_DATA, _nested(
                nfnetlink.NFTA_DATA_VERDICT,
                _number(nfnetlink.NFTA_VERDICT_CODE, verdict)))


def _meta(key: int, value: bytes) -> bytes:
    """That what the kernel knows of a frame is this."""
    return _expression(
        'meta', _number(nfnetlink.NFTA_META_DREG, _REGISTER)
        + _number(nfnetlink.NFTA_META_KEY, key)) + _compared(value)


def _bytes(offset: int, value: bytes) -> bytes:
    """That a frame has these bytes, behind its Ethernet header."""
    return _expression('payload', _number(_LOAD_TO, _REGISTER)
                       + _number(_LOAD_BASE, _NETWORK)
                       + _number(_LOAD_OFFSET, offset)
                       + _number(_LOAD_LENGTH, len(value))) + _compared(value)


def _compared(value: bytes) -> bytes:
    return _expression(
        'cmp', _number(nfnetlink.NFTA_CMP_SREG, _REGISTER)
        + _number(nfnetlink.NFTA_CMP_OP, nfnetlink.NFT_CMP_EQ)
        + _nested(nfnetlink.NFTA_CMP_DATA, netlink.attribute(
            nfnetlink.NFTA_DATA_VALUE, value)))


def _expression(name: str, data: bytes) -> bytes:
    return _nested(_ELEMENT, netlink.textual(nfnetlink.NFTA_EXPR_NAME, name)
                   + _nested(nfnetlink.NFTA_EXPR_DATA, data))


def _nested(kind: int, attributes: bytes) -> bytes:
    return netlink.attribute(kind | netlink.NESTED, attributes)


def _number(kind: int, value: int) -> bytes:
    return netlink.attribute(kind, struct.pack('!i', value))
