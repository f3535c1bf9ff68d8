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

"""Policy rules, ip-rule(8), and their twins.

Every rule that leads to a table with routes over a NIC that is left gets a
twin right before it, which leads to a copy of that table. So the twins stand
where their rules stand among the owner's rules, and a guest that has no rules
of its own gets one twin per family, before that of the table "main".
"""

import itertools
import typing

from nova_vf_failover.guest import addresses
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import routes
from nova_vf_failover.guest import rtnetlink

# include/uapi/linux/fib_rules.h
_IIFNAME, _GOTO, _PRIORITY, _TABLE, _OIFNAME, _PROTOCOL = 3, 4, 6, 15, 17, 21
_SRC, _L3MDEV = 2, 19
_TO_TABLE, _GO_TO = 1, 2
_INVERT = 0x2

# Family and priority.
Place = typing.Tuple[int, int]
Names = typing.Dict[str, str]


class Rule:
    """One rule.

    :ivar table: that it leads to, or None
    :ivar names: the NICs that it names
    :ivar of_vrfs: whether each VRF has its own table by it
    :ivar source: the one address that it is about, or empty
    """

    def __init__(self, body: bytes) -> None:
        self.body = body
        found = dict(netlink.attributes(body, rtnetlink.FIB_RULE_HDR.size))
        header = rtnetlink.FibRuleHdr.of(body)
        self.family = header.family
        self.priority = netlink.number(found.get(_PRIORITY)) or 0
        self.action = header.action
        self.goto = netlink.number(found.get(_GOTO))
        self.protocol = (found.get(_PROTOCOL) or b'\0')[0]
        self.table: typing.Optional[int] = None
        if header.action == _TO_TABLE:
            self.table = netlink.number(found.get(_TABLE)) or (
                header.table)
        self.of_vrfs = any(found.get(_L3MDEV, b''))
        source = found.get(_SRC, b'')
        self.source = source if (
            header.src_len == 8 * len(source)) else b''
        self.names = {netlink.text(found[kind])
                      for kind in (_IIFNAME, _OIFNAME) if kind in found}


class Marks(typing.NamedTuple('Marks', [
        ('protocol', int), ('tables', typing.Any)])):
    """What twins of one set are known by.

    :ivar protocol: a number; Linux before 4.17 forgets it
    :ivar tables: the range of their tables
    """

    def fit(self, rule: Rule) -> bool:
        return (rule.protocol == self.protocol
                or rule.table is not None and rule.table in self.tables)


def of(kernel: netlink.Netlink) -> typing.List[Rule]:
    """All rules, in the order in which they are looked at."""
    found = []
    for family in addresses.FAMILIES:
        found += [Rule(body) for body in kernel.dump(
            rtnetlink.RTM_GETRULE, rtnetlink.FibRuleHdr(
                family=family).packed())
            if rtnetlink.family(body) == family]
    return found


def concerning(rules: typing.Iterable[Rule],
               tables: typing.Container[routes.Table], name: str,
               own: typing.Container[bytes]) -> typing.List[Rule]:
    """The rules that are there for a NIC.

    They name it, lead to its tables, or are about its addresses.

    :param tables: with routes over it; those that every NIC has do not count
    :param own: its addresses
    """
    return [rule for rule in rules
            if name in rule.names or rule.source in own
            or rule.table is not None
            and rule.table not in routes.COMMON_TABLES
            and (rule.family, rule.table) in tables]


def missing(kept: typing.Iterable[bytes],
            present: typing.Iterable[Rule]) -> typing.List[Rule]:
    """The rules that were there once, and are there no more.

    One that has come back may have another priority, for the kernel chooses
    it where nobody says one.
    """
    found = {_content(rule) for rule in present}
    return [rule for rule in map(Rule, kept) if _content(rule) not in found]


def together(present: typing.Iterable[Rule],
             more: typing.Iterable[Rule]) -> typing.List[Rule]:
    """All of them in the order in which they are looked at."""
    return sorted(itertools.chain(present, more),
                  key=lambda rule: (rule.family, rule.priority))


def put(rules: typing.Iterable[Rule]) -> typing.List[netlink.Message]:
    """What adds rules as they were printed, unless they are there."""
    return [netlink.Message(
        rtnetlink.RTM_NEWRULE, netlink.CREATE | netlink.EXCLUSIVE,
        _cleaned(rule)) for rule in rules]


