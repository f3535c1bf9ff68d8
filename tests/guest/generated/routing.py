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

"""Routes and rules that a guest's owner may set up, drawn at random."""

import re

from hypothesis import strategies

from tests.guest.generated import drawing

_pool, _maybe, _line = drawing.pool, drawing.maybe, drawing.line
_small, _nics = drawing.small, drawing.any_nic


# -- routes -----------------------------------------------------------------

def _gateways(version):
    return _pool(*(drawing.V4_GATEWAYS if version == 4
                   else drawing.V6_GATEWAYS))


# This kernel has neither MPLS nor IOAM, which are encapsulations as well.
_TUNNELS = {
    4: _pool('encap ip id 77 dst 10.99.0.1',
             'encap ip id 7 src 10.99.0.2 dst 10.99.0.1 ttl 7 tos 8'),
    6: _pool('encap ip6 id 7 dst fd99::1',
             'encap seg6 mode encap segs fd99::1,fd99::2',
             'encap seg6 mode inline segs fd99::1')}


def _hop(version, mixed=True):
    both = _gateways(4) if version == 4 else _gateways(6)
    tunnel = _maybe('', _TUNNELS[version], 6)
    ways = [_line('{tunnel} via {gateway} dev {nic} {onlink}', gateway=both,
                  nic=_nics, onlink=_maybe('onlink'), tunnel=tunnel),
            _line('{tunnel} dev {nic}', nic=_nics, tunnel=tunnel)]
    if version == 4 and mixed:
        ways.append(_line('via inet6 {gateway} dev {nic}',
                          gateway=_gateways(6), nic=_nics))
    return strategies.one_of(ways)


NEXTHOPS = strategies.one_of(
    *(_line('ip -{version} nexthop add id {id} {hop} {proto}',
            version=strategies.just(version), id=_pool('5', '6', '7', '8'),
            hop=_hop(version, False),
            proto=_maybe('proto', _pool(*drawing.PROTOCOLS)))
      for version in (4, 6)),
    _line('ip -{version} nexthop add id {id} blackhole',
          version=_pool('4', '6'), id=_pool('5', '6', '7', '8')))
GROUPS = _line(
    'ip nexthop add id {id} group {members} {kind} {proto}',
    id=_pool('9', '10'), members=strategies.lists(
        _line('{id},{weight}', id=_pool('5', '6', '7', '8'),
              weight=strategies.integers(1, 9)),
        min_size=1, max_size=3, unique_by=lambda it: it[0]).map('/'.join),
    kind=_maybe('type resilient buckets 32 idle_timer', _pool('5', '60'), 5),
    proto=_maybe('proto', _pool(*drawing.PROTOCOLS)))


def _ways(version):
    """What can stand behind the destination of a route."""
    several = strategies.lists(
        _line('nexthop {hop} {weight}', hop=_hop(version),
              weight=_maybe('weight', strategies.integers(1, 9))),
        min_size=2, max_size=3).map(' '.join)
    return strategies.one_of(
        _hop(version), _hop(version), several,
        _line('via {gateway}', gateway=_gateways(version)),
        _line('nhid {id}', id=_pool('5', '6', '7', '8', '9', '10')))


_METRICS = _pool(
    'mtu 1300', 'mtu lock 1300', 'advmss 1200', 'window 7777', 'hoplimit 7',
    'initcwnd 7', 'initrwnd 7', 'quickack 1', 'rto_min 77ms', 'reordering 7',
    'rtt 77ms', 'ssthresh 77', 'features ecn', 'congctl reno',
    'fastopen_no_cookie 1', 'realms 7', 'realms 7/70')


def _route(version):
    v4 = version == 4
    places = _pool(*(drawing.V4_PLACES if v4 else drawing.V6_PLACES))
    common = {
        'do': _pool('add', 'append', 'prepend'), 'place': places,
        'tos': _maybe('tos', _pool('0x10', '0x08'), 6 if v4 else 20),
        'table': _maybe('table', _pool(*drawing.TABLES), 2),
        'proto': _maybe('proto', _pool(*drawing.PROTOCOLS)),
        'metric': _maybe('metric', _pool('0', '5', '7', '1024', '300'), 2)}
    over = dict(
        common, way=_ways(version),
        src=_maybe('src', _pool(*(
            drawing.V4_HOSTS[:3] + ('192.168.1.11', '192.168.2.11') if v4
            else drawing.V6_HOSTS[:3] + ('fd00:1::b', 'fd00:2::b'))), 4),
        scope=_maybe('scope', _pool('link', 'host', 'global'), 6),
        metrics=strategies.lists(_METRICS, max_size=2).map(' '.join),
        own=strategies.just('') if v4 else strategies.one_of(
            _maybe('pref', _pool('high', 'low', 'medium')),
            _maybe('expires', _pool('600', '900'))))
    form = ('ip -%d route {do} %s {place} {tos} {table} {proto} {metric} '
            '{scope} {src} {metrics} {own} {way}')
    return strategies.one_of(
        # "nat" is what no kernel since 2.6 takes.
        *(_line(form % (version, kind), **over)
          for kind in ('unicast', 'unicast', 'unicast', 'local')),
        _line('ip -%d route {do} {kind} {place} dev {nic} {table} {proto} '
              '{metric}' % version, nic=_nics, kind=_pool(
                  'broadcast', 'multicast' if v4 else 'anycast'), **common),
        _line('ip -%d route {do} {kind} {place} {tos} {table} {proto} '
              '{metric}' % version, kind=_pool(
                  'blackhole', 'unreachable', 'prohibit', 'throw'), **common))


