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

"""What the agent must still know after it was killed, on disk."""

import json
import logging
import os
import time
import typing

from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import outfit

LOG = logging.getLogger(__name__)

NAME = 'snapshot.json'
# Of the form that outfits have.
_VERSION = 2


class Unwritable(Exception):
    """What has to be on disk before it is done is not; the message says why.
    """


class Snapshot:
    """What was asked and done last.

    :ivar outfits: of the primaries, by MAC
    :ivar groups: the multicast groups that programs of the guest have lost
        with a primary, by its MAC; for good, so longer than its outfit
    :ivar away: the MACs whose traffic runs, or may run, over a standby
    :ivar alone: the MACs whose standby was all that their ports had, so that
        the guest may use it without the agent: it was started anew on it
    :ivar names: the names of the primaries, by MAC, as long as there is a
        standby: a start of the guest does not forget them
    :ivar owed: the MACs of primaries that have other names than those, for
        Linux before 6.2 could not give them these while they were in use
    :ivar since: when each MAC has come to be away, or not to be any more
    :ivar restarted: whether the guest was started anew since

    :param folder: where it is kept; made when it is written
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._path = os.path.join(folder, NAME)
        self._fresh = self._path + '.new'
        self.intent: typing.Optional[intents.Intent] = None
        self.outfits: typing.Dict[str, outfit.Outfit] = {}
        self.groups: typing.Dict[str, typing.List[str]] = {}
        self.away: typing.Set[str] = set()
        self.alone: typing.Set[str] = set()
        self.names: typing.Dict[str, str] = {}
        self.owed: typing.Set[str] = set()
        self.since: typing.Dict[str, float] = {}
        self._before: typing.Set[str] = set()
        self.restarted = False
        self._behind = False
        self._read()

    @property
    def macs(self) -> typing.Set[str]:
        """All that are known to have, or to have had, a standby."""
        asked = {port.mac for port in self.intent.ports} if (
            self.intent) else set()
        return asked | self.away | self.alone | set(self.outfits)

    def take(self, intent: intents.Intent) -> None:
        """Keep a new intent.

        :raises Unwritable: the one before it is kept
        """
        before, self.intent = self.intent, intent
        try:
            self.write()
        except Unwritable:
            self.intent = before
            raise

    def leave(self, macs: typing.Set[str]) -> None:
        """Keep that the traffic of ports is about to be on their standbys.

        :raises Unwritable: it is not kept, and must not be
        """
        before = set(self.away)
        self.away |= macs
        try:
            self.write()
        except Unwritable:
            self.away = before
            raise

    def write(self) -> None:
        """Keep it; after this returns it is on disk.

        :raises Unwritable: the old one is, or, if the disk is broken, none
        """
        self._behind = True
        try:
            self._write()
        except OSError as error:
            raise self._unwritable(error)
        self._behind = False

    def try_to_write(self) -> None:
        """See whether it could be kept; what is on disk stays as it is.

        Without waiting for the disk: a file system that is full or read-only
        says so at once, and whoever asks has no time for one that is busy.

        :raises Unwritable: it could not
        """
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            with open(self._fresh, 'w') as file:
                json.dump(self._document(self.since), file)
            os.unlink(self._fresh)
        except OSError as error:
            raise self._unwritable(error)

    def _unwritable(self, error: OSError) -> Unwritable:
        return Unwritable('%s cannot be written: %s.' % (self._path, error))

    def write_if_possible(self) -> None:
        """Keep it now, or when next something is written.

        For what has been done already: an agent that is killed before that
        finds out, or does without.
        """
        try:
            self.write()
        except Unwritable as error:
            LOG.warning('%s', error)

    def catch_up(self) -> None:
        """Keep what could not be kept when it was to be."""
        if self._behind:
            self.write_if_possible()

    def _write(self) -> None:
        since = dict(self.since, **dict.fromkeys(self.away ^ self._before,
                                                 time.time()))
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        with open(self._fresh, 'w') as file:
            json.dump(self._document(since), file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(self._fresh, self._path)
        # Or a guest that is reset has the old one.
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self.since = since
        self._before = set(self.away)

    def _document(self, since: typing.Dict[str, float]) -> intents.Document:
        return {
            'version': _VERSION, 'boot': _boot(),
            'intent': self.intent.to_document() if self.intent else None,
            'outfits': {mac: worn.to_document()
                        for mac, worn in self.outfits.items()},
            'groups': self.groups,
            'away': sorted(self.away), 'alone': sorted(self.alone),
            'names': self.names, 'owed': sorted(self.owed),
            'since': since}

    def _read(self) -> None:
        try:
            with open(self._path) as file:
                document = json.load(file)
        except (FileNotFoundError, ValueError):
            # Cut off while it was written for the first time.
            return
        if document.get('version') != _VERSION:
            # Of an agent that was replaced: the intent is all that is known.
            document.update(outfits={}, away=[])
        self.outfits = {
            mac: outfit.Outfit.from_document(worn)
            for mac, worn in document['outfits'].items()}
        self.groups = document.get('groups', {})
        self.away = set(document['away'])
        self.alone = set(document.get('alone', []))
        self.names = document.get('names', {})
        self.owed = set(document.get('owed', []))
        self._before = set(self.away)
        self.since = document.get('since', {})
        self.restarted = document.get('boot') != _boot()
        if document['intent']:
            self.intent = intents.from_document(document['intent'])


def _boot() -> str:
    with open('/proc/sys/kernel/random/boot_id') as source:
        return source.read().strip()