def twins(rules: typing.Iterable[Rule],
          copies: typing.Dict[routes.Table, int], names: Names,
          marks: Marks) -> typing.List[netlink.Message]:
    """Make the twins.

    :param rules: those that are nobody's twins
    :param copies: the number of the copy of each table that has one
    :param names: the name of the standby, by the name of its primary
    :raises intents.Refused: a rule is where no twin can stand before it
    """
    made = []
    twinned: typing.Set[Place] = set()
    rules = list(rules)
    for (family, priority), group in itertools.groupby(
            rules, lambda rule: (rule.family, rule.priority)):
        # A rule that stands with others at one priority keeps its place
        # among them.
        members = list(group)
        if not any(_concerned(rule, copies, names) for rule in members):
            continue
        if priority == 0:
            raise intents.Refused(
                'A policy rule of priority 0 has to do with the NIC that is '
                'to be left; nothing can be put before it.')
        twinned.add((family, priority))
        for rule in members:
            for other in _variants(rule, names):
                made.append(netlink.Message(
                    rtnetlink.RTM_NEWRULE, netlink.CREATE | netlink.EXCLUSIVE,
                    _twin(rule, copies.get((family, rule.table or 0)),
                          other, marks)))
    for rule in rules:
        if rule.action == _GO_TO and (rule.family, rule.goto) in twinned:
            raise intents.Refused(
                'The policy rule of priority %d goes to %d, which has to do '
                'with the NIC that is to be left; its way would lead past '
                'the standby.' % (rule.priority, rule.goto or 0))
    return made


def refuse_vrfs(rules: typing.Iterable[Rule],
                tables: typing.Iterable[routes.Table]) -> None:
    """Refuse tables of a VRF: no twin rule can redirect them.

    :param tables: that have routes over a NIC
    :raises intents.Refused: one of them is a VRF's, as far as rules tell
    """
    rules = list(rules)
    families = {rule.family for rule in rules if rule.of_vrfs}
    led = {(rule.family, rule.table) for rule in rules}
    for family, number in tables:
        if (family in families and number not in routes.COMMON_TABLES
                and (family, number) not in led):
            raise intents.Refused(
                'The routing table %d has routes over the NIC and seems to be '
                'that of a VRF, for no policy rule leads to it; they are not '
                'moved.' % number)


def by_device(family: int, name: str, table: int,
              protocol: int) -> netlink.Message:
    """A rule for what is bound to a NIC, before all that an owner has."""
    return netlink.Message(rtnetlink.RTM_NEWRULE, netlink.CREATE, (
        rtnetlink.FibRuleHdr(
            family=family, table=rtnetlink.RT_TABLE_COMPAT,
            action=_TO_TABLE).packed()
        + netlink.numeric(_PRIORITY, 0)
        + netlink.numeric(_TABLE, table)
        + netlink.attribute(_PROTOCOL, bytes([protocol]))
        + netlink.textual(_OIFNAME, name)))


def undone(message: netlink.Message) -> netlink.Message:
    """What removes a rule that a message has made."""
    return netlink.Message(rtnetlink.RTM_DELRULE, 0, message.body)


def remove(rules: typing.Iterable[Rule]) -> typing.List[netlink.Message]:
    """What removes rules, as they were printed."""
    return [netlink.Message(rtnetlink.RTM_DELRULE, 0, _cleaned(rule))
            for rule in rules]


def _content(rule: Rule) -> bytes:
    return _cleaned(rule, (_PRIORITY, _PROTOCOL))


def _concerned(rule: Rule, copies: typing.Dict[routes.Table, int],
               names: Names) -> bool:
    return (rule.table is not None and (rule.family, rule.table) in copies
            or not rule.names.isdisjoint(names))


def _variants(rule: Rule, names: Names) -> typing.List[Names]:
    """The names to put into the twins of a rule, one twin for each.

    None, for what still comes in on the primary; and, if the rule names a
    primary, that of the standby.
    """
    return [{}] if rule.names.isdisjoint(names) else [{}, names]


def _twin(rule: Rule, copy: typing.Optional[int], names: Names,
          marks: Marks) -> bytes:
    made = _cleaned(rule, (_PRIORITY, _TABLE, _PROTOCOL), names)
    made += netlink.numeric(_PRIORITY, rule.priority - 1)
    made += netlink.attribute(_PROTOCOL, bytes([marks.protocol]))
    table = rule.table if copy is None else copy
    if table is not None:
        made += netlink.numeric(_TABLE, table)
        made = rtnetlink.FibRuleHdr.of(made)._replace(
            table=rtnetlink.table_byte(table)).packed() + (
                made[rtnetlink.FIB_RULE_HDR.size:])
    return made


def _cleaned(rule: Rule, without: typing.Container[int] = (),
             names: typing.Optional[Names] = None) -> bytes:
    """The body of a rule as the kernel takes it back."""
    body = rule.body
    header = rtnetlink.FibRuleHdr.of(body)
    made = header._replace(flags=header.flags & _INVERT).packed()
    for kind, value in netlink.attributes(body, rtnetlink.FIB_RULE_HDR.size):
        if kind in (_IIFNAME, _OIFNAME) and names:
            name = netlink.text(value)
            value = names.get(name, name).encode() + b'\0'
        if kind not in without:
            made += netlink.attribute(kind, value)
    return made
