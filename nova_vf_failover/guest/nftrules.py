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
from nova_vf_failover.guest import nftchains

# linux/netfilter/nf_tables.h: rules, elements of sets. The first byte of a
# message is the family.
_GETRULE, _GETSETELEM = 10 << 8 | 7, 10 << 8 | 13
_FAMILIES = {1: 'inet', 2: 'ip', 3: 'arp', 5: 'netdev', 7: 'bridge',
             10: 'ip6'}
_TABLE, _CHAIN, _EXPRESSIONS = 1, 2, 4
_NAME, _DATA, _VALUE = 1, 2, 1
_META_TO, _META_KEY, _META_FROM = 1, 2, 3
_IIF, _OIF, _IIFNAME, _OIFNAME = 4, 5, 6, 7
_CMP_OF, _CMP_HOW, _CMP_WITH = 1, 2, 3
_EQUAL, _NOT_EQUAL = 0, 1
_LOOKUP_SET, _LOOKUP_OF, _LOOKUP_FLAGS, _INVERTED = 1, 2, 5, 1
_ELEMENTS, _SET_TABLE, _SET_NAME = 3, 1, 2
_ELEMENT_KEY, _ELEMENT_DATA, _ELEMENT_FLAGS, _INTERVAL_END = 1, 2, 3, 1
# Of what xt_MASQUERADE is called by iptables-nft: NFTA_TARGET_NAME.
_TARGET_NAME = 1

# What a rule has in it that has to do with NICs. Others are not read: a guest
# may have tens of thousands of them.
_TRACES = [netlink.attribute(_META_KEY, struct.pack('!I', key))
           for key in (_IIF, _OIF, _IIFNAME, _OIFNAME)] + [
               b'masq', b'MASQUERADE']

# What decides nothing and changes nothing.
_IDLE = frozenset(['meta', 'cmp', 'payload', 'bitwise', 'byteorder', 'range',
                   'lookup', 'ct', 'counter', 'log', 'limit', 'match', 'fib',
                   'rt', 'socket', 'osf', 'exthdr', 'hash', 'numgen',
                   'connlimit', 'quota', 'last', 'tunnel', 'xfrm'])
# Those of them that can also set something, from a register: NFTA_..._SREG.
_SETTING = {'meta': _META_FROM, 'ct': 4, 'payload': 5, 'exthdr': 7}
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
    for body in netlink.asked(nftchains.PROTOCOL, _GETRULE,
                              nftchains.HEAD.pack(0, 0, 0)):
        its = dict(netlink.attributes(body, nftchains.HEAD.size))
        found.setdefault(nftchains.Chain(
            body[0], netlink.text(its[_TABLE]), netlink.text(its[_CHAIN])),
            []).append(its.get(_EXPRESSIONS, b''))
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
        key = _number(its.get(_META_KEY)) if name == 'meta' else -1
        if name == 'meta' and _META_TO in its and key in (
                _IIF, _OIF, _IIFNAME, _OIFNAME):
            loaded[_offset(its[_META_TO])] = key
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
        key = loaded.pop(_offset(its[_CMP_OF]), None)
        how = _number(its.get(_CMP_HOW))
        if key is None or how not in (_EQUAL, _NOT_EQUAL):
            return []
        value = dict(netlink.attributes(its[_CMP_WITH], 0))[_VALUE]
        out = key in (_OIF, _OIFNAME)
        if key in (_IIFNAME, _OIFNAME):
            return [conditions.Name(value, out, how == _NOT_EQUAL)]
        return [conditions.Index(struct.unpack_from('=I', value)[0], out,
                                 how == _NOT_EQUAL)]
    if name != 'lookup' or not loaded:
        return []
    begin = _offset(its[_LOOKUP_OF])
    elements = _elements(family, table, its[_LOOKUP_SET])
    flags = _number(its.get(_LOOKUP_FLAGS, b'\0\0\0\0'))
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
            nftchains.PROTOCOL, _GETSETELEM,
            nftchains.HEAD.pack(family, 0, 0)
            + netlink.textual(_SET_TABLE, table)
            + netlink.attribute(_SET_NAME, name)):
        listed = dict(netlink.attributes(body, nftchains.HEAD.size))
        for _, element in netlink.attributes(listed.get(_ELEMENTS, b''), 0):
            its = dict(netlink.attributes(element, 0))
            key = dict(netlink.attributes(its.get(_ELEMENT_KEY, b''), 0))
            flags = _number(its.get(_ELEMENT_FLAGS, b'\0\0\0\0'))
            found.append((
                key.get(_VALUE, b''), its.get(_ELEMENT_DATA, b'in'),
                bool(flags & _INTERVAL_END)))
    return found


def _verdict(its: Attributes) -> bytes:
    """What is decided, however this kernel nests it; empty if it is a value.

    :param its: NFTA_IMMEDIATE_DATA and in it NFTA_DATA_VERDICT with a code,
        and the chain of a jump
    """
    data = dict(netlink.attributes(its.get(2, b''), 0))
    verdict = dict(netlink.attributes(data.get(2, b''), 0))
    return verdict.get(1, b'') + verdict.get(2, b'')


def _expression(element: bytes) -> typing.Tuple[str, bytes, Attributes]:
    its = dict(netlink.attributes(element, 0))
    data = its.get(_DATA, b'')
    return (netlink.text(its[_NAME]), data,
            dict(netlink.attributes(data, 0)))


def _is_map(its: Attributes) -> bool:
    """Whether a lookup hands on what is found: NFTA_LOOKUP_DREG."""
    return 3 in its


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
