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
a sysctl. What the kernel refuses is skipped by whoever applies it; so nothing
here has to know all its rules.
"""

import functools
import ipaddress

from hypothesis import strategies

from tests.guest.generated import drawing
from tests.guest.generated import routing

_pool, _maybe, _line = drawing.pool, drawing.maybe, drawing.line
_small, _nics = drawing.small, drawing.any_nic


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
        'disable_xfrm': '1', 'drop_unicast_in_l2_multicast': '1',
        'igmpv3_unsolicited_report_interval': '777',
        'proxy_arp': '1', 'proxy_arp_pvlan': '1', 'route_localnet': '1',
        'rp_filter': '1',
        'secure_redirects': '0', 'send_redirects': '0', 'shared_media': '0',
        'src_valid_mark': '1', 'tag': '9'},
    'ipv6/conf': {
        'accept_dad': '0',
        'accept_ra': '0', 'accept_ra_defrtr': '0', 'accept_ra_pinfo': '0',
        'accept_ra_mtu': '0', 'accept_ra_rtr_pref': '0',
        'accept_redirects': '0', 'accept_source_route': '-1',
        'accept_untracked_na': '1', 'addr_gen_mode': '1', 'autoconf': '0',
        'dad_transmits': '3', 'disable_ipv6': '1', 'disable_policy': '1',
        'drop_unicast_in_l2_multicast': '1', 'drop_unsolicited_na': '1',
        'enhanced_dad': '0', 'force_mld_version': '1', 'force_tllao': '1',
        'forwarding': '1', 'hop_limit': '77',
        'ignore_routes_with_linkdown': '1', 'keep_addr_on_down': '1',
        'max_addresses': '3', 'ndisc_evict_nocarrier': '0',
        'ndisc_notify': '1', 'optimistic_dad': '1',
        'proxy_ndp': '1', 'regen_max_retry': '7',
        'ra_defrtr_metric': '77', 'router_solicitations': '0',
        'rpl_seg_enabled': '1', 'seg6_enabled': '1',
        'suppress_frag_ndisc': '0',
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
        lambda number: (hosts[number], drawing.NICS[number % drawing.PORTS]))


def _of_its_own(line):
    """A broadcast address that no other NIC has."""
    host = line.split()[3].partition('/')[0]
    return line.replace('broadcast own', f'broadcast {host}7')


ADDRESSES = strategies.one_of(
    _line('ip address add {host[0]}/{length} dev {host[1]} {label} {scope} '
          '{flags} {broadcast} {metric} {lives}',
          host=_owned(drawing.V4_HOSTS), length=_pool('24', '25', '31', '32'),
          label=strategies.just(''),
          scope=_maybe('scope', _pool('link', 'host', '77')),
          flags=_maybe('noprefixroute'),
          broadcast=_maybe('broadcast', _pool('+', 'own')),
          metric=_maybe('metric', _small), lives=_maybe('', _LIVES)
          ).map(_of_its_own),
    _line('ip address add {host[0]}/24 dev {host[1]} label {host[1]}:{label}',
          host=_owned(drawing.V4_HOSTS), label=_pool('web', '1')),
    _line('ip address add {host[0]} peer {peer} dev {host[1]} {flags}',
          host=_pool(*((host, drawing.NICS[0])
                       for host in drawing.V4_HOSTS[::drawing.PORTS])),
          peer=_pool(
              '10.3.0.9/32', '10.3.0.9/24', '10.1.0.5/32'),
          flags=_maybe('noprefixroute')),
    _line('ip address add {host[0]}/{length} dev {host[1]} {flags} {nodad} '
          '{home} {metric} {lives}',
          host=_owned(drawing.V6_HOSTS),
          length=_pool('64', '64', '128', '127'),
          flags=_maybe('noprefixroute'),
          nodad=_maybe('nodad', None, 2),
          home=_maybe('', _pool('home', 'mngtmpaddr', 'autojoin'), 5),
          metric=_maybe('metric', _small), lives=_maybe('', _LIVES)),
    _line('ip address add {host[0]} peer {peer} dev {host[1]} {flags} nodad',
          host=_pool(*((host, drawing.NICS[1])
                       for host in drawing.V6_HOSTS[1::drawing.PORTS])),
          peer=_pool('fd13::9', 'fd13::9/64'), flags=_maybe('noprefixroute')))

NEIGHBOURS = strategies.one_of(
    _line('ip neighbour replace {host} lladdr {mac} dev {nic} nud {state} '
          '{flag}',
          host=_pool('192.168.1.77', '192.168.2.77', '10.1.0.77',
                     'fd00:1::77', 'fe80::77'),
          mac=_pool(*drawing.MACS), nic=_nics,
          state=_pool('permanent', 'noarp'),
          flag=_maybe('', _pool('router', 'extern_learn', 'proto 99'))),
    _line('ip neighbour replace proxy {host} dev {nic} {flag}',
          host=_pool('192.168.1.78', '10.1.0.78', 'fd00:1::78'), nic=_nics,
          flag=_maybe('', _pool('router', 'proto 99'))))


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
    _some(NEIGHBOURS, 3), _some(routing.NEXTHOPS, 3), _some(routing.GROUPS, 1),
    _some(routing.ROUTES, 8), _some(routing.RULES, 5), _some(QDISCS, 1),
    _some(routing.REMOVALS, 1),
).map(lambda parts: [line for part in parts for line in part])

#: the ports that are moved; the others stay
MOVED = strategies.lists(strategies.sampled_from(range(drawing.PORTS)),
                         min_size=1, unique=True).map(sorted)


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
