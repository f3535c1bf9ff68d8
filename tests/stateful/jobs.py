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

"""Shares that are done side by side, each in a process of its own."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import multiprocessing
from multiprocessing import connection
import os
import signal
import sys
import time

from tests.stateful import results as outcomes

# A process of Nova's cannot be forked: it has threads.
_SPAWN = multiprocessing.get_context('spawn')

Work = Callable[[outcomes.Share, Callable[[str], None]], outcomes.Outcome]


class Job:
    """A process that does a share, and tells of it.

    :ivar said: what it tells: the name of each step, and at last its outcome
    """

    def __init__(self, share: outcomes.Share, work: Work) -> None:
        self.share = share
        self.said, its = _SPAWN.Pipe(duplex=False)
        self._process = _SPAWN.Process(
            target=_do, args=(work, share, its), daemon=True)
        self._process.start()
        # The only end that is left closes when the process ends.
        its.close()

    def stop(self) -> None:
        """Have it tell what there is so far, and end."""
        self._process.terminate()

    def end(self) -> int | None:
        """:returns: its exit code"""
        self.said.close()
        self._process.join()
        return self._process.exitcode


def run(results: outcomes.Results, work: Work, told: Callable[[], None],
        ended: Callable[[outcomes.Outcome], None]) -> bool:
    """Do all shares.

    :param results: of these shares, to write into
    :param work: does one, in its process; it is imported there
    :param told: called after each step
    :param ended: called after each share; the others may take hours yet
    :returns: whether it was interrupted, by Ctrl-C or SIGTERM
    """
    began = time.monotonic()
    running = [Job(share, work) for share in results.shares]
    with _stopped_by_signals(running) as heard:
        while running:
            for pipe in connection.wait([job.said for job in running]):
                job = next(job for job in running if job.said is pipe)
                said = _hear(job, bool(heard))
                if isinstance(said, str):
                    results.steps[said] += 1
                    told()
                else:
                    running.remove(job)
                    results.note(job.share, said)
                    ended(said)
    results.seconds = time.monotonic() - began
    return bool(heard)


def _hear(job: Job, stopped: bool) -> str | outcomes.Outcome:
    """The next step of a job, or what has come of it, which is the last."""
    try:
        said: str | outcomes.Outcome = job.said.recv()
    except EOFError:
        code = job.end()
        return outcomes.Outcome(0, '' if stopped else (
            f'Its process has ended by itself, with exit code {code}'))
    if isinstance(said, outcomes.Outcome):
        job.end()
    return said


@contextlib.contextmanager
def _stopped_by_signals(running: list[Job]) -> Iterator[list[int]]:
    """:returns: the signals that have come"""
    heard: list[int] = []

    def stop(number: int, _frame: object) -> None:
        # One does not come alone (see interruption.py), and a second one
        # would keep a job from telling what there is.
        if not heard:
            for job in running:
                job.stop()
        heard.append(number)

    before = {number: signal.signal(number, stop)
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if heard:
            # What there is so far is still to be written.
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _do(work: Work, share: outcomes.Share,
        tell: connection.Connection) -> None:
    # Ctrl-C comes to all at once; who has started this one says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Nova's tests have it write into a log that nobody reads.
    sys.excepthook = sys.__excepthook__
    tell.send(work(share, tell.send))
    # The threads of Nova's pools would hold the process up.
    os._exit(0)


def live(share: outcomes.Share,
         told: Callable[[str], None]) -> outcomes.Outcome:
    """Have servers live through a share."""
    # It makes services of Nova's of the process that imports it.
    from tests.stateful import campaign
    return campaign.run(share, told)
