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


"""Traffic between a guest and its peer, from before a move until after it."""

import array
import base64
import json
import secrets
import select
import subprocess
import sys
import time
import typing

from tests.lab.compare import endpoint
from tests.lab.compare import fabric
from tests.lab.compare import gaps
from tests.lab.compare import recipe
from tests.lab import conversation
from tests.simulation.fabric import namespace

# What has come within that many seconds flows.
_FRESH = 0.1
# For so many looks one after the other.
_LOOKS = 5
_PYTHON = '/usr/bin/python3'


class NoTraffic(Exception):
    """Nothing gets through."""


class Traffic:
    """Datagrams both ways, and a stream towards the guest.

    :param guest: the guest's QEMU guest agent; after a migration it has to be
        the one on the new host
    :param address: the guest's
    :param interval: seconds from one datagram to the next
    """

    def __init__(self, peer: namespace.Namespace,
                 guest: conversation.GuestAgent,
                 address: str = fabric.GUEST,
                 interval: float = endpoint.INTERVAL) -> None:
        self._address = address
        self._fresh = _FRESH * interval / endpoint.INTERVAL
        self._options = ('--interval', str(interval),
                         '--session', str(secrets.randbits(64)))
        self._guest_pid = guest.start(
            _PYTHON, recipe.ENDPOINT, 'guest', address, fabric.PEER,
            *self._options)
        self._peer = self._start_peer(peer)

    def close(self) -> None:
        self._peer.kill()
        self._peer.communicate()

    def await_flow(self, timeout: float) -> None:
        """Until datagrams come and the stream is acknowledged, for a while.

        :raises NoTraffic: they do not
        """
        until = time.monotonic() + timeout
        looks = 0
        while looks < _LOOKS:
            self._order('when')
            ages = [time.monotonic() - at for at in json.loads(
                self._read_line())]
            looks = looks + 1 if max(ages) < self._fresh else 0
            if time.monotonic() > until:
                raise NoTraffic(
                    f'Nothing gets through to or from the guest for '
                    f'{timeout:.0f} s')
            time.sleep(self._fresh)

    def stop(self, guest: conversation.GuestAgent,
             ) -> tuple[dict[str, typing.Any], dict[str, typing.Any]]:
        """What the peer and the guest have to tell."""
        self._order('hush')
        guest.output('sh', '-c', f'kill -TERM {self._guest_pid}')
        ended = guest.end(self._guest_pid)
        if ended.code:
            raise NoTraffic('The guest\'s end of the traffic has failed: '
                            f'{ended.errors}')
        self._order('end')
        said, _ = self._peer.communicate(timeout=30)
        return json.loads(said), json.loads(ended.output)

    def _start_peer(self, peer: namespace.Namespace) -> subprocess.Popen[str]:
        """Start it again until the guest's end accepts its stream."""
        until = time.monotonic() + 60
        while True:
            started = subprocess.Popen(
                # By its path: the package would bring more along.
                ['setpriv', '--pdeathsig', 'KILL', *peer.command(
                    sys.executable, endpoint.__file__, 'peer', fabric.PEER,
                    self._address, *self._options)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True)
            if started.stdout.readline():
                return started
            _, errors = started.communicate()
            if time.monotonic() > until:
                raise NoTraffic(f'The traffic does not start: {errors}')
            time.sleep(0.2)

    def _order(self, line: str) -> None:
        self._peer.stdin.write(line + '\n')
        self._peer.stdin.flush()

    def _read_line(self) -> str:
        if not select.select([self._peer.stdout], [], [], 30)[0]:
            raise NoTraffic('The peer\'s end of the traffic does not answer')
        return self._peer.stdout.readline()


def measure(peer: dict[str, typing.Any], guest: dict[str, typing.Any],
            phases: gaps.Phases, quiet: float,
            threshold: float = gaps.THRESHOLD,
            rest: float = 0.0) -> gaps.Round:
    """Read a round from what both ends have told.

    :param quiet: from when on nothing was done, until the first phase
    :param threshold: the shortest gap, in seconds
    :param rest: seconds after the last phase that were left to it: a gap that
        it has begun ends there
    """
    start = min(begin for begin, _ in phases.values())
    end = max(finish for _, finish in phases.values()) + rest
    numbers = array.array('I', base64.b64decode(guest['received'])).tolist()
    arrivals = list(zip(map(int, peer['received'][::2]),
                        peer['received'][1::2]))
    samples = array.array('d', peer['stream'])
    before, during = (
        (gaps.inwards(peer['sent'], numbers, *span, threshold),
         gaps.outwards(arrivals, guest['sent'], *span,
                       threshold))
        for span in ((quiet, start), (quiet, end)))
    stream = gaps.stream(samples, quiet, start)
    # A gap or a stall that reaches into the move is one: it counts from the
    # last that got through. Nothing else of the quiet does.
    last = stream.progress[-1] if stream.progress else quiet
    return gaps.Round(
        phases, *(way.since(start) for way in during),
        gaps.stream(samples, last, end), quiet=gaps.Quiet(
            *(way.longest_pause for way in before), stream.stall))
