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

LOG = logging.getLogger(__name__)

_TABLE = 'vf_failover'

# include/uapi/linux/netlink.h, netfilter/nfnetlink.h, netfilter/nf_tables.h
_NETLINK_NETFILTER = 12
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NFTABLES = 10
_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE = [
    _NFTABLES << 8 | kind for kind in (0, 2, 3, 6)]
_NETDEV = 5
# struct nfgenmsg: family, version, resource in the network's byte order
_HEADER = struct.Struct('!BBH')
_TABLE_NAME = 1
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_TYPE = 1, 3, 4, 7
_HOOK_NUMBER, _HOOK_PRIORITY, _HOOK_DEVICE = 1, 2, 3
_INGRESS = 0
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS = 1, 2, 4
_ELEMENT, _EXPRESSION_NAME, _EXPRESSION_DATA = 1, 1, 2
_META_TO, _META_KEY, _CMP_OF, _CMP_HOW, _CMP_WITH = 1, 2, 1, 2, 3
_IMMEDIATE_TO, _IMMEDIATE_DATA = 1, 2
_VALUE, _VERDICT, _VERDICT_CODE = 1, 2, 1
_REGISTER, _VERDICT_REGISTER = 1, 0
_PROTOCOL, _PACKET_TYPE, _EQUAL, _DROP, _ACCEPT = 1, 19, 0, 0, 1
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
                _message(_NEWTABLE, netlink.textual(_TABLE_NAME, _TABLE)),
                _message(_NEWCHAIN, _chain(nic))] + [
                    _message(_NEWRULE, _rule(nic, *its))
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
                _DELTABLE, netlink.textual(_TABLE_NAME, _TABLE))])
        except OSError as error:
            if error.errno not in _NOTHING_SHUT:
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
    # Each rule behind those that are there.
    flags = {_DELTABLE: 0, _NEWRULE: netlink.CREATE | netlink.APPEND}
    return netlink.Message(kind, flags.get(kind, netlink.CREATE),
                           _HEADER.pack(_NETDEV, 0, 0) + attributes)


def _chain(nic: links.Nic) -> bytes:
    hook = (_number(_HOOK_NUMBER, _INGRESS)
            + _number(_HOOK_PRIORITY, _PRIORITY)
            + netlink.textual(_HOOK_DEVICE, nic.name))
    return (netlink.textual(_CHAIN_TABLE, _TABLE)
            + netlink.textual(_CHAIN_NAME, _chain_name(nic))
            + _nested(_CHAIN_HOOK, hook)
            + netlink.textual(_CHAIN_TYPE, 'filter'))


def _chain_name(nic: links.Nic) -> str:
    return 'nic%d' % nic.index


def _rule(nic: links.Nic, conditions: bytes, verdict: int) -> bytes:
    return (netlink.textual(_RULE_TABLE, _TABLE)
            + netlink.textual(_RULE_CHAIN, _chain_name(nic))
            + _nested(_RULE_EXPRESSIONS, conditions + _expression(
                'immediate', _number(_IMMEDIATE_TO, _VERDICT_REGISTER)
                + _nested(_IMMEDIATE_DATA, _nested(
                    _VERDICT, _number(_VERDICT_CODE, verdict))))))


def _meta(key: int, value: bytes) -> bytes:
    """That what the kernel knows of a frame is this."""
    return _expression('meta', _number(_META_TO, _REGISTER)
                       + _number(_META_KEY, key)) + _compared(value)


def _bytes(offset: int, value: bytes) -> bytes:
    """That a frame has these bytes, behind its Ethernet header."""
    return _expression('payload', _number(_LOAD_TO, _REGISTER)
                       + _number(_LOAD_BASE, _NETWORK)
                       + _number(_LOAD_OFFSET, offset)
                       + _number(_LOAD_LENGTH, len(value))) + _compared(value)


def _compared(value: bytes) -> bytes:
    return _expression('cmp', _number(_CMP_OF, _REGISTER)
                       + _number(_CMP_HOW, _EQUAL)
                       + _nested(_CMP_WITH, netlink.attribute(_VALUE, value)))


def _expression(name: str, data: bytes) -> bytes:
    return _nested(_ELEMENT, netlink.textual(_EXPRESSION_NAME, name)
                   + _nested(_EXPRESSION_DATA, data))


def _nested(kind: int, attributes: bytes) -> bytes:
    return netlink.attribute(kind | netlink.NESTED, attributes)


def _number(kind: int, value: int) -> bytes:
    return netlink.attribute(kind, struct.pack('!i', value))
