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

"""The rules of nftables, as far as they have to do with NICs.

iptables is a front end of it in most guests (iptables-nft).
"""

import struct
import typing

from nova_vf_failover.guest import conditions
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import nfnetlink
from nova_vf_failover.guest import nftchains

_FAMILIES = {
    nfnetlink.NFPROTO_INET: 'inet', nfnetlink.NFPROTO_IPV4: 'ip',
    nfnetlink.NFPROTO_ARP: 'arp', nfnetlink.NFPROTO_NETDEV: 'netdev',
    nfnetlink.NFPROTO_BRIDGE: 'bridge', nfnetlink.NFPROTO_IPV6: 'ip6'}
# linux/netfilter/nf_tables.h: NFT_META_..., NFT_LOOKUP_F_INV, and what a list
# of elements of a set has.
_IIF, _OIF, _IIFNAME, _OIFNAME = 4, 5, 6, 7
_INVERTED = 1
_ELEMENTS, _SET_TABLE, _SET_NAME = 3, 1, 2
_ELEMENT_KEY, _ELEMENT_DATA, _ELEMENT_FLAGS, _INTERVAL_END = 1, 2, 3, 1
# Of what xt_MASQUERADE is called by iptables-nft: NFTA_TARGET_NAME.
_TARGET_NAME = 1

# What a rule has in it that has to do with NICs. Others are not read: a guest
# may have tens of thousands of them.
_TRACES = [netlink.attribute(nfnetlink.NFTA_META_KEY, struct.pack('!I', key))
           for key in (_IIF, _OIF, _IIFNAME, _OIFNAME)] + [
               b'masq', b'MASQUERADE']

# What decides nothing and changes nothing.
_IDLE = frozenset(['meta', 'cmp', 'payload', 'bitwise', 'byteorder', 'range',
                   'lookup', 'ct', 'counter', 'log', 'limit', 'match', 'fib',
                   'rt', 'socket', 'osf', 'exthdr', 'hash', 'numgen',
                   'connlimit', 'quota', 'last', 'tunnel', 'xfrm'])
# Those of them that can also set something, from a register.
_CT_SREG, _PAYLOAD_SREG, _EXTHDR_SREG = 4, 5, 7
_SETTING = {'meta': nfnetlink.NFTA_META_SREG, 'ct': _CT_SREG,
            'payload': _PAYLOAD_SREG, 'exthdr': _EXTHDR_SREG}
# What is another one each time, and makes no difference.
_COUNTING = frozenset(['counter', 'last'])

Attributes = typing.Dict[int, bytes]
Loaded = typing.Dict[int, int]


class Members(conditions.Condition):
    """That a NIC is in a set, or what a map has for it.

    :param elements: each key with its value, whether an interval ends there
    :param begin: of the NIC in a key
    :param named: it is known by its name, not by its index
    """

    def __init__(self, elements: typing.List[typing.Tuple[
            bytes, bytes, bool]], begin: int, named: bool, out: bool,
            negated: bool) -> None:
        super().__init__(out, negated)
        self._elements = sorted(elements)
        self._intervals = any(end for _, _, end in elements)
        self._begin = begin
        self._named = named

    def value(self, name: str, index: int) -> typing.Any:
        wanted = conditions.padded(name) if self._named else (
            struct.pack('=I', index))
        if self._intervals:
            return self._interval(wanted)[1]
        # Keys may have other parts before the NIC and behind it.
        end = self._begin + len(wanted)
        return [(key[:self._begin], key[end:], value)
                for key, value, _ in self._elements
                if key[self._begin:end] == wanted]

    def vague(self, name: str) -> bool:
        begin = self._interval(conditions.padded(name))[0]
        return self._intervals and begin not in (
            b'', conditions.padded(name))

    def _interval(self, wanted: bytes) -> typing.Tuple[bytes, bytes]:
        """Where the one begins that something is in, and its value."""
        before = [its for its in self._elements if its[0] <= wanted]
        return before[-1][:2] if before and not before[-1][2] else (b'', b'')


def chains() -> typing.Iterator[typing.List[conditions.Rule]]:
    """The rules of each chain that has to do with NICs, in their order.

    Those that no packet comes to are left out. A policy is the last rule.
    """
    found: typing.Dict[nftchains.Chain, typing.List[bytes]] = {}
    for body in netlink.asked(
            nfnetlink.NETLINK_NETFILTER, nfnetlink.NFT_MSG_GETRULE,
            nfnetlink.NFGENMSG.pack(0, 0, 0)):
        its = dict(netlink.attributes(body, nfnetlink.NFGENMSG.size))
        found.setdefault(nftchains.Chain(
            nfnetlink.family(body),
            netlink.text(its[nfnetlink.NFTA_RULE_TABLE]),
            netlink.text(its[nfnetlink.NFTA_RULE_CHAIN])), []).append(
                its.get(nfnetlink.NFTA_RULE_EXPRESSIONS, b''))
    telling = [chain for chain, bodies in found.items() if any(
        trace in body for trace in _TRACES for body in bodies)]
    if not telling:
        return
    ways = nftchains.Ways(found)
    for chain in telling:
        if ways.lead_to(chain):
            words = 'chain %s of the nftables table %s %s' % (
                chain.name, _FAMILIES.get(chain.family, str(chain.family)),
                chain.table)
            yield [_rule(words, chain.family, chain.table, body)
                   for body in found[chain]] + [
                       conditions.Rule(words, [], b'immediate' + code, True,
                                       False)
                       for code in ways.policy(chain)]


