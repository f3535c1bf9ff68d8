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

"""The chains of nftables: which of them packets come to, and how they end.

A chain whose rules tell NICs apart matters as far as something comes to it. So
firewalld keeps the chains of a zone that has no NIC any more, and lets one NIC
of a zone forward to another in a guest that forwards nothing.
"""

import re
import struct
import typing

from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import sysctl

#: NETLINK_NETFILTER, linux/netlink.h
PROTOCOL = 12
#: struct nfgenmsg: family, version, resource
HEAD = struct.Struct('=BBH')

# linux/netfilter/nf_tables.h: NFT_MSG_GETCHAIN, NFTA_CHAIN_...
_GETCHAIN = 10 << 8 | 4
_TABLE, _NAME, _HOOK, _POLICY = 1, 3, 4, 5
_HOOK_NUMBER = 1
# NFTA_VERDICT_CHAIN of a jump, wherever it is in a rule.
_NAMED = re.compile(struct.pack('=H', 2) + b'([^\0]+)\0')
# NFTA_EXPR_...
_KIND, _DATA = 1, 2
# NFTA_LOOKUP_DREG and NFT_REG_VERDICT: it looks for verdicts.
_TO, _VERDICT = 3, struct.pack('!I', 0)
# NFPROTO_INET, _IPV4 and _IPV6, whose packets are forwarded by routes, and
# their NF_INET_FORWARD.
_ROUTED = frozenset([1, 2, 10])
_FORWARD = 2

#: a chain by what is unique to it
Chain = typing.NamedTuple('Chain', [
    ('family', int), ('table', str), ('name', str)])
_Base = typing.NamedTuple('_Base', [('hook', int), ('policy', bytes)])


class Ways:
    """How packets come to the chains of this network namespace.

    :param rules: the expressions of each rule of each chain
    """

    def __init__(self, rules: typing.Dict[
            Chain, typing.List[bytes]]) -> None:
        self._bases = dict(_bases())
        forwards = sysctl.forwards()
        self._reached = _reached(rules, [
            chain for chain, base in self._bases.items()
            if forwards or base.hook != _FORWARD
            or chain.family not in _ROUTED])

    def lead_to(self, chain: Chain) -> bool:
        """Whether any packet of this guest may come to a chain."""
        return chain in self._reached

    def policy(self, chain: Chain) -> typing.List[bytes]:
        """The code of what happens at the end, if it is not to go back."""
        base = self._bases.get(chain)
        return [base.policy] if base and base.policy else []


def _reached(rules: typing.Dict[Chain, typing.List[bytes]],
             begin: typing.Iterable[Chain]) -> typing.Set[Chain]:
    """The chains that these ones lead to, and they themselves.

    A guest may have thousands of them: each is looked at once.
    """
    reached = set(begin)
    waiting = list(reached)
    anywhere: typing.Set[typing.Tuple[int, str]] = set()
    while waiting:
        chain = waiting.pop()
        bodies = rules.get(chain, [])
        found = {chain._replace(name=name) for name in _jumps(bodies)}
        if chain[:2] not in anywhere and any(map(_goes_by_map, bodies)):
            # What a map has is not read.
            anywhere.add(chain[:2])
            found.update(other for other in rules if other[:2] == chain[:2])
        new = [other for other in found
               if other in rules and other not in reached]
        reached.update(new)
        waiting += new
    return reached


def _jumps(bodies: typing.List[bytes]) -> typing.Iterator[str]:
    """The names of chains, and other texts that look like such."""
    for body in bodies:
        for its in _NAMED.finditer(body):
            yield netlink.text(its.group(1))


def _goes_by_map(body: bytes) -> bool:
    if b'lookup' not in body:
        return False
    for _, expression in netlink.attributes(body, 0):
        its = dict(netlink.attributes(expression, 0))
        if netlink.text(its[_KIND]) == 'lookup' and dict(netlink.attributes(
                its[_DATA], 0)).get(_TO) == _VERDICT:
            return True
    return False


def _bases() -> typing.Iterator[typing.Tuple[Chain, _Base]]:
    for body in netlink.asked(PROTOCOL, _GETCHAIN, HEAD.pack(0, 0, 0)):
        its = dict(netlink.attributes(body, HEAD.size))
        if _HOOK in its:
            hook = dict(netlink.attributes(its[_HOOK], 0))
            yield Chain(body[0], netlink.text(its[_TABLE]),
                        netlink.text(its[_NAME])), _Base(
                struct.unpack('!I', hook[_HOOK_NUMBER])[0],
                its.get(_POLICY, b''))
