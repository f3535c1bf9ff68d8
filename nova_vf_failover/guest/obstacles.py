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

"""What of a NIC stands in the way of a move."""

import typing

from nova_vf_failover.guest import elsewhere
from nova_vf_failover.guest import firewall
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import qdiscs
from nova_vf_failover.guest import release
from nova_vf_failover.guest import rules


def of(kernel: netlink.Netlink, nics: links.Links,
       nic: links.Nic) -> typing.List[str]:
    """Sentences that name the NIC and whatever it is; none if it is free."""
    found = []
    if not nic.up or not nic.carrier:
        found.append('%s is down or has no carrier.' % nic.name)
    every = nics.all()
    if nic.master:
        found.append(_below(nic, every))
    found += ['%s%s lies on %s.' % (other.name, _kind(other), nic.name)
              for other in links.above(nic, every)]
    found += elsewhere.obstacles(kernel, nics, nic, every)
    sentence = qdiscs.obstacle(kernel, nic)
    if sentence:
        found.append(sentence)
    return found + firewall.Firewall().obstacles(
        nic, nics.standby(nic.mac)) + _unmarked(kernel, nic)


def missing(port: intents.Port) -> str:
    return 'There is no VF with the MAC %s.' % port.mac


def _below(nic: links.Nic, every: typing.List[links.Nic]) -> str:
    for other in every:
        if other.index == nic.master:
            return '%s is a port of %s%s.' % (nic.name, other.name,
                                              _kind(other))
    return '%s is a port of another device.' % nic.name


def _kind(nic: links.Nic) -> str:
    return ' (%s)' % nic.kind if nic.kind else ''


def _unmarked(kernel: netlink.Netlink, nic: links.Nic) -> typing.List[str]:
    """Rules whose twins nobody could tell from rules of the owner.

    A twin is known by its protocol, or else by the table that it leads to.
    """
    if not release.before(4, 17):
        return []
    return ['The policy rule of priority %d names %s and leads to no table; '
            'before Linux 4.17 it cannot be moved.' % (
                rule.priority, nic.name)
            for rule in rules.of(kernel)
            if nic.name in rule.names and rule.table is None]
