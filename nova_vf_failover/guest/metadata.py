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

"""Intents that come through Nova's metadata service.

The host writes an intent into the metadata of the server, as items that are
called ``vf_failover``, ``vf_failover_1`` and so on::

    1 1764000000000 1/2 standby 30 fa163e000001 fa163e000002 ...

The words are the version, the generation, which part this is of how many, the
NIC to use, the seconds that the work may take, and the MACs of the ports.
Parts that do not belong together are no intent; the next look may find all.

Whoever may write a server's metadata can forge an intent, and an intent that
was taken makes every older one stale. Generations are milliseconds of the UNIX
epoch, so one that is more than a day off this guest's clock, in the future or
in the past, is not taken: a forged one locks the host out for a day at most,
and a forgotten one does not come to life again in a server that is rebuilt. A
clock that was never set cannot tell.
"""

import http.client
import io
import json
import logging
import re
import socket
import threading
import time
import typing
import urllib.parse

from nova_vf_failover.guest import intent as intents

LOG = logging.getLogger(__name__)

# Seconds between two looks after something new was found, and for how long.
_SOON = 1.0
_BUSY = 60.0

# Seconds for one exchange, however slowly the bytes come.
_TIMEOUT = 5.0
_LONGEST_ANSWER = 1024 * 1024

_VERSION = '1'
_NAME = 'vf_failover'
_MOST_PARTS = 16

_ITEM = re.compile(
    r'(?P<version>[0-9]{1,3}) (?P<generation>[0-9]{1,16}) '
    r'(?P<part>[0-9]{1,2})/(?P<parts>[0-9]{1,2}) (?P<use>[a-z]{1,16}) '
    r'(?P<timeout>[0-9.]{1,8})(?P<macs>( [0-9a-f]{12})+)\Z', re.ASCII)

# Seconds that a generation may be off the clock; and the first second of 2024,
# before which no clock is right.
_TOLERANCE = 86400
_SANE = 1704067200

Items = typing.Dict[str, typing.Any]


class NoAnswer(Exception):
    """The metadata service does not say what is wanted."""


def read(items: Items) -> typing.Optional[intents.Intent]:
    """The intent in the metadata of a server; None if there is none.

    :raises intents.BadIntent: with a sentence that says what is wrong
    """
    if _NAME not in items:
        return None
    first = _words(items, _NAME)
    parts = int(first['parts'])
    if not 1 <= parts <= _MOST_PARTS:
        raise intents.BadIntent('An intent of %d parts is not read.' % parts)
    macs = ''
    for number in range(parts):
        name = _NAME if number == 0 else '%s_%d' % (_NAME, number)
        words = _words(items, name)
        expected = dict(first, part=str(number + 1), macs=words['macs'])
        if words != expected:
            raise intents.BadIntent(
                '%s is not of one intent with %s.' % (name, _NAME))
        macs += words['macs']
    return _intent(first, macs.split())


def _words(items: Items, name: str) -> typing.Dict[str, str]:
    value = items.get(name)
    found = _ITEM.match(value) if isinstance(value, str) else None
    if not found:
        raise intents.BadIntent('The metadata item %s is missing or is no '
                                'part of an intent.' % name)
    return found.groupdict()


def _intent(words: typing.Dict[str, str],
            macs: typing.List[str]) -> intents.Intent:
    if words['version'] != _VERSION:
        raise intents.BadIntent('The intent in the metadata has version %s; '
                                'this agent knows version %s.'
                                % (words['version'], _VERSION))
    try:
        timeout = float(words['timeout'])
    except ValueError:
        raise intents.BadIntent('%s is no number.' % words['timeout'])
    return intents.from_document({
        'version': intents.VERSION, 'generation': int(words['generation']),
        'use': words['use'], 'timeout': timeout,
        'ports': [{'id': mac, 'mac': ':'.join(
            mac[at:at + 2] for at in range(0, 12, 2))} for mac in macs]})


def check_age(intent: intents.Intent, now: float) -> None:
    """:raises intents.BadIntent: it is not of these days"""
    off = intent.generation / 1000.0 - now
    if now >= _SANE and abs(off) > _TOLERANCE:
        raise intents.BadIntent(
            'Generation %d is %d hours off the clock of this guest.'
            % (intent.generation, off / 3600))


def fetch(url: str) -> Items:
    """The metadata of this server.

    No proxy and no redirection is followed, and the whole exchange is bounded
    in time and in size.

    :raises NoAnswer: with a sentence that says why
    """
    try:
        parts = urllib.parse.urlsplit(url)
        body = _exchange(parts.hostname or '', parts.port or 80, parts.path)
        document = json.loads(body.decode())
    except (OSError, http.client.HTTPException, ValueError, OverflowError,
            RecursionError) as error:
        # The last but one is of a chunk longer than there is memory for.
        raise NoAnswer('%s: %s' % (type(error).__name__, error))
    items = document.get('meta', {}) if isinstance(document, dict) else None
    if not isinstance(items, dict):
        raise NoAnswer('There is no metadata in the answer.')
    return items


def _exchange(host: str, port: int, path: str) -> bytes:
    deadline = time.monotonic() + _TIMEOUT
    received = b''
    with socket.create_connection((host, port), _TIMEOUT) as sock:
        # HTTP/1.0: the end of the connection is that of the answer.
        sock.sendall(('GET %s HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n'
                      '\r\n' % (path, host)).encode('ascii'))
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or len(received) > _LONGEST_ANSWER:
                raise NoAnswer('The answer is too slow or too long.')
            sock.settimeout(left)
            data = sock.recv(65536)
            if not data:
                break
            received += data
    response = http.client.HTTPResponse(
        typing.cast(socket.socket, _Received(received)))
    response.begin()
    if response.status != 200:
        raise NoAnswer('The status of the answer is %d.' % response.status)
    return response.read()


class _Received:
    """What ``http.client`` needs of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self._data)


class Watch:
    """Looks for intents until the process ends.

    :param take: is given the intent that was found, at each look
    :param interval: seconds between two looks
    """

    def __init__(self, url: str, interval: float,
                 take: typing.Callable[[intents.Intent], None]) -> None:
        self._url = url
        self._interval = interval
        self._take = take
        self._newest = 0
        self._found = -_BUSY
        self._sentence = ''
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            self.look()
            busy = time.monotonic() - self._found < _BUSY
            self._ended.wait(min(self._interval, _SOON) if busy
                             else self._interval)

    def end(self) -> None:
        self._ended.set()

    def look(self) -> None:
        """Look once; whatever is wrong changes nothing."""
        try:
            intent = read(fetch(self._url))
            if intent:
                check_age(intent, time.time())
        except (NoAnswer, intents.BadIntent) as error:
            self._say(str(error))
            return
        self._say('')
        if intent:
            if intent.generation > self._newest:
                self._newest = intent.generation
                self._found = time.monotonic()
            self._take(intent)

    def _say(self, sentence: str) -> None:
        """Once, however often it is so."""
        if sentence != self._sentence:
            self._sentence = sentence
            if sentence:
                LOG.warning('No intent from %s: %s', self._url, sentence)
