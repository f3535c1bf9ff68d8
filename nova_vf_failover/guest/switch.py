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

"""The change from some NICs to others, in one step.

Tables of the agent's own are filled with copies of all tables that have to do
with the NICs that are left, led over their standbys; then the twins of the
rules that lead to them, see :mod:`.rules`, are put before those rules. There
are two sets of tables and twins: the one that is not in use is filled, and
then it takes the place of the other one.
"""

import contextlib
import errno
import logging
import typing

from nova_vf_failover.guest import addresses
from nova_vf_failover.guest import changes
from nova_vf_failover.guest import detours
from nova_vf_failover.guest import gateways
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import nexthops
from nova_vf_failover.guest import outfit
from nova_vf_failover.guest import routes
from nova_vf_failover.guest import rtnetlink
from nova_vf_failover.guest import rules

LOG = logging.getLogger(__name__)

# Nobody's: far from the small numbers that people choose.
_TABLES = range(0x766600, 0x766800)
SETS = (rules.Marks(118, _TABLES[:0xff]),
        rules.Marks(119, _TABLES[0x100:0x1ff]))
_NEXTHOPS = (range(0x76660000, 0x76670000), range(0x76670000, 0x76680000))

# Where nexthop objects find their gateways while they are made, and the
# protocol of the rules that lead there.
_OBJECTS, _LOOKING_UP = _TABLES[0xff], 120

_HAS_GONE = frozenset([errno.ENOENT, errno.ESRCH])

#: a port whose traffic is to go over its standby: the outfit of its primary,
#: the index that the primary has now, if it is there, the standby, and whether
#: the primary has stayed as it was: what is removed then does not go with it
Away = typing.NamedTuple('Away', [
    ('worn', outfit.Outfit), ('primary', typing.Optional[int]),
    ('standby', links.Nic), ('stayed', bool)])

#: all that is left to do: routes that need the addresses, rules to add and
#: rules to remove
Prepared = typing.NamedTuple('Prepared', [
    ('routes', typing.List[netlink.Message]),
    ('add', typing.List[netlink.Message]),
    ('remove', typing.List[netlink.Message])])


