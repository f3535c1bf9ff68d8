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

"""The end of a nova-compute in the middle of a move, and its new start."""

from collections.abc import Callable
import threading
import typing
import unittest

import fixtures
from nova import version
import oslo_messaging
from oslo_messaging.rpc import server

from nova_vf_failover import domain


def skip_where_nova_loses_the_server(case: unittest.TestCase) -> None:
    """Skip a test in which the destination's last step is not answered.

    Up to Nova 29 the source takes the migration for complete all the same
    (ComputeManager._post_live_migration), and the server for its own for good.
    """
    if int(version.version_string().partition('.')[0]) < 30:
        case.skipTest('Nova 29 looks for the server on the source.')


class Killed(BaseException):
    """Nothing handles it, as nothing handles the end of a process."""


class Death(fixtures.Fixture):
    """Ends whoever writes the journal for the Nth time from now on.

    :param number: the first write is number 1
    :param before: whether that write is not made any more; all that came
        before it has been done then
    """

    def __init__(self, number: int, before: bool) -> None:
        self._number = number
        self._before = before
        self._writes = 0
        self.died = threading.Event()

    def _setUp(self) -> None:
        write = domain.Domain.write_journal

        def write_or_die(guest: domain.Domain,
                         content: typing.Any) -> None:
            self._writes += 1
            if self._before and self._writes == self._number:
                self._die()
            write(guest, content)
            if self._writes == self._number:
                self._die()

        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.domain.Domain.write_journal', write_or_die))

    def _die(self) -> None:
        self.died.set()
        raise Killed()


class Callers(fixtures.Fixture):
    """Those who wait for the answer of a process that has ended.

    They would wait for their time-out. One that a test can wait for may be
    too short for the services that live.
    """

    def __init__(self) -> None:
        self._unanswered: list[typing.Any] = []

    def _setUp(self) -> None:
        process = server.RPCServer._process_incoming

        def process_or_die(answering: server.RPCServer,
                           incoming: list[typing.Any]) -> None:
            try:
                process(answering, incoming)
            except Killed:
                self._unanswered.extend(incoming)
                raise

        self.useFixture(fixtures.MonkeyPatch(
            'oslo_messaging.rpc.server.RPCServer._process_incoming',
            process_or_die))

    def time_out(self) -> None:
        """Their patience is at its end."""
        while self._unanswered:
            error = oslo_messaging.MessagingTimeout('It has ended.')
            self._unanswered.pop().reply(failure=(type(error), error, None))


def moments(writes: int) -> list[tuple[int, bool]]:
    """Every moment at which somebody who writes that often may die.

    The end before the first write is no end in the middle.
    """
    return [(number, before) for number in range(1, writes + 1)
            for before in (True, False) if (number, before) != (1, True)]


def dying(died: threading.Event) -> Callable[..., typing.Any]:
    """A method in which its process ends."""
    def die(*arguments: typing.Any, **keywords: typing.Any) -> None:
        died.set()
        raise Killed()
    return die
