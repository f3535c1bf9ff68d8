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

"""The DNS servers of a port, which systemd-resolved knows by its NICs.

A NIC that is down or gone has none, and who has told systemd-resolved of them
leaves the standby alone. So the standby gets what its primary had, for as long
as it is used; else a guest on its standby could not look up a name.

It is asked with ``busctl``, in one question, so that all of an answer is of
one moment (org.freedesktop.resolve1(5); ``--json`` since systemd 240), and
told with ``resolvectl``. Nobody waits for either: the question is put before a
failover, the answer read after it in a thread of its own, and none is worth a
move.
"""

import contextlib
import json
import logging
import queue
import socket
import threading
import time
import typing

from nova_vf_failover.guest import commands
from nova_vf_failover.guest import configurators
from nova_vf_failover.guest import links
from nova_vf_failover.guest import snapshot

LOG = logging.getLogger(__name__)

_BUSCTL, _RESOLVECTL = 'busctl', 'resolvectl'
_BUS = 'org.freedesktop.resolve1'
# sd_bus_path_encode(3): of a number its first digit only is escaped.
_LINK = '/org/freedesktop/resolve1/link/_3%d'
# SD_RESOLVED_DNS, in ScopesMask
_IN_USE = 0x1
# Seconds for all that is said about one intent. A command takes some
# hundredths; one to a systemd-resolved that hangs takes minutes.
_LONGEST = 5.0

_SERVERS = 'dns'
# In this order: no question goes out less protected than it did before. Some
# are newer than others, and a distribution may have left some out.
_SETTINGS = ('dnssec', 'dnsovertls', 'default-route', 'domain', _SERVERS)

Settings = typing.Dict[str, typing.List[str]]


class Nameservers:
    """Lets names be looked up while ports are on their standbys.

    :param nics: the NICs of the guest
    :param kept: what survives a restart
    :param changed: guards both
    """

    def __init__(self, nics: links.Links, kept: snapshot.Snapshot,
                 changed: threading.Condition) -> None:
        self._nics = nics
        self._kept = kept
        self._changed = changed
        self._jobs: 'queue.Queue[typing.Callable[[], None]]' = queue.Queue()

    def run(self) -> None:
        """Tell systemd-resolved what there is to be told, in its order."""
        while True:
            self.tell_next()

    def tell_next(self) -> None:
        job = self._jobs.get()
        try:
            job()
        except Exception:
            # Of another systemd-resolved than those that are known here: the
            # traffic is where it should be.
            LOG.exception('DNS servers stay as they are')

    @contextlib.contextmanager
    def followed(self, macs: typing.Iterable[str]) -> typing.Iterator[None]:
        """Have the standbys of ports know what the primaries know now.

        The body moves the ports. Where it fails, nothing is said.
        """
        asked = self._ask(macs)
        try:
            yield
        except BaseException:
            _close(asked)
            raise
        if asked:
            self._jobs.put(lambda: self._give(asked))

    def take_back(self, macs: typing.Iterable[str]) -> None:
        """The ports are on their primaries again."""
        # What a port had worn is forgotten with its standby.
        known = {mac: self._pop(mac) for mac in macs}
        self._jobs.put(lambda: self._take_all_back(known))

    def _ask(self, macs: typing.Iterable[str]) -> typing.Dict[
            str, '_Question']:
        asked: typing.Dict[str, _Question] = {}
        for mac in macs if configurators.resolves() else ():
            try:
                primary = self._nics.primary(mac)
                if primary and primary.up:
                    asked[mac] = _Question(primary)
            except OSError as error:
                LOG.warning('Nobody tells of the DNS servers of %s: %s', mac,
                            error)
        return asked

    def _give(self, asked: typing.Dict[str, '_Question']) -> None:
        until = time.monotonic() + _LONGEST
        try:
            for mac, question in asked.items():
                try:
                    known = question.answer(until)
                    standby = self._remember(mac, known)
                    if standby:
                        _tell(standby, known, until)
                except commands.FAULTS as error:
                    LOG.warning('The standby of %s has no DNS servers: %s',
                                mac, error)
        finally:
            _close(asked)

    def _remember(self, mac: str,
                  known: Settings) -> typing.Optional[links.Nic]:
        """:returns: the standby that is to know the same"""
        with self._changed:
            standby = self._nics.standby(mac)
            worn = self._kept.outfits.get(mac)
            if standby is None or worn is None or not known.get(_SERVERS):
                return None
            worn.nameservers = known
            self._kept.write_if_possible()
            return standby

    def _take_all_back(
            self, known: typing.Dict[str, typing.Optional[Settings]]) -> None:
        until = time.monotonic() + _LONGEST
        for mac, settings in known.items():
            # The standby may have been told of them since.
            settings = settings or self._pop(mac)
            if settings:
                self._take_back(mac, settings, until)

    def _pop(self, mac: str) -> typing.Optional[Settings]:
        with self._changed:
            worn = self._kept.outfits.get(mac)
            if worn is None:
                return None
            known, worn.nameservers = worn.nameservers, None
            return known

    def _take_back(self, mac: str, known: Settings, until: float) -> None:
        try:
            with self._changed:
                primary, standby = self._nics.pair(mac)
            if primary and not configurators.configured(primary):
                # Who has told of them once does not tell of another NIC.
                with contextlib.closing(_Question(primary)) as question:
                    if not question.answer(until).get(_SERVERS):
                        _tell(primary, known, until)
            if standby:
                _resolvectl(until, 'revert', standby.name)
        except commands.FAULTS as error:
            LOG.warning('The DNS servers of %s stay as they are: %s', mac,
                        error)


