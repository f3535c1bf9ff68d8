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

"""Intents as they come in, and reports as they go out: JSON documents."""

import contextlib
import json
import re
import time
import typing

VERSION = 1

# An intent for the most ports that are accepted is far shorter.
LONGEST_INTENT = 64 * 1024
MOST_PORTS = 64
LONGEST_TIMEOUT = 600.0

STANDBY = 'standby'
PRIMARY = 'primary'

# Nothing is known: there was no intent, or nobody can say what it has done.
NONE = 'none'
READY = 'ready'
ARMED = 'armed'
WORKING = 'working'
DONE = 'done'
REFUSED = 'refused'
FAILED = 'failed'

_MAC = re.compile(r'([0-9a-f]{2}:){5}[0-9a-f]{2}\Z')
_PORT_ID = re.compile(r'[0-9A-Za-z._-]{1,64}\Z')

Document = typing.Dict[str, typing.Any]

#: waits for a condition of the NICs, for that many seconds at most and not
#: beyond the time of the intent, and looks again after so many others; whether
#: it holds
Arrived = typing.Callable[..., bool]


class BadIntent(Exception):
    """It is no intent that this agent understands; the message says why."""


class Refused(Exception):
    """It cannot be done, and nothing was changed; the message says why."""


class Stale(Refused):
    """Another one was taken, and this one is not newer.

    :ivar taken: the generation of that one
    """

    def __init__(self, taken: int) -> None:
        super().__init__(
            'The intent is stale: generation %d was taken already.' % taken)
        self.taken = taken


Port = typing.NamedTuple('Port', [('id', str), ('mac', str)])


class Intent:
    """Which NIC is to be used for which ports.

    :ivar generation: orders intents
    :ivar use: STANDBY or PRIMARY
    :ivar timeout: seconds for the work, from the arrival of the NIC
    """

    def __init__(self, generation: int, use: str, timeout: float,
                 ports: typing.List[Port]) -> None:
        self.generation = generation
        self.use = use
        self.timeout = timeout
        self.ports = ports

    def same_as(self, other: typing.Optional['Intent']) -> bool:
        """Whether this is the other one, said again.

        The time for it may be another one: it does not change what is done.
        """
        return (other is not None
                and (self.generation, self.use, self.ports)
                == (other.generation, other.use, other.ports))

    def to_document(self) -> Document:
        return {'version': VERSION, 'generation': self.generation,
                'use': self.use, 'timeout': self.timeout,
                'ports': [{'id': port.id, 'mac': port.mac}
                          for port in self.ports]}


def parse(text: str) -> Intent:
    """Read an intent.

    :raises BadIntent: with a sentence that says what is wrong
    """
    if len(text) > LONGEST_INTENT:
        raise BadIntent('The intent has %d bytes; at most %d are read.'
                        % (len(text), LONGEST_INTENT))
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise BadIntent('The intent is no JSON.')
    return from_document(document)


def from_document(document: typing.Any) -> Intent:
    """:raises BadIntent: with a sentence that says what is wrong"""
    if not isinstance(document, dict):
        raise BadIntent('The intent is no JSON object.')
    if (document.get('version') != VERSION
            or isinstance(document['version'], bool)):
        raise BadIntent('The intent has version %r; this agent knows version '
                        '%d.' % (document.get('version'), VERSION))
    generation = document.get('generation')
    if (not isinstance(generation, int) or isinstance(generation, bool)
            or not 0 < generation < 2 ** 53):
        raise BadIntent('"generation" is no positive whole number.')
    if document.get('use') not in (STANDBY, PRIMARY):
        raise BadIntent('"use" is neither "standby" nor "primary".')
    timeout = document.get('timeout')
    if (not isinstance(timeout, (int, float)) or isinstance(timeout, bool)
            or not 0 < timeout <= LONGEST_TIMEOUT):
        raise BadIntent('"timeout" is no number of seconds up to %d.'
                        % LONGEST_TIMEOUT)
    return Intent(generation, document['use'], float(timeout),
                  _ports(document.get('ports')))


def _ports(value: typing.Any) -> typing.List[Port]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_PORTS:
        raise BadIntent('"ports" is no list of 1 to %d ports.' % MOST_PORTS)
    ports: typing.List[Port] = []
    for item in value:
        if (not isinstance(item, dict)
                or not isinstance(item.get('id'), str)
                or not _PORT_ID.match(item['id'])
                or not isinstance(item.get('mac'), str)
                or not _MAC.match(item['mac'])):
            raise BadIntent('A port has no proper "id" and "mac".')
        ports.append(Port(item['id'], item['mac']))
    if len({port.mac for port in ports}) != len(ports):
        raise BadIntent('Two ports have one MAC.')
    return ports


class Report:
    """What the agent says about an intent, as far as it has come.

    :ivar state: one of the words above
    :ivar taken: of what makes the intent stale, the generation; or 0
    :ivar ports: by MAC, what is known of each port
    """

    def __init__(self, intent: typing.Optional[Intent] = None,
                 state: str = NONE, message: str = '') -> None:
        self.generation = intent.generation if intent else 0
        self.use: typing.Optional[str] = intent.use if intent else None
        self.state = state
        self.message = message
        self.taken = 0
        self.started: typing.Optional[float] = None
        self.finished: typing.Optional[float] = None
        self.ports: typing.Dict[str, Document] = {}
        for port in intent.ports if intent else []:
            self.ports[port.mac] = {
                'id': port.id, 'mac': port.mac, 'primary': None,
                'standby': None, 'proven': None, 'overlap': False,
                'steps': []}

    def describe(self, ports: typing.List[Document]) -> None:
        """Say of each port what was found out about it."""
        for port in ports:
            self.ports.setdefault(port['mac'], {
                'proven': None, 'overlap': False, 'steps': []}).update(port)

    def begin(self) -> None:
        """Note that it is being carried out; one that is armed is not yet."""
        self.state = WORKING
        self.started = time.time()

    def end(self, state: str, message: str = '') -> None:
        """Note what has come of it; nothing more will.

        :param message: why, if it was not done
        """
        self.state = state
        self.message = message
        self.finished = time.time()

    @contextlib.contextmanager
    def step(self, name: str) -> typing.Iterator[None]:
        """Note when the body began and when it ended."""
        start = time.time()
        yield
        for port in self.ports.values():
            port['steps'].append(
                {'name': name, 'start': start, 'end': time.time()})

    def to_document(self) -> Document:
        document: Document = {
            'version': VERSION, 'generation': self.generation,
            'use': self.use, 'state': self.state, 'message': self.message,
            'started': self.started, 'finished': self.finished,
            'ports': [dict(port, state=self.state)
                      for port in self.ports.values()]}
        if self.taken:
            document['taken'] = self.taken
        return document
