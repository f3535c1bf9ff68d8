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

"""What a guest's owner may set up, drawn at random.

A setting is a line for ip(8), tc(8) or, as ``ipv4/conf/eth0:arp_ignore=1``,
a sysctl. Addresses and numbers come from small pools, so that settings meet:
routes to one place with one metric, rules at one priority, gateways that are
reached over a network that another setting brings. What the kernel refuses is
skipped by whoever applies it; so nothing here has to know all its rules.
"""

import functools
import ipaddress
import re

from hypothesis import strategies

PORTS = 2
NICS = tuple(f'eth{number}' for number in range(PORTS))

# Of two NICs with one address, or with one network, the one that had it first
# leads, in tables that the kernel fills: the order of events and no setting.
# So each NIC has addresses of its own: the even ones, the odd ones.
_V4_HOSTS = ('10.1.0.5', '10.2.0.5', '10.1.0.6', '10.2.0.6', '192.168.1.12',
             '192.168.2.12', '10.6.6.6')
_V6_HOSTS = ('fd10::5', 'fd12::5', 'fd10::6', 'fd00:2::c', 'fd00:1::c',
             'fe80::5')
_V4_PLACES = ('0.0.0.0/0', '10.6.0.0/16', '10.6.6.0/24', '10.6.6.6/32',
              '10.7.0.0/16', '192.168.1.0/24', '192.168.2.128/25',
              '10.1.0.0/24')
_V6_PLACES = ('::/0', 'fd20::/32', 'fd20:6::/48', 'fd20:6::6/128',
              'fd21::/32', 'fd00:1::/64', 'fd10::/64', 'fe80::/64')
_V4_GATEWAYS = ('192.168.1.1', '192.168.2.1', '192.168.1.7', '10.1.0.1',
                '172.31.0.1')
_V6_GATEWAYS = ('fd00:1::1', 'fd00:2::1', 'fd00:1::7', 'fe80::1', 'fd10::1',
                'fd99::1')
_TABLES = ('main', 'main', 'local', 'default', '77', '78', '1000', '100000')
_PROTOCOLS = ('kernel', 'boot', 'static', 'ra', 'dhcp', '99', '4')
_PRIORITIES = ('1', '2', '89', '90', '91', '100', '101', '32765', '32766',
               '32767', '40000')
_MACS = ('02:00:00:00:00:97', '02:00:00:00:00:98')

_nics = strategies.sampled_from(NICS)
_small = strategies.integers(0, 7).map(str)


def _pool(*values):
    return strategies.sampled_from(values)


def _maybe(words, strategy=None, chance=3):
    """Nothing, or these words and a drawn one, once in so many."""
    drawn = strategies.just('') if strategy is None else strategy
    return strategies.integers(1, chance).flatmap(
        lambda number: drawn.map(lambda value: f' {words} {value}'.rstrip())
        if number == chance else strategies.just(''))


def _line(form, **parts):
    """A text with drawn words in it."""
    return strategies.fixed_dictionaries(parts).map(
        lambda drawn: ' '.join(form.format(**drawn).split()))


# -- a NIC ------------------------------------------------------------------

LINKS = strategies.one_of(
    # Below 1280 the kernel takes IPv6 away from the NIC (RFC 8200).
    _line('ip link set {nic} mtu {mtu}', nic=_nics, mtu=_pool(
        '1000', '1280', '1400', '9000')),
    _line('ip link set {nic} txqueuelen {n}', nic=_nics,
          # With less the TAP device that is a standby here drops packets
          # (drivers/net/tun.c, tun_queue_resize).
          n=_pool('500', '777')),
    _line('ip link set {nic} alias {alias}', nic=_nics, alias=_pool(
        'uplink', '"to the world"', 'übergang')),
    _line('ip link set {nic} group {n}', nic=_nics, n=_pool('7', '70000')),
    _line('ip link set {nic} {flag}', nic=_nics, flag=_pool(
        'promisc on', 'allmulticast on', 'multicast off', 'arp off')))

