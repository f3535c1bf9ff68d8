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

"""The programs of a guest that configure NICs: whether they are at it.

What was put on a VF before they have seen it does no good: systemd-networkd
takes away each address that it does not know (networkd-address.c,
link_drop_foreign_addresses), and NetworkManager leaves a NIC that has
addresses to whoever gave it them, and never renews a lease on it. So they come
first, and what they have not put there is added.

How far they are they tell on the bus only, which takes more than the standard
library. The files that they keep for themselves have had these words for as
long as there are guests for this agent; a file without them makes nobody wait.
"""

import os
import re
import typing

from nova_vf_failover.guest import links
from nova_vf_failover.guest import udev

# A link for each unit that runs or is being started (systemd,
# src/core/unit.c, unit_export_invocation_id).
_ACTIVE = '/run/systemd/units/invocation:%s'
_NETWORKD = '/run/systemd/netif/links/%d'
_NETWORKD_UNIT = 'systemd-networkd.service'
_NETWORK_MANAGER_UNIT = 'NetworkManager.service'
_IFUP_UNIT = 'ifup@%s.service'
_RESOLVED_UNIT = 'systemd-resolved.service'
_NETWORK_MANAGER = '/run/NetworkManager/devices/%d'
_IFUPDOWN = '/run/network/ifstate'


def busy(nic: links.Nic) -> typing.Optional[str]:
    """The unit that has not finished with a NIC which has come."""
    if not udev.present():
        # Of this network namespace they know nothing.
        return None
    for unit, finished in (
            (_NETWORKD_UNIT, _networkd_finished),
            (_NETWORK_MANAGER_UNIT, _network_manager_finished),
            (_IFUP_UNIT % nic.name, _ifupdown_finished)):
        if os.path.islink(_ACTIVE % unit) and not finished(nic):
            return unit
    return None


def chooses_link_local(nic: links.Nic) -> bool:
    """Whether a program that is at it says how its link-local address is made.

    systemd-networkd does so before it brings the NIC up, and then waits for
    that address (networkd-link.c, link_check_ready).
    """
    return busy(nic) == _NETWORKD_UNIT


def profile(nic: links.Nic) -> typing.Optional[str]:
    """The profile that NetworkManager has given a NIC, if it runs."""
    return _known(nic, 'connection-uuid')


def metric(nic: links.Nic) -> typing.Optional[str]:
    """The metric that NetworkManager has chosen for the routes of a NIC."""
    return _known(nic, 'route-metric-default-effective')


def manages(nic: links.Nic) -> bool:
    """Whether NetworkManager has seen a NIC, and does not leave it alone."""
    return _known(nic, 'managed') == 'true'


def configured(nic: links.Nic) -> bool:
    """Whether one of them looks after a NIC, DNS servers included."""
    return manages(nic) or (
        udev.present() and os.path.islink(_ACTIVE % _NETWORKD_UNIT)
        and _networkd_state(nic) not in (None, 'unmanaged'))


def renews(nic: links.Nic) -> bool:
    """Whether one of them asks for the leases of a NIC that has come anew."""
    return configured(nic) or hotplugged(nic) is not None


def hotplugged(nic: links.Nic) -> typing.Optional[str]:
    """The unit with which ifupdown has brought a NIC up that has come."""
    unit = _IFUP_UNIT % nic.name
    return unit if udev.present() and os.path.islink(_ACTIVE % unit) else None


def resolves() -> bool:
    """Whether systemd-resolved runs, which knows DNS servers by NIC."""
    return udev.present() and os.path.islink(_ACTIVE % _RESOLVED_UNIT)


def _known(nic: links.Nic, key: str) -> typing.Optional[str]:
    if not udev.present() or not os.path.islink(
            _ACTIVE % _NETWORK_MANAGER_UNIT):
        return None
    found = re.search('^%s=(.*)$' % key, _text(_NETWORK_MANAGER % nic.index),
                      re.MULTILINE)
    return found.group(1) if found else None


def _networkd_finished(nic: links.Nic) -> bool:
    return bool(_text(_NETWORKD % nic.index)) and (
        _networkd_state(nic) not in ('pending', 'initialized', 'configuring'))


def _networkd_state(nic: links.Nic) -> typing.Optional[str]:
    found = re.search(r'^ADMIN_STATE=(\S+)', _text(_NETWORKD % nic.index),
                      re.MULTILINE)
    return found.group(1) if found else None


def _network_manager_finished(nic: links.Nic) -> bool:
    text = _text(_NETWORK_MANAGER % nic.index)
    return bool(text) and ('managed=true' not in text
                           or 'connection-uuid=' in text)


def _ifupdown_finished(nic: links.Nic) -> bool:
    return ('%s=' % nic.name) in _text(_IFUPDOWN)


def _text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return ''