def _rule(words: str, family: int, table: str, body: bytes) -> conditions.Rule:
    asked: typing.List[conditions.Condition] = []
    loaded: Loaded = {}
    rest, acts, masquerades = b'', False, False
    for _, element in netlink.attributes(body, 0):
        name, data, its = _expression(element)
        key = _number(its.get(nfnetlink.NFTA_META_KEY)) if (
            name == 'meta') else -1
        if name == 'meta' and nfnetlink.NFTA_META_DREG in its and key in (
                _IIF, _OIF, _IIFNAME, _OIFNAME):
            loaded[_offset(its[nfnetlink.NFTA_META_DREG])] = key
            continue
        if name == 'immediate':
            data = _verdict(its) or data
        made = _conditions(name, its, loaded, family, table)
        asked += made
        if name not in _COUNTING and (
                not made or name == 'lookup' and _is_map(its)):
            rest += name.encode() + data
        acts = acts or name not in _IDLE or _SETTING.get(name) in its or (
            name == 'lookup' and _is_map(its))
        masquerades = masquerades or name == 'masq' or name == 'target' and (
            netlink.text(its.get(_TARGET_NAME, b'')) == 'MASQUERADE')
    return conditions.Rule(words, asked, rest, acts, masquerades)


def _conditions(name: str, its: Attributes, loaded: Loaded, family: int,
                table: str) -> typing.List[conditions.Condition]:
    """What an expression asks of the NICs that are in registers."""
    if name == 'cmp':
        key = loaded.pop(_offset(its[nfnetlink.NFTA_CMP_SREG]), None)
        how = _number(its.get(nfnetlink.NFTA_CMP_OP))
        if key is None or how not in (
                nfnetlink.NFT_CMP_EQ, nfnetlink.NFT_CMP_NEQ):
            return []
        value = dict(netlink.attributes(its[nfnetlink.NFTA_CMP_DATA], 0))[
            nfnetlink.NFTA_DATA_VALUE]
        out = key in (_OIF, _OIFNAME)
        if key in (_IIFNAME, _OIFNAME):
            return [conditions.Name(value, out, how == nfnetlink.NFT_CMP_NEQ)]
        return [conditions.Index(struct.unpack_from('=I', value)[0], out,
                                 how == nfnetlink.NFT_CMP_NEQ)]
    if name != 'lookup' or not loaded:
        return []
    begin = _offset(its[nfnetlink.NFTA_LOOKUP_SREG])
    elements = _elements(family, table, its[nfnetlink.NFTA_LOOKUP_SET])
    flags = _number(its.get(nfnetlink.NFTA_LOOKUP_FLAGS, b'\0\0\0\0'))
    made: typing.List[conditions.Condition] = [
        Members(elements, where - begin, key in (_IIFNAME, _OIFNAME),
                key in (_OIF, _OIFNAME), bool(flags & _INVERTED))
        for where, key in loaded.items() if where >= begin]
    loaded.clear()
    return made


def _elements(family: int, table: str, name: bytes,
              ) -> typing.List[typing.Tuple[bytes, bytes, bool]]:
    found = []
    for body in netlink.asked(
            nfnetlink.NETLINK_NETFILTER, nfnetlink.NFT_MSG_GETSETELEM,
            nfnetlink.NFGENMSG.pack(family, 0, 0)
            + netlink.textual(_SET_TABLE, table)
            + netlink.attribute(_SET_NAME, name)):
        listed = dict(netlink.attributes(body, nfnetlink.NFGENMSG.size))
        for _, element in netlink.attributes(listed.get(_ELEMENTS, b''), 0):
            its = dict(netlink.attributes(element, 0))
            key = dict(netlink.attributes(its.get(_ELEMENT_KEY, b''), 0))
            flags = _number(its.get(_ELEMENT_FLAGS, b'\0\0\0\0'))
            found.append((
                key.get(nfnetlink.NFTA_DATA_VALUE, b''),
                its.get(_ELEMENT_DATA, b'in'),
                bool(flags & _INTERVAL_END)))
    return found


def _verdict(its: Attributes) -> bytes:
    """What is decided, however this kernel nests it; empty if it is a value.

    :param its: the attributes of an "immediate"
    """
    data = dict(netlink.attributes(
        its.get(nfnetlink.NFTA_IMMEDIATE_DATA, b''), 0))
    verdict = dict(netlink.attributes(
        data.get(nfnetlink.NFTA_DATA_VERDICT, b''), 0))
    return (verdict.get(nfnetlink.NFTA_VERDICT_CODE, b'')
            + verdict.get(nfnetlink.NFTA_VERDICT_CHAIN, b''))


def _expression(element: bytes) -> typing.Tuple[str, bytes, Attributes]:
    its = dict(netlink.attributes(element, 0))
    data = its.get(nfnetlink.NFTA_EXPR_DATA, b'')
    return (netlink.text(its[nfnetlink.NFTA_EXPR_NAME]), data,
            dict(netlink.attributes(data, 0)))


def _is_map(its: Attributes) -> bool:
    """Whether a lookup hands on what is found."""
    return nfnetlink.NFTA_LOOKUP_DREG in its


def _offset(value: bytes) -> int:
    """Where a register begins, in bytes.

    The first four numbers are those of registers of 16 bytes; from 8 on they
    count the same by 4 bytes (nft_parse_register in
    net/netfilter/nf_tables_api.c).
    """
    number = _number(value)
    return (number - 1) * 16 if number < 8 else (number - 8) * 4


def _number(value: typing.Optional[bytes]) -> int:
    """Of an attribute in the network's byte order; -1 if it is not there."""
    return -1 if value is None else struct.unpack_from('!I', value)[0]