class Switch:
    """Which NICs the traffic of this network namespace goes over.

    :ivar changes: what others change meanwhile of that which was copied
    """

    def __init__(self, kernel: netlink.Netlink) -> None:
        self._kernel = kernel
        self.changes = changes.Changes(
            _TABLES, [marks.protocol for marks in SETS] + [_LOOKING_UP])

    def forget(self) -> None:
        """Remove what an agent left that was killed in :func:`looking_up`.

        Its rules come before all others, and its ways would be taken for the
        owner's routes.
        """
        try:
            # Linux before 4.17 tells no protocol of a rule.
            left = [rule for rule in rules.of(self._kernel)
                    if rule.table == _OBJECTS]
            if left:
                self._close_ways()
            self._kernel.ask(rules.remove(left), _HAS_GONE)
        except OSError as error:
            # A kernel without policy rules: a check will say so.
            LOG.warning('What was left by an agent stays: %s', error)

    def _close_ways(self) -> None:
        present = routes.Routes(self._kernel, nexthops.Nexthops(self._kernel))
        for bodies in present.tables.values():
            self._kernel.ask(
                detours.remove(filter(gateways.is_way, bodies)), _HAS_GONE)

    @property
    def in_use(self) -> bool:
        """Whether there are twins, for whatever port."""
        return any(map(_is_twin, rules.of(self._kernel)))

    def prepare(self, away: typing.List[Away]) -> Prepared:
        """Fill the set that is not in use.

        :param away: all the ports that are to be on their standbys
        :raises intents.Refused: the rules leave no place for it
        """
        if away:
            self.changes.follow(port.worn.index for port in away)
        else:
            self.changes.stop()
        found = rules.of(self._kernel)
        twins = [[rule for rule in found if marks.fit(rule)]
                 for marks in SETS]
        spare = _spare(found)
        if not away:
            return Prepared([], [], rules.remove(twins[0] + twins[1]))
        self._kernel.ask(rules.remove(twins[spare]), _HAS_GONE)
        hops = nexthops.Nexthops(self._kernel)
        present = routes.Routes(self._kernel, hops)
        self._clear(spare, present, hops)
        owners = _with_lost(_without_own(found), away)
        _forget_removed_rules(owners, away)
        copies = _numbers(away, owners, SETS[spare])
        add = rules.twins(owners, copies, {
            port.worn.name: port.standby.name for port in away},
            SETS[spare])
        late = self._copy(away, copies, present, hops, _NEXTHOPS[spare])
        return Prepared(late, add, rules.remove(twins[1 - spare]))

    def throw(self, prepared: Prepared) -> None:
        """From now on the traffic goes another way."""
        self._kernel.ask(prepared.routes, detours.HARMLESS)
        self._kernel.ask(prepared.add, (errno.EEXIST,))
        self._kernel.ask(prepared.remove, _HAS_GONE)

    def tidy(self) -> None:
        """Remove the sets that are not in use."""
        found = rules.of(self._kernel)
        spares = [number for number, marks in enumerate(SETS)
                  if not any(marks.fit(rule) for rule in found)]
        hops = nexthops.Nexthops(self._kernel)
        present = routes.Routes(self._kernel, hops)
        for number in spares:
            self._clear(number, present, hops)

    def check(self, away: typing.List[Away]) -> int:
        """How many rules would get a twin.

        :raises intents.Refused: as :meth:`prepare`
        """
        owners = owners_rules(self._kernel)
        copies = _numbers(away, owners, SETS[0])
        rules.refuse_vrfs(owners, copies)
        return len(rules.twins(owners, copies, {
            port.worn.name: port.standby.name for port in away}, SETS[0]))

    def _copy(self, away: typing.List[Away],
              copies: typing.Dict[routes.Table, int],
              present: routes.Routes, hops: nexthops.Nexthops,
              own: typing.Sequence[int]) -> typing.List[netlink.Message]:
        """Fill the tables.

        :returns: what has to wait for the addresses
        """
        indexes = {port.worn.index: port.standby.index for port in away}
        left = [port.primary for port in away if port.primary]
        objects = {nexthops.identity(body): body for port in away
                   for body in port.worn.nexthops}
        numbers = dict(zip(objects, own))
        parts = _contents(away, present, left)
        # The owner's routes in the table "local" have no copy, for it has
        # what the kernel makes for addresses: they are put beside.
        filled = dict(copies)
        filled.update({key: rtnetlink.RT_TABLE_LOCAL for key in parts
                       if key[1] == rtnetlink.RT_TABLE_LOCAL})

        def copied(late: bool) -> typing.Iterator[netlink.Message]:
            for key, number in filled.items():
                its = [([body for body in bodies
                         if routes.needs_its_source(body) == late], elapsed)
                       for bodies, elapsed in parts.get(key, [])]
                for message in detours.put(its, indexes, numbers, number):
                    yield message

        ways, late = ways_for(objects.values(), indexes), set()
        for key, number in filled.items():
            for bodies, _ in parts.get(key, []):
                ways |= detours.ways(bodies, indexes, number)
                late |= detours.ways(filter(routes.needs_its_source, bodies),
                                     indexes, number)
        with looking_up([port.standby for port in away], self._kernel), (
                gateways.accepted(self._kernel, ways)):
            self._kernel.ask(nexthops.put(
                objects.values(), indexes, numbers, hops.bodies))
            self._kernel.ask(copied(late=False), detours.HARMLESS)
        opened = [gateways.opened(way) for way in sorted(late)]
        return (opened + list(copied(late=True))
                + [gateways.closed(way) for way in opened])

    def _clear(self, number: int, present: routes.Routes,
               hops: nexthops.Nexthops) -> None:
        for (_, table), bodies in present.tables.items():
            if table in SETS[number].tables:
                self._kernel.ask(detours.remove(bodies), detours.HARMLESS)
        self._kernel.ask(nexthops.remove(
            hops.within(_NEXTHOPS[number])), _HAS_GONE)


def ways_for(objects: typing.Iterable[bytes],
             indexes: typing.Dict[int, int]) -> typing.Set[gateways.Way]:
    """What has to be there for nexthop objects to be accepted."""
    return nexthops.ways(objects, indexes, _OBJECTS)


def ways_looked_up(
        ways: typing.Iterable[gateways.Way]) -> typing.Set[gateways.Way]:
    """The same, for the table "main": rules are asked about that one too."""
    return {way[:3] + (_OBJECTS,) for way in ways}


def is_copy(table: int) -> bool:
    """Whether a table is one of the agent's own."""
    return table in _TABLES


