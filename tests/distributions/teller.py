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

"""Tells a story in a process of its own."""

from collections.abc import Iterator
import contextlib
import multiprocessing
from multiprocessing import connection
import signal
import sys

from tests.distributions import story
from tests.distributions import variants
from tests.lab import image as images


@contextlib.contextmanager
def listening(image: images.Image, variant: variants.Variant, program: str,
              first: str, last: str) -> Iterator[Iterator[story.Step]]:
    """Tell a story, or a part of it, in a process of its own.

    Making a network namespace forks, which a process with threads must not.
    A process that has died is told as a last step that went wrong: what it
    had told until then says nothing of the rest.
    """
    spawning = multiprocessing.get_context('spawn')
    ours, theirs = spawning.Pipe(duplex=False)
    teller = spawning.Process(target=_tell_story,
                              args=(image, variant, program, first, last,
                                    theirs))
    teller.start()
    theirs.close()

    def told() -> Iterator[story.Step]:
        with contextlib.suppress(EOFError):
            while True:
                yield ours.recv()
        teller.join()
        if teller.exitcode:
            yield story.Step('the end', problem=(
                'The test itself has failed: its process has ended with exit '
                f'code {teller.exitcode}'))

    try:
        yield told()
    finally:
        teller.terminate()
        teller.join()
        ours.close()


def _tell_story(image: images.Image, variant: variants.Variant,
                program: str, first: str, last: str,
                there: connection.Connection) -> None:
    # Ctrl-C comes to all at once; who has started this one says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    story.Story(image, variant, program, there.send, first, last).run()
    there.close()
