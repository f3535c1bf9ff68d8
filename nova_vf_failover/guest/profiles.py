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

"""Profiles of NetworkManager, each of which one NIC has at a time.

In a guest that was started anew on its standby that NIC has the profile which
is meant for the VF, and a VF that comes back gets none. To move the profile
would take the network away until there is a lease; so for a moment it may be
used twice, and the VF gets it while the standby has it still. What the profile
said is put back at once: NetworkManager looks at this only when it activates
one (nm-settings-nmcli(5), connection.multi-connect: since 1.14).
"""

import logging
import typing

from nova_vf_failover.guest import commands
from nova_vf_failover.guest import configurators
from nova_vf_failover.guest import links

LOG = logging.getLogger(__name__)

_NMCLI = 'nmcli'
# Seconds for one command. It takes some hundredths, but many seconds where the
# guest is emulated by a machine that has much else to do.
_LONGEST = 30.0

_TWICE = 'connection.multi-connect'
_NAME = 'connection.interface-name'
_METRICS = ('ipv4.route-metric', 'ipv6.route-metric')
_METHOD = 'ipv6.method'
# Of a profile that leaves it to NetworkManager, which gives each NIC another.
_ANY_METRIC = '-1'


class Sharing:
    """Gives VFs the profiles that their standbys have.

    :param nics: the NICs of the guest
    :param macs: ports of a guest that was started anew on their standbys
    """

    def __init__(self, nics: links.Links,
                 macs: typing.Iterable[str]) -> None:
        self._nics = nics
        self._owed: typing.Dict[str, str] = {}
        self._asked: typing.Set[str] = set()
        for mac in macs:
            primary, standby = nics.pair(mac)
            uuid = configurators.profile(standby) if (
                standby and standby.up) else None
            if uuid and primary and configurators.profile(primary) != uuid:
                self._owed[mac] = uuid

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._owed)

    @property
    def done(self) -> bool:
        """Whether the VFs have them, as far as they ever will."""
        return not any(self._waiting(mac) for mac in self._owed)

    def advance(self) -> None:
        """Have NetworkManager do what it can do now."""
        for mac, uuid in list(self._owed.items()):
            primary, standby = self._nics.pair(mac)
            if primary is None or standby is None:
                del self._owed[mac]
            elif configurators.profile(primary) != uuid:
                self._ask(uuid, primary, standby)

    def _waiting(self, mac: str) -> bool:
        primary, standby = self._nics.pair(mac)
        return bool(primary and standby and (
            configurators.profile(primary) != self._owed[mac]))

    def _ask(self, uuid: str, primary: links.Nic,
             standby: links.Nic) -> None:
        # NetworkManager has to see a NIC before it can be asked, once.
        if primary.mac in self._asked or not configurators.manages(primary):
            return
        self._asked.add(primary.mac)
        try:
            _share(uuid, standby, primary)
        except commands.FAULTS as error:
            # The agent gives the VF its addresses; nobody renews them.
            LOG.warning('NetworkManager does not give %s the profile of %s: '
                        '%s', primary.name, standby.name, error)
            del self._owed[primary.mac]


def let_go(standby: links.Nic) -> None:
    """Have NetworkManager leave a parked standby alone that it has managed.

    It asks udev only about a NIC that is new to it.
    """
    try:
        _nmcli('device', 'set', standby.name, 'managed', 'no')
    except commands.FAULTS as error:
        LOG.warning('NetworkManager does not leave %s alone: %s',
                    standby.name, error)


def _share(uuid: str, standby: links.Nic, primary: links.Nic) -> None:
    usual = _settings(uuid)
    wanted = {_TWICE: 'manual-multiple',
              # The standby has the name for as long as it is in use.
              _NAME: ''}
    for key in _METRICS:
        metric = configurators.metric(standby)
        if metric and usual[key] == _ANY_METRIC:
            wanted[key] = metric
    if usual[_METHOD] == 'manual':
        # Of two routes of IPv6 with one metric the kernel takes both, and
        # these would come before the VF has heard anything.
        wanted.pop('ipv6.route-metric', None)
    try:
        _change(uuid, wanted)
        _nmcli('--wait', '0', 'connection', 'up', 'uuid', uuid,
               'ifname', primary.name)
    finally:
        _put_back(uuid, {key: usual[key] for key in wanted})


def _put_back(uuid: str, usual: typing.Dict[str, str]) -> None:
    try:
        _change(uuid, usual)
    except commands.FAULTS as error:
        # Whether the VF has the profile is another question.
        LOG.error('The profile %s stays changed in NetworkManager until the '
                  'guest is started again or it is set to %s: %s', uuid,
                  usual, error)


def _settings(uuid: str) -> typing.Dict[str, str]:
    """What a profile says, as far as it matters here."""
    keys = (_TWICE, _NAME, _METHOD) + _METRICS
    values = _nmcli('--escape', 'no', '--get-values', ','.join(keys),
                    'connection', 'show', 'uuid', uuid).split('\n')
    if len(values) < len(keys):
        raise commands.Unwilling('The profile is shown as %r' % values)
    return dict(zip(keys, values))


def _change(uuid: str, settings: typing.Dict[str, str]) -> None:
    """Change a profile; in the file of its owner it stays as it is."""
    _nmcli('connection', 'modify', '--temporary', 'uuid', uuid,
           *[word for setting in settings.items() for word in setting])


def _nmcli(*arguments: str) -> str:
    """What nmcli prints.

    :raises commands.Unwilling: it has failed
    """
    # Words are NetworkManager's own and the kernel's, of this guest.
    return commands.run((_NMCLI,) + arguments, _LONGEST)
