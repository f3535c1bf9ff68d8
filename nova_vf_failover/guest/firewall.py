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

"""Rules of packet filters that treat a standby otherwise than its primary.

A filter knows a NIC by its name or its index, and those of a standby are
others: what is let in on the primary, or translated, is dropped or sent as it
is on the standby, and what is dropped on the primary is let in. The proof of a
standby does not show that, for a raw socket hears before a filter. The agent
cannot tell which rules a guest can do without.
"""

import typing

from nova_vf_failover.guest import conditions
from nova_vf_failover.guest import links
from nova_vf_failover.guest import nftrules
from nova_vf_failover.guest import xtables

# A name and an index that no NIC has: of a standby that is not there yet.
_NOBODY = ('/', 0)

Chains = typing.List[typing.List[conditions.Rule]]
Standby = typing.Optional[links.Nic]
# A name and an index.
Known = typing.Tuple[str, int]


class Firewall:
    """All filters of this network namespace at one moment."""

    def __init__(self) -> None:
        self._chains: Chains = list(nftrules.chains())
        self._chains += xtables.chains()

    def obstacles(self, nic: links.Nic, standby: Standby) -> typing.List[str]:
        """Chains that would treat the standby in another way.

        :param standby: if it is there
        """
        chains = self._telling_apart(nic, standby, surely=True)
        if not chains:
            return []
        # A zone of firewalld has six of them, for one and the same reason.
        return [
            'The %s has a rule that applies to %s and not to its standby, or '
            'the other way round; what it lets in would be cut off, or what '
            'it stops let in.%s' % (
                chains[0], nic.name, ' So it is with the %s.' % ', the '.join(
                    chains[1:]) if chains[1:] else '')]

    def warnings(self, nic: links.Nic, standby: Standby) -> typing.List[str]:
        found = [
            'The %s has a rule for names that begin as %s does; the name of '
            'its standby may be another one.' % (chain, nic.name)
            for chain in self._telling_apart(nic, standby, surely=False)]
        return found + xtables.unreadable() + [
            'The %s masquerades connections; those over %s are broken off '
            'when it is left, and when it comes back.' % (
                rules[0].chain, nic.name) for rules in self._chains
            if any(_masquerades(rule, nic) for rule in rules)]

    def _telling_apart(self, nic: links.Nic, standby: Standby,
                       surely: bool) -> typing.List[str]:
        other = (standby.name, standby.index) if standby else _NOBODY
        return [rules[0].chain for rules in self._chains if any(
            rule.acts and _differs(rule, nic, other) is surely
            and not _made_good(rules[number + 1:], rule, other)
            for number, rule in enumerate(rules))]


def _differs(rule: conditions.Rule, nic: links.Nic,
             other: Known) -> typing.Optional[bool]:
    """Whether a rule tells two NICs apart; false if perhaps, or else None.

    Of a name that nobody knows yet the beginning may turn out to fit.
    """
    found = [its for its in rule.conditions
             if its.value(nic.name, nic.index) != its.value(*other)]
    if not found:
        return None
    return other != _NOBODY or not all(
        its.vague(nic.name) for its in found)


def _made_good(behind: typing.List[conditions.Rule], rule: conditions.Rule,
               other: Known) -> bool:
    """Whether the standby meets the same a little later.

    firewalld names each NIC of the default zone, and does the same behind
    that with NICs that it does not know.
    """
    for its in behind:
        if not its.conditions:
            return its.rest == rule.rest
        if all(condition.fits(*other) for condition in its.conditions):
            return False
    return False


def _masquerades(rule: conditions.Rule, nic: links.Nic) -> bool:
    return rule.masquerades and all(
        its.fits(nic.name, nic.index) for its in rule.conditions if its.out)