def _apart(line):
    """Routes of IPv6 over different NICs, or of different forms, never equal.

    Of equal ones the first is used, and the kernel puts a new one behind the
    others, always: so the one over a NIC that came back is the last.
    """
    found = re.search(r' metric (\d+)', line)
    form = len(drawing.NICS) + 2 if (
        ' nexthop ' in line or ' nhid ' in line) else next(
            (number for number, nic in enumerate(drawing.NICS, 1)
             if f' dev {nic}' in line), len(drawing.NICS) + 1)
    metric = 1000 * form + int(found.group(1) if found else 0) % 1000
    place = re.search(r' [0-9a-f:]+/\d+', line)
    return (f'{line[:place.end()]} metric {metric}'
            + re.sub(r' metric \d+', '', line[place.end():]))


def _of_an_owner(line):
    """No route in disguise: the kernel's own in its table "local" are left.

    That is the table of these types where no other one is named. And none
    there over several NICs: it has no copy, so that of the owner is met
    first, with its way over the primary, until that has gone. IPv6 makes one
    over several of any two through gateways, of one place and one metric
    (net/ipv6/ip6_fib.c, fib6_add_rt2node): the two NICs of a port share it
    until the primary has gone.
    """
    if ' table ' not in line and re.search(r' (local|broadcast|anycast) ',
                                           line):
        line = re.sub(r' \S+/\d+', r'\g<0> table local', line, count=1)
    if ' table local' not in line:
        return line
    if (' nexthop ' in line or ' nhid ' in line
            or line.startswith('ip -6') and ' via ' in line):
        return line.replace(' table local', ' table 78')
    return line.replace(' proto kernel', '')


ROUTES = strategies.one_of(_route(4), _route(6).map(_apart)).map(_of_an_owner)

# What an owner takes away again that the kernel has made.
REMOVALS = _pool(
    'ip route delete 192.168.1.0/24 dev eth0',
    'ip route delete 10.1.0.0/24 dev eth0',
    'ip -6 route delete fd00:1::/64 dev eth0',
    'ip -6 route delete fe80::/64 dev eth1',
    'ip -4 rule delete priority 32766', 'ip -6 rule delete priority 32767')


# -- rules --------------------------------------------------------------------

def _rule(version):
    places = _pool(*(
        drawing.V4_PLACES[1:4] + drawing.V4_HOSTS[:2] + ('192.168.1.11',)
        if version == 4 else
        drawing.V6_PLACES[1:4] + drawing.V6_HOSTS[:2] + ('fd00:1::b',)))
    what = strategies.one_of(
        _line('lookup {table} {suppress}', table=_pool(*drawing.TABLES),
              suppress=_maybe('', _pool(
                  'suppress_prefixlength 0', 'suppress_prefixlength 16',
                  'suppress_ifgroup 7'), 4)),
        _line('lookup {table}', table=_pool(*drawing.TABLES)),
        _pool('blackhole', 'unreachable', 'prohibit', 'nop'),
        _line('goto {priority}', priority=_pool(*drawing.PRIORITIES)))
    return _line(
        'ip -%d rule add {no} {source} {to} {iif} {oif} {mark} {proto} {tos} '
        '{uids} {realms} {tunnel} priority {priority} {protocol} '
        '{what}' % version,
        no=_maybe('not', None, 8), source=_maybe('from', places),
        to=_maybe('to', places),
        iif=_maybe('iif', _pool('lo', *drawing.NICS), 5),
        oif=_maybe('oif', _nics, 5), mark=_maybe('fwmark', _pool(
            '6', '6/7', '0x60/0xf0'), 4),
        proto=_maybe('ipproto', _pool('udp', 'tcp dport 80', 'udp sport 53',
                                      'udp dport 50-60'), 5),
        tos=_maybe('tos', _pool('0x10', '0x08'), 8),
        realms=_maybe('realms', _pool('7', '7/70'), 8),
        tunnel=_maybe('tun_id', _small, 8),
        uids=_maybe('uidrange', _pool('0-0', '1000-2000'), 8),
        priority=_pool(*drawing.PRIORITIES),
        protocol=_maybe('protocol', _pool(*drawing.PROTOCOLS), 4), what=what)


RULES = strategies.one_of(_rule(4), _rule(6))
