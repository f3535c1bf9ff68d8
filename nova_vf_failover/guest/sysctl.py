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

"""The sysctls that one interface has for itself.

They are named as in ``ipv4/conf:rp_filter``. /proc/sys/net shows the network
namespace of the process that looks.
"""

import contextlib
import errno
import logging
import os
import typing

LOG = logging.getLogger(__name__)

_ROOT = '/proc/sys/net'
_FAMILIES = ('ipv4/conf', 'ipv6/conf', 'ipv4/neigh', 'ipv6/neigh')

RP_FILTER = 'ipv4/conf:rp_filter'
ACCEPT_DAD = 'ipv6/conf:accept_dad'
ACCEPT_RA = 'ipv6/conf:accept_ra'
ACCEPT_RA_DEFRTR = 'ipv6/conf:accept_ra_defrtr'
RA_DEFRTR_METRIC = 'ipv6/conf:ra_defrtr_metric'
FORWARDING = 'ipv6/conf:forwarding'
ADDR_GEN_MODE = 'ipv6/conf:addr_gen_mode'
ARP_IGNORE = 'ipv4/conf:arp_ignore'
ARP_NOTIFY = 'ipv4/conf:arp_notify'
NDISC_NOTIFY = 'ipv6/conf:ndisc_notify'
STABLE_SECRET = 'ipv6/conf:stable_secret'  # nosec B105: a sysctl's name

# The MTU has a message of its own.
_LEFT_OUT = frozenset(['ipv6/conf:mtu'])

Values = typing.Dict[str, str]


def snapshot(interface: str) -> Values:
    """Every value that an interface has, or ``default`` for a new one."""
    values = {}
    for family in _FAMILIES:
        for key in _listed(family, interface):
            name = '%s:%s' % (family, key)
            value = _read(interface, name)
            if value and name not in _LEFT_OUT:
                values[name] = value
    return values


def unusual(values: Values) -> Values:
    """Those that an interface would not have from the beginning."""
    usual = snapshot('default')
    return {name: value for name, value in values.items()
            if usual.get(name) != value}


def loose_filter(values: Values) -> str:
    """The filter by reverse path of a NIC beside which another one is.

    What comes in on one of them may have its way back over the other one; but
    where nobody filters, a loose filter would be one too many. The stricter
    one of a NIC and of ``all`` counts (ip-sysctl.rst of Linux).
    """
    strictest = max(_read('all', RP_FILTER), values.get(RP_FILTER, ''))
    return '0' if strictest == '0' else '2'


def heeds_routers(values: Values) -> bool:
    """Whether the kernel itself reads router advertisements on a NIC.

    As include/net/ipv6.h has it, ipv6_accept_ra.
    """
    accept = values.get(ACCEPT_RA, '0')
    return accept == '2' or (accept != '0' and not is_routers(values))


def is_routers(values: Values) -> bool:
    """Whether others on a NIC are told that we are a router of IPv6.

    By the NIC's own value, as net/ipv6/ndisc.c, ndisc_send_unsol_na, has it.
    """
    return values.get(FORWARDING, '0') != '0'


def forwards() -> bool:
    """Whether this guest hands on what comes in for somebody else.

    IPv4 does so for the NIC it comes in on, IPv6 for all (ip-sysctl.rst of
    Linux).
    """
    return any(
        _read(interface, '%s:forwarding' % family) not in ('', '0')
        for family in ('ipv4/conf', 'ipv6/conf')
        for interface in _listed(family))


def write_changed(interface: str, values: Values) -> None:
    """Set the values that are not what they should be.

    A value that the kernel does not take is logged and left: an interface
    with a setting too few is better than none.
    """
    # The secret comes first, for it changes addr_gen_mode
    # (net/ipv6/addrconf.c, addrconf_sysctl_stable_secret).
    for name in sorted(values, key=lambda name: (name != STABLE_SECRET,
                                                 name)):
        if _read(interface, name) == values[name]:
            continue
        try:
            with open(_path(interface, name), 'w') as target:
                target.write(values[name])
        except OSError as error:
            LOG.warning('Cannot set %s of %s to %s: %s', name, interface,
                        values[name], error)


@contextlib.contextmanager
def changed_for_now(interface: str, values: Values) -> typing.Iterator[None]:
    """Have other values meanwhile, as far as this kernel has them."""
    found = {name: _read(interface, name) for name in values}
    present = {name: value for name, value in found.items() if value}
    write_changed(interface, {name: values[name] for name in present})
    try:
        yield
    finally:
        write_changed(interface, present)


def _listed(*folders: str) -> typing.List[str]:
    try:
        return os.listdir(os.path.join(_ROOT, *folders))
    except FileNotFoundError:
        # IPv6 is off in this guest.
        return []


def _path(interface: str, name: str) -> str:
    family, key = name.split(':', 1)
    return os.path.join(_ROOT, family, interface, key)


def _read(interface: str, name: str) -> str:
    """One value; empty where this kernel or this interface has none."""
    try:
        with open(_path(interface, name)) as source:
            return source.read().strip()
    except OSError as error:
        # EIO: a stable_secret that has not been set. EINVAL: the interface
        # has lost its IPv6 side. ENOENT: IPv6 is off. EACCES: write-only.
        if error.errno not in (errno.EIO, errno.ENOENT, errno.EINVAL,
                               errno.EACCES):
            LOG.warning('Cannot read %s of %s: %s', name, interface, error)
        return ''
