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

"""The DNS servers of a port, which guests know by their NICs.

A NIC that is down or gone has none, and who has told of them leaves the
standby alone. So what the primary had goes on being used for as long as the
standby is; else a guest on its standby could not look up a name.

Who knows of them is asked before a failover, and nobody waits for the answer:
it is read afterwards, in a thread of its own, and none is worth a move.
"""

import contextlib
import logging
import queue
import threading
import time
import typing

from nova_vf_failover.guest import commands
from nova_vf_failover.guest import links
from nova_vf_failover.guest import resolved
from nova_vf_failover.guest import snapshot
from nova_vf_failover.guest import substitutes

LOG = logging.getLogger(__name__)

# Seconds for all that is said about one intent. A command takes some
# hundredths, but seconds in a guest that is emulated; one to a program that
# hangs takes minutes.
_LONGEST = 30.0

_KEEPERS = (resolved.Resolved(), substitutes.Substitutes())

_Keeper = typing.Union[resolved.Resolved, substitutes.Substitutes]
_Known = typing.List[typing.Tuple[_Keeper, str, resolved.Settings]]


class _Asked(typing.NamedTuple):
    """A question about the servers of a port, and who it was put to."""

    mac: str
    keeper: _Keeper
    question: commands.Question


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
        """Tell what there is to be told, in its order."""
        while True:
            self.tell_next()

    def tell_next(self) -> None:
        job = self._jobs.get()
        try:
            job()
        except Exception:
            # Of another systemd-resolved or NetworkManager than those that
            # are known here: the traffic is where it should be.
            LOG.exception('DNS servers stay as they are')

    @contextlib.contextmanager
    def followed(self, macs: typing.Iterable[str]) -> typing.Iterator[None]:
        """Have what is known of the primaries now last on the standbys.

        The body moves the ports. Where it fails, nothing is said.
        """
        asked = [question for mac in macs for question in self._ask(mac)]
        try:
            yield
        except BaseException:
            _close(asked)
            raise
        if asked:
            self._jobs.put(lambda: self._give_all(asked))

    def take_back(self, macs: typing.Iterable[str]) -> None:
        """The ports are on their primaries again."""
        macs = list(macs)
        # What a port had worn is forgotten with its standby.
        known = self._pop(macs)
        # The standby may have been told of them since.
        self._jobs.put(lambda: self._take_all_back(known + self._pop(macs)))

    def _ask(self, mac: str) -> typing.Iterator[_Asked]:
        primary = self._nics.primary(mac)
        if primary is None or not primary.up:
            return
        worn = self._kept.outfits.get(mac)
        for keeper in _KEEPERS:
            if worn and getattr(worn, keeper.kept_as):
                # The port is on its standby already, which knows them.
                continue
            try:
                question = keeper.ask(primary)
                if question:
                    yield _Asked(mac, keeper, question)
            except OSError as error:
                LOG.warning('Nobody tells of the DNS servers of %s: %s', mac,
                            error)

    def _give_all(self, asked: typing.List[_Asked]) -> None:
        left = _time()
        try:
            for one in asked:
                try:
                    self._give(one, left)
                except commands.FAULTS as error:
                    LOG.warning('The standby of %s has no DNS servers: %s',
                                one.mac, error)
        finally:
            _close(asked)

    def _give(self, asked: _Asked, left: resolved.Left) -> None:
        known = asked.keeper.read(asked.question.answer(left()))
        if known.get(resolved.SERVERS):
            standby = self._remember(asked, known)
            if standby:
                asked.keeper.give(asked.mac, standby, known, left)

    def _remember(self, asked: _Asked, known: resolved.Settings
                  ) -> typing.Optional[links.Nic]:
        """:returns: the standby that is to know the same"""
        with self._changed:
            standby = self._nics.standby(asked.mac)
            worn = self._kept.outfits.get(asked.mac)
            if standby is None or worn is None:
                return None
            setattr(worn, asked.keeper.kept_as, known)
            self._kept.write_if_possible()
            return standby

    def _take_all_back(self, known: _Known) -> None:
        left = _time()
        for keeper, mac, settings in known:
            try:
                with self._changed:
                    primary, standby = self._nics.pair(mac)
                keeper.take_back(mac, primary, standby, settings, left)
            except commands.FAULTS as error:
                LOG.warning('The DNS servers of %s stay as they are: %s', mac,
                            error)

    def _pop(self, macs: typing.Iterable[str]) -> _Known:
        """What was told of ports, which it is no more afterwards."""
        with self._changed:
            found = []
            for mac in macs:
                worn = self._kept.outfits.get(mac)
                for keeper in _KEEPERS if worn else ():
                    known = getattr(worn, keeper.kept_as)
                    if known:
                        found.append((keeper, mac, known))
                        setattr(worn, keeper.kept_as, None)
            return found


def _close(asked: typing.Iterable[_Asked]) -> None:
    for one in asked:
        one.question.close()


def _time() -> resolved.Left:
    """Makes how many seconds are left from now on."""
    until = time.monotonic() + _LONGEST
    return lambda: max(0.0, until - time.monotonic())
