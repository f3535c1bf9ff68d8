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
from nova_vf_failover.guest import nfnetlink
from nova_vf_failover.guest import sysctl

# NFTA_VERDICT_CHAIN of a jump, wherever it is in a rule.
_NAMED = re.compile(
    struct.pack('=H', nfnetlink.NFTA_VERDICT_CHAIN) + b'([^\0]+)\0')
# The verdict's register: a lookup into it looks for verdicts.
_VERDICT = struct.pack('!I', nfnetlink.NFT_REG_VERDICT)
# Those whose packets are forwarded by routes.
_ROUTED = frozenset([nfnetlink.NFPROTO_INET, nfnetlink.NFPROTO_IPV4,
                     nfnetlink.NFPROTO_IPV6])

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
            if forwards or base.hook != nfnetlink.NF_INET_FORWARD
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
        if netlink.text(its[nfnetlink.NFTA_EXPR_NAME]) == 'lookup':
            data = dict(netlink.attributes(its[nfnetlink.NFTA_EXPR_DATA], 0))
            if data.get(nfnetlink.NFTA_LOOKUP_DREG) == _VERDICT:
                return True
    return False


def _bases() -> typing.Iterator[typing.Tuple[Chain, _Base]]:
    for body in netlink.asked(
            nfnetlink.NETLINK_NETFILTER, nfnetlink.NFT_MSG_GETCHAIN,
            nfnetlink.NFGENMSG.pack(0, 0, 0)):
        its = dict(netlink.attributes(body, nfnetlink.NFGENMSG.size))
        if nfnetlink.NFTA_CHAIN_HOOK in its:
            hook = dict(netlink.attributes(
                its[nfnetlink.NFTA_CHAIN_HOOK], 0))
            yield Chain(
                nfnetlink.family(body),
                netlink.text(its[nfnetlink.NFTA_CHAIN_TABLE]),
                netlink.text(its[nfnetlink.NFTA_CHAIN_NAME])), _Base(
                    struct.unpack('!I', hook[nfnetlink.NFTA_HOOK_HOOKNUM])[0],
                    its.get(nfnetlink.NFTA_CHAIN_POLICY, b''))