def owners_rules(kernel: netlink.Netlink) -> typing.List[rules.Rule]:
    """All rules but those of the agent."""
    return _without_own(rules.of(kernel))


@contextlib.contextmanager
def looking_up(nics: typing.Iterable[links.Nic],
               kernel: netlink.Netlink) -> typing.Iterator[None]:
    """The kernel finds the gateways of objects in the table of their ways.

    It looks for that of a route in the table of the route first, but for that
    of an object wherever the rules lead.
    """
    made = [rules.by_device(family, nic.name, _OBJECTS, _LOOKING_UP)
            for nic in nics for family in addresses.FAMILIES]
    kernel.ask(made)
    try:
        yield
    finally:
        kernel.ask(map(rules.undone, made), _HAS_GONE)


def _is_twin(rule: rules.Rule) -> bool:
    return any(marks.fit(rule) for marks in SETS)


def _is_own(rule: rules.Rule) -> bool:
    return _is_twin(rule) or rule.table == _OBJECTS


def _without_own(found: typing.Iterable[rules.Rule]) -> typing.List[
        rules.Rule]:
    return [rule for rule in found if not _is_own(rule)]


def _forget_removed_rules(owners: typing.List[rules.Rule],
                          away: typing.List[Away]) -> None:
    """Leave out of outfits the rules that their owner has removed.

    While a primary stays nothing goes with it; what another port has lost is
    among the owner's.
    """
    for port in away:
        if port.stayed:
            port.worn.forget_rules(
                rule.body for rule in rules.missing(port.worn.rules, owners))


def _with_lost(owners: typing.List[rules.Rule],
               away: typing.List[Away]) -> typing.List[rules.Rule]:
    """Also the rules that somebody has removed with a NIC.

    A network manager does so when the NIC loses its carrier; their twins have
    to stay, as the copies of the routes do that go with it.
    """
    for port in away:
        if not port.stayed:
            owners = rules.together(
                owners, rules.missing(port.worn.rules, owners))
    return owners


def _spare(found: typing.Iterable[rules.Rule]) -> int:
    """The set that no packet meets first."""
    for rule in found:
        for number, marks in enumerate(SETS):
            if marks.fit(rule):
                return 1 - number
    return 0


def _numbers(away: typing.List[Away], owners: typing.Iterable[rules.Rule],
             marks: rules.Marks) -> typing.Dict[routes.Table, int]:
    """The tables that need a copy, and the number of each copy."""
    wanted = {(rtnetlink.family(body), routes.table(body)) for port in away
              for body in port.worn.all_routes}
    names = {port.worn.name for port in away}
    wanted |= {(rule.family, rule.table) for rule in owners
               if rule.table is not None and rule.names & names}
    wanted = {key for key in wanted if key[1] != rtnetlink.RT_TABLE_LOCAL}
    tables = sorted({table for _, table in wanted})
    if len(tables) > len(marks.tables):
        raise intents.Refused('%d routing tables lead over the NICs; at most '
                              '%d are moved.' % (
                                  len(tables), len(marks.tables)))
    # A gateway of the other family is looked for in the table of the same
    # number, so that of IPv6 is filled first.
    numbers = dict(zip(tables, marks.tables))
    return {key: numbers[key[1]] for key in sorted(wanted, reverse=True)}


def _contents(away: typing.List[Away], present: routes.Routes,
              left: typing.Iterable[int],
              ) -> typing.Dict[routes.Table, typing.List[detours.Part]]:
    """What belongs into the copy of each table."""
    parts: typing.Dict[routes.Table, typing.List[detours.Part]] = {}

    def add(every: typing.List[bytes], elapsed: float) -> None:
        tables: typing.Dict[routes.Table, typing.List[bytes]] = {}
        for body in every:
            tables.setdefault((rtnetlink.family(body), routes.table(body)),
                              []).append(body)
        for where, bodies in tables.items():
            parts.setdefault(where, []).append((bodies, elapsed))

    for port in away:
        add(port.worn.leading, port.worn.age)
    for where, bodies in present.tables.items():
        if where[1] != rtnetlink.RT_TABLE_LOCAL:
            parts.setdefault(where, []).append((
                [body for body in bodies
                 if not set(left).intersection(present.devices(body))], 0.0))
    for port in away:
        add(port.worn.routes, port.worn.age)
    return parts