# Without stable_secret: a NIC with one gets an address of the kernel's own
# beside those that it had, when it comes up; not understood yet. Without
# accept_local: with a strict rp_filter beside it what comes from an address of
# one's own has its way back over the primary, until that has gone.
_NIC_SYSCTLS = {
    'ipv4/conf': {
        'accept_redirects': '0', 'arp_accept': '1',
        'arp_announce': '2', 'arp_filter': '1', 'arp_ignore': '1',
        'arp_notify': '1', 'bc_forwarding': '1', 'disable_policy': '1',
        'drop_gratuitous_arp': '1', 'force_igmp_version': '2',
        'forwarding': '1', 'ignore_routes_with_linkdown': '1',
        'log_martians': '1', 'medium_id': '3', 'promote_secondaries': '1',
        'proxy_arp': '1', 'route_localnet': '1', 'rp_filter': '1',
        'secure_redirects': '0', 'send_redirects': '0', 'shared_media': '0',
        'src_valid_mark': '1', 'tag': '9'},
    'ipv6/conf': {
        'accept_ra': '0', 'accept_ra_defrtr': '0', 'accept_ra_pinfo': '0',
        'accept_redirects': '0', 'accept_source_route': '-1',
        'accept_untracked_na': '1', 'addr_gen_mode': '1', 'autoconf': '0',
        'dad_transmits': '3', 'disable_ipv6': '1', 'disable_policy': '1',
        'drop_unicast_in_l2_multicast': '1', 'force_mld_version': '1',
        'forwarding': '1', 'hop_limit': '77',
        'ignore_routes_with_linkdown': '1', 'keep_addr_on_down': '1',
        'max_addresses': '3', 'ndisc_notify': '1', 'proxy_ndp': '1',
        'ra_defrtr_metric': '77', 'router_solicitations': '0',
        'seg6_enabled': '1',
        'temp_prefered_lft': '777', 'use_oif_addrs_only': '1',
        'use_tempaddr': '2'},
    'ipv4/neigh': {
        'app_solicit': '1', 'base_reachable_time_ms': '77000',
        'delay_first_probe_time': '7', 'gc_stale_time': '77',
        'locktime': '7', 'mcast_solicit': '7', 'proxy_qlen': '7',
        'retrans_time_ms': '777', 'ucast_solicit': '7', 'unres_qlen': '7'},
    'ipv6/neigh': {
        'anycast_delay': '7', 'base_reachable_time_ms': '77000',
        'gc_stale_time': '77', 'mcast_solicit': '7', 'proxy_delay': '7',
        'retrans_time_ms': '777', 'unres_qlen_bytes': '77777'},
}

SYSCTLS = strategies.one_of([
    _line('sysctl {where}/{nic}:{what}', where=strategies.just(where),
          nic=_nics, what=_pool(*(f'{key}={value}'
                                  for key, value in values.items())))
    for where, values in _NIC_SYSCTLS.items()])

# This kernel has these; one with classes or not at the root is refused.
QDISCS = _line('tc qdisc replace dev {nic} {what}', nic=_nics, what=_pool(
    'root pfifo limit 77', 'root handle 77: bfifo limit 77777',
    'root handle 7: pfifo_fast', 'root pfifo_head_drop', 'root noqueue',
    'root tbf rate 1mbit burst 10kb latency 70ms', 'root htb', 'clsact'))


# -- addresses and neighbours -----------------------------------------------

_LIVES = _pool('valid_lft 900 preferred_lft 600',
               'valid_lft 900 preferred_lft 0',
               'valid_lft forever preferred_lft 600')


def _owned(hosts):
    """Address and NIC."""
    return strategies.sampled_from(range(len(hosts))).map(
        lambda number: (hosts[number], NICS[number % PORTS]))


