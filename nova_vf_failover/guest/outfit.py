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

"""What a NIC wears: its addresses, routes, neighbours, sysctls, MTU and name.

An outfit is taken from a primary before anything is changed. It is a JSON
document, for it has to survive the agent; addresses, routes and neighbours in
it are keywords for the methods of ``pyroute2.IPRoute``.
"""

import contextlib
import errno
import os
import socket
import time
import typing

from pyroute2.netlink import exceptions

from nova_vf_failover.guest import links
from nova_vf_failover.guest import sysctl

# Where IPv6 is off (ipv6.disable=1) the kernel answers a question about it
# with everything that it has (net/core/rtnetlink.c, rtnl_dump_all).
FAMILIES = (socket.AF_INET,) + (
    (socket.AF_INET6,) if os.path.isdir('/proc/sys/net/ipv6') else ())

# include/uapi/linux/rtnetlink.h
MAIN_TABLE = 254
_LOCAL_TABLE = 255
_PROTO_KERNEL = 2
_CLONED = 0x200
_ONLINK = 4

# What a route may have to be moved as it is.
_KNOWN = frozenset([
    'family', 'dst_len', 'src_len', 'tos', 'proto', 'scope', 'type', 'flags',
    'table', 'dst', 'src', 'iif', 'oif', 'gateway', 'via', 'priority',
    'prefsrc', 'metrics', 'multipath', 'pref', 'flow', 'mark'])

# include/uapi/linux/if_addr.h; what is not settable is the kernel's to know.
_NODAD, _NOPREFIXROUTE = 0x02, 0x200
_SETTABLE = _NODAD | 0x10 | 0x100 | _NOPREFIXROUTE | 0x400
_TENTATIVE = 0x40
_FOREVER = 0xffffffff

# include/uapi/linux/neighbour.h
_NUD_REACHABLE, _NUD_PERMANENT = 0x02, 0x80
_NUD_KNOWN = 0x02 | 0x04 | 0x08 | 0x10 | _NUD_PERMANENT

Document = typing.Dict[str, typing.Any]
# The index that a NIC had when its outfit was taken -> the one to dress now.
Dressed = typing.Dict[int, int]


# -- taking ---------------------------------------------------------------

def take(netlink: typing.Any, nic: links.Nic) -> Document:
    """The outfit of a NIC as it is now."""
    sysctls = sysctl.snapshot(nic.name)
    return {
        'name': nic.name, 'index': nic.index, 'mtu': nic.mtu,
        'taken': time.time(),
        'sysctls': sysctls, 'unusual': sysctl.unusual(sysctls),
        'addresses': _addresses(netlink, nic),
        'routes': [route for route in routes(netlink)
                   if nic.index in _devices(route)],
        'neighbours': neighbours(netlink, nic),
    }


def unsupported(netlink: typing.Any, nic: links.Nic,
                ours: typing.Iterable[int]) -> str:
    """Why the outfit of a NIC cannot be moved; empty if it can be.

    :param ours: the tables that are the agent's own
    """
    for family in FAMILIES:
        for message in netlink.get_routes(family=family):
            route = _route(message)
            if (nic.index not in _devices(route)
                    or route['table'] in (_LOCAL_TABLE,) + tuple(ours)):
                continue
            if route['table'] != MAIN_TABLE:
                return ('Routing table %d uses %s; only the main table is '
                        'moved.' % (route['table'], nic.name))
            if any(name not in _KNOWN for name in route):
                return ('A route over %s has attributes that are not moved '
                        '(ip nexthop, or lightweight tunnels).' % nic.name)
    return ''


def routes(netlink: typing.Any) -> typing.List[Document]:
    """The routes of the main table, in the kernel's order."""
    found = []
    for family in FAMILIES:
        for message in netlink.get_routes(family=family):
            route = _route(message)
            if (route['table'] == MAIN_TABLE
                    and not message['flags'] & _CLONED):
                found.append(route)
    return found


def neighbours(netlink: typing.Any, nic: links.Nic) -> typing.List[Document]:
    """The neighbours that a NIC knows how to reach."""
    found = []
    for family in FAMILIES:
        for message in netlink.get_neighbours(family=family):
            lladdr = message.get_attr('NDA_LLADDR')
            if (message['ifindex'] == nic.index and lladdr
                    and message['state'] & _NUD_KNOWN):
                found.append({
                    'family': family, 'lladdr': lladdr,
                    'dst': message.get_attr('NDA_DST'),
                    # What was in use a moment ago need not be asked for on
                    # the other NIC, where the answer might not come in.
                    'state': (_NUD_PERMANENT
                              if message['state'] & _NUD_PERMANENT
                              else _NUD_REACHABLE)})
    return found


def _addresses(netlink: typing.Any, nic: links.Nic) -> typing.List[Document]:
    found: typing.Dict[int, typing.Any] = {family: [] for family in FAMILIES}
    for message in netlink.get_addr(index=nic.index):
        if message['family'] in found:
            found[message['family']].append(_address(message))
    # The kernel puts a new IPv6 address before those of its scope
    # (net/ipv6/addrconf.c, ipv6_link_dev_addr), and the first one is chosen.
    return found[socket.AF_INET] + found[socket.AF_INET6][::-1]


