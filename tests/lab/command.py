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

"""What the commands of the labs have in common."""

import argparse
from collections.abc import Sequence
import os
import signal

from tests.lab import errors
from tests.lab import image as images


def interrupt_when_ended() -> None:
    """Have whatever is open closed with SIGTERM as with Ctrl-C."""
    own = os.getpid()

    def end(*_unused: object) -> None:
        if os.getpid() != own:
            # pyroute2 forks, and ends the child with this signal.
            os._exit(128 + signal.SIGTERM)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)


def parser(program: str, description: str, schemes: Sequence[str],
           rounds: int) -> argparse.ArgumentParser:
    """What a lab that measures can be told.

    :param schemes: the names of all its ways to migrate
    :param rounds: how many it makes if nobody says
    """
    made = argparse.ArgumentParser(
        prog=f'.ci/tox -e {program} --', description=description)
    made.add_argument('--rounds', type=_positive, default=rounds,
                      help='default: %(default)s')
    made.add_argument('--schemes', nargs='+', choices=schemes,
                      default=schemes, help='default: all of them')
    made.add_argument('--json', metavar='FILE',
                      help='write the figures there')
    made.add_argument('--svg', metavar='FILE', help='draw them there')
    return made


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError('at least 1 is needed')
    return number


def build(recipe: images.Recipe, cache: str) -> int:
    """Build an image, if it is not there.

    :returns: the exit code: 0, or 2 (it cannot be built)
    """
    try:
        image = images.get(recipe, cache, print)
    except errors.LabError as error:
        print(error)
        return 2
    print(f'{image.folder} is ready; the versions of its '
          f'{len(image.versions)} packages are in "packages" there.')
    return 0