ADDRESSES = strategies.one_of(
    _line('ip address add {host[0]}/{length} dev {host[1]} {label} {scope} '
          '{flags} {broadcast} {metric} {lives}',
          host=_owned(_V4_HOSTS), length=_pool('24', '25', '31', '32'),
          label=strategies.just(''),
          scope=_maybe('scope', _pool('link', 'host', '77')),
          flags=_maybe('noprefixroute'),
          broadcast=_maybe('broadcast', _pool('+', '10.1.0.77')),
          metric=_maybe('metric', _small), lives=_maybe('', _LIVES)),
    _line('ip address add {host[0]}/24 dev {host[1]} label {host[1]}:{label}',
          host=_owned(_V4_HOSTS), label=_pool('web', '1')),
    _line('ip address add {host[0]} peer {peer} dev {host[1]} {flags}',
          host=_pool(*((host, NICS[0]) for host in _V4_HOSTS[::2])),
          peer=_pool(
              '10.3.0.9/32', '10.3.0.9/24', '10.1.0.5/32'),
          flags=_maybe('noprefixroute')),
    _line('ip address add {host[0]}/{length} dev {host[1]} {flags} {nodad} '
          '{home} {metric} {lives}',
          host=_owned(_V6_HOSTS), length=_pool('64', '64', '128', '127'),
          flags=_maybe('noprefixroute'),
          nodad=_maybe('nodad', None, 2),
          home=_maybe('', _pool('home', 'mngtmpaddr', 'autojoin'), 5),
          metric=_maybe('metric', _small), lives=_maybe('', _LIVES)),
    _line('ip address add {host[0]} peer {peer} dev {host[1]} {flags} nodad',
          host=_pool(*((host, NICS[1]) for host in _V6_HOSTS[1::2])),
          peer=_pool('fd13::9', 'fd13::9/64'), flags=_maybe('noprefixroute')))

NEIGHBOURS = strategies.one_of(
    _line('ip neighbour replace {host} lladdr {mac} dev {nic} nud {state} '
          '{flag}',
          host=_pool('192.168.1.77', '192.168.2.77', '10.1.0.77',
                     'fd00:1::77', 'fe80::77'),
          mac=_pool(*_MACS), nic=_nics, state=_pool('permanent', 'noarp'),
          flag=_maybe('', _pool('router', 'extern_learn', 'proto 99'))),
    _line('ip neighbour replace proxy {host} dev {nic} {flag}',
          host=_pool('192.168.1.78', '10.1.0.78', 'fd00:1::78'), nic=_nics,
          flag=_maybe('', _pool('router', 'proto 99'))))


# -- routes -----------------------------------------------------------------

def _gateways(version):
    return _pool(*(_V4_GATEWAYS if version == 4 else _V6_GATEWAYS))


def _hop(version, mixed=True):
    both = _gateways(4) if version == 4 else _gateways(6)
    ways = [_line('via {gateway} dev {nic} {onlink}', gateway=both, nic=_nics,
                  onlink=_maybe('onlink')),
            _line('dev {nic}', nic=_nics)]
    if version == 4 and mixed:
        ways.append(_line('via inet6 {gateway} dev {nic}',
                          gateway=_gateways(6), nic=_nics))
    return strategies.one_of(ways)


NEXTHOPS = strategies.one_of(
    *(_line('ip -{version} nexthop add id {id} {hop} {proto}',
            version=strategies.just(version), id=_pool('5', '6', '7', '8'),
            hop=_hop(version, False),
            proto=_maybe('proto', _pool(*_PROTOCOLS)))
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
    proto=_maybe('proto', _pool(*_PROTOCOLS)))


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
    'fastopen_no_cookie 1')


def _route(version):
    v4 = version == 4
    places = _pool(*(_V4_PLACES if v4 else _V6_PLACES))
    common = {
        'do': _pool('add', 'append', 'prepend'), 'place': places,
        'tos': _maybe('tos', _pool('0x10', '0x08'), 6 if v4 else 20),
        'table': _maybe('table', _pool(*_TABLES), 2),
        'proto': _maybe('proto', _pool(*_PROTOCOLS)),
        'metric': _maybe('metric', _pool('0', '5', '7', '1024', '300'), 2)}
    over = dict(
        common, way=_ways(version),
        src=_maybe('src', _pool(*(
            _V4_HOSTS[:3] + ('192.168.1.11', '192.168.2.11') if v4
            else _V6_HOSTS[:3] + ('fd00:1::b', 'fd00:2::b'))), 4),
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
        _line('ip -%d route {do} broadcast {place} dev {nic} {table} {proto} '
              '{metric}' % version, nic=_nics, **common),
        _line('ip -%d route {do} {kind} {place} {tos} {table} {proto} '
              '{metric}' % version, kind=_pool(
                  'blackhole', 'unreachable', 'prohibit', 'throw'), **common))