def _address(message: typing.Any) -> Document:
    flags = message.get_attr('IFA_FLAGS')
    life = message.get_attr('IFA_CACHEINFO')
    address = {
        'family': message['family'], 'prefixlen': message['prefixlen'],
        'scope': message['scope'],
        'flags': message['flags'] if flags is None else flags,
        'preferred_lft': life['ifa_preferred'], 'valid_lft': life['ifa_valid']}
    for name in ('address', 'local', 'broadcast', 'label'):
        value = message.get_attr('IFA_' + name.upper())
        if value is not None:
            address[name] = value
    return address


def _route(message: typing.Any) -> Document:
    document = message.dump()
    route = {key: document[key] for key in (
        'family', 'dst_len', 'src_len', 'tos', 'proto', 'scope', 'type')}
    route['flags'] = document['flags'] & _ONLINK
    for name, value in document['attrs']:
        route[name[len('RTA_'):].lower()] = value
    if 'metrics' in route:
        route['metrics'] = {name[len('RTAX_'):].lower(): value for name, value
                            in route['metrics']['attrs']}
    # Of an expiry the kernel tells only how long it is to come; a router
    # renews it.
    route.pop('cacheinfo', None)
    for hop in route.get('multipath', []):
        hop['flags'] &= _ONLINK
    return route


def uses(route: Document, indexes: typing.Iterable[int]) -> bool:
    """Whether a route leads over one of these NICs."""
    return not set(indexes).isdisjoint(_devices(route))


def _devices(route: Document) -> typing.List[int]:
    return [item['oif'] for item in [route] + route.get('multipath', [])
            if 'oif' in item]


# -- putting on -------------------------------------------------------------

def put_addresses(netlink: typing.Any, nic: links.Nic, worn: Document) -> None:
    """Give a primary its addresses again, with what is left of their lives.
    """
    elapsed = int(time.time() - worn['taken'])
    for address in worn['addresses']:
        lives = {key: life if life == _FOREVER else life - elapsed
                 for key, life in address.items() if key.endswith('_lft')}
        if lives['valid_lft'] > 0:
            _put_address(netlink, nic, dict(
                address, flags=address['flags'] & _SETTABLE,
                valid_lft=lives['valid_lft'],
                preferred_lft=max(0, lives['preferred_lft'])))


def put_addresses_quietly(
        netlink: typing.Any, nic: links.Nic, worn: Document) -> None:
    """Give a standby the same addresses, with no routes and no questions.

    IPv6 would find its own address in use: the other NIC has it.
    """
    for address in worn['addresses']:
        if address['flags'] & _TENTATIVE:
            continue
        quiet = dict(address, flags=(address['flags'] & _SETTABLE
                                     | _NODAD | _NOPREFIXROUTE))
        # A label has the name of its NIC in it.
        quiet.pop('label', None)
        _put_address(netlink, nic, quiet)


def _put_address(
        netlink: typing.Any, nic: links.Nic, address: Document) -> None:
    with _tolerating(errno.EEXIST):
        netlink.addr('replace', index=nic.index, **address)


def put_neighbours(netlink: typing.Any, nic: links.Nic,
                   known: typing.Iterable[Document]) -> None:
    for neighbour in known:
        netlink.neigh('replace', ifindex=nic.index, **neighbour)


def put_routes(netlink: typing.Any, wanted: typing.List[Document],
               dressed: Dressed, table: int) -> None:
    """Put routes into a table, over the NICs that wear the outfits now."""
    # A gateway is accepted when there is a route to it.
    for route in sorted(wanted, key=_needs_a_gateway):
        moved = dict(route, table=table)
        if 'oif' in moved:
            moved['oif'] = dressed.get(moved['oif'], moved['oif'])
        if 'multipath' in moved:
            moved['multipath'] = [
                dict(hop, oif=dressed.get(hop['oif'], hop['oif']))
                for hop in moved['multipath']]
        # Not "replace": IPv6 has routes of one prefix and metric over
        # several NICs, fe80::/64 first of all.
        with _tolerating(errno.EEXIST):
            netlink.route('append', **moved)


def drop_unwanted_routes(netlink: typing.Any, nic: links.Nic,
                         wanted: typing.List[Document]) -> None:
    """Remove what the kernel made for an address and its owner had removed.
    """
    kept = {_place(route) for route in wanted}
    for route in routes(netlink):
        if (route.get('oif') == nic.index and route['proto'] == _PROTO_KERNEL
                and _place(route) not in kept):
            netlink.route('del', **route)


def _needs_a_gateway(route: Document) -> bool:
    return any(key in route for key in ('gateway', 'via', 'multipath'))


def _place(route: Document) -> typing.Any:
    return (route['family'], route.get('dst'), route['dst_len'],
            route.get('priority'), route['tos'])


@contextlib.contextmanager
def _tolerating(code: int) -> typing.Iterator[None]:
    try:
        yield
    except exceptions.NetlinkError as error:
        if error.code != code:
            raise
