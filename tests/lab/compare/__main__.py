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


"""``python -m tests.lab.compare``: ways to migrate a guest with a VF."""

import json
import os
import shutil
import sys
import time
import typing

from rich import console as consoles

from tests.lab import command
from tests.lab.compare import comparison
from tests.lab.compare import gaps
from tests.lab.compare import guest
from tests.lab.compare import picture
from tests.lab.compare import recipe
from tests.lab.compare import schemes
from tests.lab.compare import table
from tests.lab.compare import traffic
from tests.lab import conversation
from tests.lab import errors
from tests.lab import image as images
from tests.lab import machine

_TOOLS = {'ip': 'makes networks', 'bridge': 'makes networks',
          'setpriv': 'ends what the lab has started'}
# Of what is no terminal: room for the tables.
_WIDTH = 118


def main() -> int:
    """The exit code: 0, 1 (a move failed), 2 (it cannot be run here) or 130
    (it was interrupted).
    """
    arguments = command.parser(
        'lab-compare', 'Live migrates emulated guests in four ways, again and '
        'again, and measures what their traffic notices.',
        [kind.name for kind in schemes.EVERY], rounds=5).parse_args()
    console = consoles.Console(
        width=None if sys.stdout.isatty() else _WIDTH)
    command.interrupt_when_ended()
    start = time.monotonic()

    def say(what: str) -> None:
        console.print(f'{time.monotonic() - start:6.0f} s  {what}',
                      markup=False, highlight=False)

    kinds = [kind for kind in schemes.EVERY
             if kind.name in arguments.schemes]
    try:
        _check(len(kinds))
        image = images.get(recipe.RECIPE, recipe.CACHE, say)
        rounds = comparison.run(image, kinds, arguments.rounds, say)
    except errors.LabError as error:
        console.print(str(error), markup=False)
        return 2
    except (AssertionError, OSError, traffic.NoTraffic,
            conversation.Refusal) as error:
        console.print(f'{type(error).__name__}: {error}', markup=False)
        return 1
    except KeyboardInterrupt:
        console.print('Interrupted; what was there is removed.')
        return 130
    _show(console, rounds, arguments)
    say('done')
    return 0


def _check(guests: int) -> None:
    """:raises errors.LabError: it cannot be run here, and why"""
    if os.geteuid():
        raise errors.LabError('Networks and images are made by root only.')
    missing = [f'{tool} ({use})' for tool, use in _TOOLS.items()
               if not shutil.which(tool)]
    if missing:
        raise errors.LabError('Missing: ' + ', '.join(missing))
    # One of them is on two hosts for a while.
    machine.check((guests + 1) * guest.MEGABYTES)


def _show(console: consoles.Console, rounds: comparison.Rounds,
          arguments: typing.Any) -> None:
    document = comparison.document(rounds)
    console.print(table.interruptions(rounds))
    console.print(table.traffic(document))
    console.print(table.quiet(rounds))
    console.print(f'A gap is longer than {gaps.THRESHOLD * 1000:.0f} ms.',
                  highlight=False)
    if arguments.json:
        with open(arguments.json, 'w') as target:
            json.dump(document, target, indent=2)
    if arguments.svg:
        picture.draw(arguments.svg, rounds)


if __name__ == '__main__':
    sys.exit(main())
