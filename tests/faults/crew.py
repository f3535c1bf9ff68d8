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

"""Many runs, in processes of their own."""

from collections.abc import Callable
from collections.abc import Iterable
import json
import queue
import select
import subprocess
import sys
import threading
import typing

Document = dict[str, typing.Any]

# Seconds after which a process that does not answer is given up. A run has
# bounds of its own, and these are longer.
LONGEST_ANSWER = 300.0


class Silent(Exception):
    """A worker has ended or does not answer."""


class Hand:
    """One worker process; it is started anew if it has ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ask(self, asked: Document) -> Document:
        """:raises Silent: there is no answer"""
        # Another thread may end it, and forget it, at any time.
        process = self._start()
        assert process.stdin and process.stdout
        try:
            process.stdin.write(json.dumps(asked) + '\n')
            process.stdin.flush()
        except BrokenPipeError as error:
            raise Silent(str(asked)) from error
        if not select.select([process.stdout], [], [], LONGEST_ANSWER)[0]:
            self.end()
            raise Silent(str(asked))
        line = process.stdout.readline()
        if not line:
            raise Silent(str(asked))
        return json.loads(line)

    def _start(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, '-m', 'tests.faults.worker'], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, start_new_session=True)
        return self._process

    def end(self) -> None:
        """It has nothing that outlives it: no file, no device."""
        if self._process:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    pipe.close()
            self._process = None


class Crew:
    """Workers that share a pile of work.

    :param size: how many of them
    """

    def __init__(self, size: int) -> None:
        self._hands = [Hand() for _number in range(size)]
        self._stopped = False

    def work(self, pile: Iterable[Document],
             done: Callable[[Document, Document | None], None]) -> None:
        """Have all of it done.

        :param done: called with each piece and its answer, one at a time;
            None where a worker did not answer, at the second time either
        """
        waiting: queue.SimpleQueue[Document] = queue.SimpleQueue()
        for piece in pile:
            waiting.put(piece)
        lock = threading.Lock()

        def serve(hand: Hand) -> None:
            while not self._stopped:
                try:
                    piece = waiting.get_nowait()
                except queue.Empty:
                    return
                answer = self._ask(hand, piece)
                with lock:
                    if not self._stopped:
                        done(piece, answer)

        threads = [threading.Thread(target=serve, args=(hand,), daemon=True)
                   for hand in self._hands]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def dismiss(self) -> None:
        """End all of them at once."""
        self._stopped = True
        for hand in self._hands:
            hand.end()

    def _ask(self, hand: Hand, piece: Document) -> Document | None:
        for _time in range(2):
            try:
                return hand.ask(piece)
            except (Silent, ValueError, OSError):
                if self._stopped:
                    return None
        return None
