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

"""One policy rule per address family sends the traffic over other NICs.

The rule leads to a table of our own, which has every route of the main table,
those of some NICs led over their standbys. There are two such tables: the one
that is not in use is filled, and then the rule that leads to it takes the
place of the other one. The rules stand right before that of the main table
(32766), so what the guest's owner has set up goes on before them.
"""

import errno
import typing

from pyroute2.netlink import exceptions

from nova_vf_failover.guest import outfit

# Nobody's: far from the small numbers that people choose.
TABLES = (0x76666f, 0x766670)
PRIORITY = 32765

# FR_ACT_TO_TBL of include/uapi/linux/fib_rules.h
_TO_TABLE = 1


def to_table(netlink: typing.Any, wanted: typing.List[outfit.Document],
             dressed: outfit.Dressed) -> None:
    """From now on these routes are looked up before the main table.

    :param dressed: see :func:`nova_vf_failover.guest.outfit.put_routes`
    """
    spare = TABLES[1] if in_use(netlink, TABLES[0]) else TABLES[0]
    clear(netlink, spare)
    outfit.put_routes(netlink, wanted, dressed, spare)
    for family in outfit.FAMILIES:
        # It goes behind a rule of the same priority, so what is in use
        # stays in use until that one is gone.
        netlink.rule('add', **_rule(family, spare))
    _drop_rules(netlink, [table for table in TABLES if table != spare])


def off(netlink: typing.Any) -> None:
    """Only the main table is looked up again; nothing of ours is left."""
    _drop_rules(netlink, TABLES)
    for table in TABLES:
        clear(netlink, table)


def on(netlink: typing.Any) -> bool:
    """Whether a table of ours is looked up."""
    return any(in_use(netlink, table) for table in TABLES)


def in_use(netlink: typing.Any, table: int) -> bool:
    return any(_present(netlink, family, table) for family in outfit.FAMILIES)


def clear(netlink: typing.Any, table: int) -> None:
    """Remove the routes of a table."""
    for family in outfit.FAMILIES:
        for message in netlink.get_routes(family=family, table=table):
            try:
                netlink.route('del', **_identity(message, family, table))
            except exceptions.NetlinkError as error:
                # It went with its NIC.
                if error.code != errno.ESRCH:
                    raise


def _drop_rules(netlink: typing.Any, tables: typing.Any) -> None:
    for table in tables:
        for family in outfit.FAMILIES:
            while _present(netlink, family, table):
                netlink.rule('del', **_rule(family, table))


def _rule(family: int, table: int) -> typing.Dict[str, int]:
    return {'family': family, 'priority': PRIORITY, 'table': table,
            'action': _TO_TABLE}


def _identity(
        message: typing.Any, family: int, table: int,
) -> typing.Dict[str, typing.Any]:
    identity = {'family': family, 'table': table}
    for key in ('dst_len', 'tos', 'proto', 'scope', 'type'):
        identity[key] = message[key]
    for name, key in (('RTA_DST', 'dst'), ('RTA_PRIORITY', 'priority'),
                      ('RTA_OIF', 'oif')):
        if message.get_attr(name) is not None:
            identity[key] = message.get_attr(name)
    return identity


def _present(netlink: typing.Any, family: int, table: int) -> bool:
    return any(
        message.get_attr('FRA_PRIORITY') == PRIORITY
        and (message.get_attr('FRA_TABLE') or message['table']) == table
        for message in netlink.get_rules(family=family))