def _apart(line):
    """Routes of IPv6 over different NICs, or of different forms, never equal.

    Of equal ones the first is used, and the kernel puts a new one behind the
    others, always: so the one over a NIC that came back is the last.
    """
    found = re.search(r' metric (\d+)', line)
    form = 4 if ' nexthop ' in line or ' nhid ' in line else next(
        (number for number, nic in enumerate(NICS, 1)
         if f' dev {nic}' in line), 3)
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
    if (' nexthop ' in line or ' nhid ' in line
            or line.startswith('ip -6') and ' via ' in line):
        line = line.replace(' table local', ' table 78')
    if ' table local' in line or re.search(
            r' (local|broadcast) ', line) and ' table ' not in line:
        return line.replace(' proto kernel', '')
    return line


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
        _V4_PLACES[1:4] + _V4_HOSTS[:2] + ('192.168.1.11',) if version == 4
        else _V6_PLACES[1:4] + _V6_HOSTS[:2] + ('fd00:1::b',)))
    what = strategies.one_of(
        _line('lookup {table} {suppress}', table=_pool(*_TABLES),
              suppress=_maybe('', _pool(
                  'suppress_prefixlength 0', 'suppress_prefixlength 16',
                  'suppress_ifgroup 7'), 4)),
        _line('lookup {table}', table=_pool(*_TABLES)),
        _pool('blackhole', 'unreachable', 'prohibit', 'nop'),
        _line('goto {priority}', priority=_pool(*_PRIORITIES)))
    return _line(
        'ip -%d rule add {no} {source} {to} {iif} {oif} {mark} {proto} {tos} '
        '{uids} priority {priority} {protocol} {what}' % version,
        no=_maybe('not', None, 8), source=_maybe('from', places),
        to=_maybe('to', places), iif=_maybe('iif', _pool('lo', *NICS), 5),
        oif=_maybe('oif', _nics, 5), mark=_maybe('fwmark', _pool(
            '6', '6/7', '0x60/0xf0'), 4),
        proto=_maybe('ipproto', _pool('udp', 'tcp dport 80', 'udp sport 53',
                                      'udp dport 50-60'), 5),
        tos=_maybe('tos', _pool('0x10', '0x08'), 8),
        uids=_maybe('uidrange', _pool('0-0', '1000-2000'), 8),
        priority=_pool(*_PRIORITIES),
        protocol=_maybe('protocol', _pool(*_PROTOCOLS), 4), what=what)


RULES = strategies.one_of(_rule(4), _rule(6))


# -- all of it --------------------------------------------------------------

def _some(strategy, most, differing=None):
    # One family after the other: each change of it is a program to start.
    return strategies.lists(
        strategy, max_size=most, unique_by=differing).map(
        lambda lines: sorted(lines, key=lambda line: ' -6 ' in line))


def _whose(line):
    """The host of an address.

    None is there twice: of the two routes to it that the kernel then has in
    its table "local", the one leads whose address was added first, of which
    nothing tells where one address is a secondary and the other is not.
    """
    return line.split()[3].partition('/')[0]


SETTINGS = strategies.tuples(
    _some(LINKS, 3), _some(SYSCTLS, 4), _some(ADDRESSES, 5, _whose),
    _some(NEIGHBOURS, 3), _some(NEXTHOPS, 3), _some(GROUPS, 1),
    _some(ROUTES, 8), _some(RULES, 5), _some(QDISCS, 1), _some(REMOVALS, 1),
).map(lambda parts: [line for part in parts for line in part])

#: the ports that are moved; the others stay
MOVED = strategies.lists(strategies.sampled_from(range(PORTS)), min_size=1,
                         unique=True).map(sorted)


@functools.lru_cache(1000)
def _value(word):
    try:
        return ipaddress.ip_interface(word)
    except ValueError:
        return None


def interfaces(lines):
    """The addresses and prefixes that are named in settings."""
    return {found for line in lines for found in map(_value, line.split())
            if found}
