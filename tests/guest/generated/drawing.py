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

"""Words of settings, drawn at random.

Addresses and numbers come from small pools, so that settings meet: routes to
one place with one metric, rules at one priority, gateways that are reached
over a network that another setting brings.
"""

from hypothesis import strategies

PORTS = 3
NICS = tuple(f'eth{number}' for number in range(PORTS))

# Of two NICs with one address, or with one network, the one that had it first
# leads, in tables that the kernel fills: the order of events and no setting.
# So each NIC has addresses of its own: of three the first, the second, the
# third.
V4_HOSTS = ('10.1.0.5', '10.2.0.5', '10.4.0.5', '10.1.0.6', '10.2.0.6',
            '192.168.3.12', '192.168.1.12', '192.168.2.12', '10.6.6.6')
V6_HOSTS = ('fd10::5', 'fd12::5', 'fd14::5', 'fd10::6', 'fd00:2::c',
            'fd00:3::c', 'fd00:1::c', 'fe80::5')
V4_PLACES = ('0.0.0.0/0', '10.6.0.0/16', '10.6.6.0/24', '10.6.6.6/32',
             '10.7.0.0/16', '192.168.1.0/24', '192.168.2.128/25',
             '10.1.0.0/24')
V6_PLACES = ('::/0', 'fd20::/32', 'fd20:6::/48', 'fd20:6::6/128',
             'fd21::/32', 'fd00:1::/64', 'fd10::/64', 'fe80::/64')
V4_GATEWAYS = ('192.168.1.1', '192.168.2.1', '192.168.3.1', '192.168.1.7',
               '10.1.0.1', '172.31.0.1')
V6_GATEWAYS = ('fd00:1::1', 'fd00:2::1', 'fd00:3::1', 'fd00:1::7', 'fe80::1',
               'fd10::1', 'fd99::1')
TABLES = ('main', 'main', 'local', 'default', '77', '78', '1000', '100000')
PROTOCOLS = ('kernel', 'boot', 'static', 'ra', 'dhcp', '99', '4')
PRIORITIES = ('1', '2', '89', '90', '91', '100', '101', '32765', '32766',
              '32767', '40000')
MACS = ('02:00:00:00:00:97', '02:00:00:00:00:98')

any_nic = strategies.sampled_from(NICS)
small = strategies.integers(0, 7).map(str)


def pool(*values):
    return strategies.sampled_from(values)


def maybe(words, strategy=None, chance=3):
    """Nothing, or these words and a drawn one, once in so many."""
    drawn = strategies.just('') if strategy is None else strategy
    return strategies.integers(1, chance).flatmap(
        lambda number: drawn.map(lambda value: f' {words} {value}'.rstrip())
        if number == chance else strategies.just(''))


def line(form, **parts):
    """A text with drawn words in it."""
    return strategies.fixed_dictionaries(parts).map(
        lambda drawn: ' '.join(form.format(**drawn).split()))
