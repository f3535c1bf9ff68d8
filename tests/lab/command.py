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
from collections.abc import Callable
from collections.abc import Sequence
import sys
import time
import traceback

from rich import console as consoles

from tests import interruption
from tests.lab.compare import traffic
from tests.lab import conversation
from tests.lab import errors
from tests.lab import image as images

Say = Callable[[str], None]

_FAILURES = (AssertionError, OSError, traffic.NoTraffic,
             conversation.Refusal)
# Of what is no terminal: room for the tables.
_WIDTH = 118


def run(work: Callable[[consoles.Console, Say], None],
        failures: Sequence[type[Exception]] = ()) -> int:
    """Do what a lab does, until it is done or cannot go on.

    :param work: is given what prints its tables, and what says how far it is
    :param failures: what may fail there, besides what may in every lab
    :returns: the exit code: 0, 1 (something failed), 2 (it cannot be run
        here) or 130 (it was interrupted)
    """
    console = consoles.Console(
        width=None if sys.stdout.isatty() else _WIDTH)
    interruption.raise_once()
    start = time.monotonic()

    def say(what: str) -> None:
        console.print(f'{time.monotonic() - start:6.0f} s  {what}',
                      markup=False, highlight=False)

    try:
        work(console, say)
    except errors.LabError as error:
        console.print(str(error), markup=False)
        return 2
    except (*_FAILURES, *failures) as error:
        console.print(f'{type(error).__name__}: {error}', markup=False)
        traceback.print_exc()
        return 1
    except KeyboardInterrupt:
        console.print('Interrupted; what was there is removed.')
        return 130
    say('done')
    return 0


def parser(program: str, description: str,
           rounds: int) -> argparse.ArgumentParser:
    """What a lab that measures can be told.

    :param rounds: how many it makes if nobody says
    """
    made = argparse.ArgumentParser(
        prog=f'.ci/tox -e {program} --', description=description)
    made.add_argument('--rounds', type=positive, default=rounds,
                      help='default: %(default)s')
    made.add_argument('--json', metavar='FILE',
                      help='write the figures there')
    made.add_argument('--svg', metavar='FILE', help='draw them there')
    return made


def add_choice(to: argparse.ArgumentParser, option: str,
               choices: Sequence[str],
               default: Sequence[str] | None = None) -> None:
    """An option that takes some of a number of names.

    :param default: those that are taken if nobody says; else all
    """
    to.add_argument(
        option, nargs='+', choices=choices, default=default or choices,
        help='default: ' + (' '.join(default) if default
                            else 'all of them'))


def positive(text: str) -> int:
    """:raises argparse.ArgumentTypeError: it is not"""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError('at least 1 is needed')
    return number


def build(recipe: images.Recipe, cache: str) -> int:
    """Build an image, if it is not there.

    :returns: the exit code: 0, 2 (it cannot be built) or 130 (it was
        interrupted)
    """
    interruption.raise_once()
    try:
        image = images.get(recipe, cache, print)
    except errors.LabError as error:
        print(error)
        return 2
    except KeyboardInterrupt:
        print('Interrupted; what was there is removed.')
        return 130
    print(f'{image.folder} is ready; the versions of its '
          f'{len(image.versions)} packages are in "packages" there.')
    return 0
