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

"""The DNS servers that systemd-resolved knows of a NIC.

It is asked with ``busctl``, in one question, so that all of an answer is of
one moment (org.freedesktop.resolve1(5); ``--json`` since systemd 240), and
told with ``resolvectl``.
"""

import contextlib
import json
import logging
import socket
import typing

from nova_vf_failover.guest import commands
from nova_vf_failover.guest import configurators
from nova_vf_failover.guest import links

LOG = logging.getLogger(__name__)

_BUSCTL, _RESOLVECTL = 'busctl', 'resolvectl'
_BUS = 'org.freedesktop.resolve1'
# sd_bus_path_encode(3): of a number its first digit only is escaped.
_LINK = '/org/freedesktop/resolve1/link/_3%d'
# SD_RESOLVED_DNS, in ScopesMask
_IN_USE = 0x1

SERVERS = 'dns'
# In this order: no question goes out less protected than it did before. Some
# are newer than others, and a distribution may have left some out.
_SETTINGS = ('dnssec', 'dnsovertls', 'default-route', 'domain', SERVERS)

Settings = typing.Dict[str, typing.List[str]]
Left = typing.Callable[[], float]


class Resolved:
    """systemd-resolved: the standby is told what it knows of the primary.

    :ivar kept_as: the attribute of an outfit that has that
    """

    kept_as = 'nameservers'

    def ask(self,
            primary: links.Nic) -> typing.Optional[commands.Question]:
        """Ask for the servers of a primary, without waiting.

        :returns: None if there is nobody to be asked
        :raises OSError: there is nothing to ask it with
        """
        return _ask(primary) if configurators.resolves() else None

    def read(self, text: str) -> Settings:
        """The settings in its answer, by their names for resolvectl.

        :raises commands.Unwilling: it is none
        """
        try:
            return _settings({
                key: value['data']
                for key, value in json.loads(text)['data'][0].items()})
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise commands.Unwilling('%r in %r' % (error, text))

    def give(self, mac: str, standby: links.Nic, known: Settings,
             left: Left) -> None:
        """Have names looked up over a standby.

        :param left: the seconds that are left for that
        :raises commands.FAULTS: it is not done
        """
        _tell(standby, known, left)

    def take_back(self, mac: str, primary: typing.Optional[links.Nic],
                  standby: typing.Optional[links.Nic], known: Settings,
                  left: Left) -> None:
        """Have names looked up over the primary again.

        :raises commands.FAULTS: it is not done
        """
        if primary and not configurators.configured(primary):
            # Who has told of them once does not tell of another NIC.
            with contextlib.closing(_ask(primary)) as question:
                if not self.read(question.answer(left())).get(SERVERS):
                    _tell(primary, known, left)
        if standby:
            _resolvectl(left, 'revert', standby.name)


def _ask(nic: links.Nic) -> commands.Question:
    # The index is the kernel's.
    return commands.Question(
        (_BUSCTL, '--json=short', 'call', _BUS, _LINK % nic.index,
         'org.freedesktop.DBus.Properties', 'GetAll', 's', _BUS + '.Link'))


def _settings(link: typing.Dict[str, typing.Any]) -> Settings:
    """:raises KeyError, ValueError, ...: it is not of org.freedesktop.resolve1
    """
    # Before systemd 246 there are no ports and names of servers.
    found = {
        SERVERS: [_server(*server) for server in
                  link.get('DNSEx', link['DNS'])],
        'domain': ['~' * only + name for name, only in link['Domains']]}
    if link['ScopesMask'] & _IN_USE and 'DefaultRoute' in link:
        # What is said of a NIC that is down is no setting of its owner's.
        found['default-route'] = ['yes' if link['DefaultRoute'] else 'no']
    for setting, key in (('dnssec', 'DNSSEC'), ('dnsovertls', 'DNSOverTLS')):
        if key in link:
            found[setting] = [link[key]]
    return found


def _server(family: int, address: typing.List[int], port: int = 0,
            name: str = '') -> str:
    text = socket.inet_ntop(family, bytes(address))
    if port:
        text = ('[%s]:%d' if family == socket.AF_INET6 else '%s:%d') % (
            text, port)
    return '%s#%s' % (text, name) if name else text


def _tell(nic: links.Nic, known: Settings, left: Left) -> None:
    for setting in _SETTINGS:
        if setting in known:
            try:
                # An empty word stands for none.
                _resolvectl(left, setting, nic.name,
                            *known[setting] or [''])
            except commands.Unwilling as error:
                if setting == SERVERS:
                    raise
                LOG.info('%s of %s stays as it is: %s', setting, nic.name,
                         error)


def _resolvectl(left: Left, *arguments: str) -> None:
    """:raises commands.Unwilling: it has failed"""
    # Words are systemd-resolved's own and the kernel's, of this guest.
    commands.run((_RESOLVECTL,) + arguments, left())