class _Question:
    """What systemd-resolved knows of a NIC, without waiting for it.

    :raises OSError: there is nothing to ask it with
    """

    def __init__(self, nic: links.Nic) -> None:
        # The index is the kernel's.
        self._process = commands.start(
            (_BUSCTL, '--json=short', 'call', _BUS, _LINK % nic.index,
             'org.freedesktop.DBus.Properties', 'GetAll', 's',
             _BUS + '.Link'))

    def answer(self, until: float) -> Settings:
        """The settings, by their names for resolvectl.

        :param until: as long as that an answer is waited for
        :raises subprocess.TimeoutExpired: it was too late
        :raises commands.Unwilling: it is none
        """
        text, _ = self._process.communicate(timeout=_left(until))
        if self._process.returncode:
            raise commands.Unwilling(text.strip())
        try:
            return _settings({
                key: value['data']
                for key, value in json.loads(text)['data'][0].items()})
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise commands.Unwilling('%r in %r' % (error, text))

    def close(self) -> None:
        """Wait no longer."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        # Python 3.6 cannot communicate() once more (bpo-35182).
        if self._process.stdout:
            self._process.stdout.close()


def _close(asked: typing.Dict[str, _Question]) -> None:
    for question in asked.values():
        question.close()


def _settings(link: typing.Dict[str, typing.Any]) -> Settings:
    """:raises KeyError, ValueError, ...: it is not of org.freedesktop.resolve1
    """
    # Before systemd 246 there are no ports and names of servers.
    found = {
        _SERVERS: [_server(*server) for server in
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


def _tell(nic: links.Nic, known: Settings, until: float) -> None:
    for setting in _SETTINGS:
        if setting in known:
            try:
                # An empty word stands for none.
                _resolvectl(until, setting, nic.name,
                            *known[setting] or [''])
            except commands.Unwilling as error:
                if setting == _SERVERS:
                    raise
                LOG.info('%s of %s stays as it is: %s', setting, nic.name,
                         error)


def _resolvectl(until: float, *arguments: str) -> None:
    """:raises commands.Unwilling: it has failed"""
    # Words are systemd-resolved's own and the kernel's, of this guest.
    commands.run((_RESOLVECTL,) + arguments, _left(until))


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())
