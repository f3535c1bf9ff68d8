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
from tests.lab import errors
from tests.lab import image as images
from tests.lab import machine

_TOOLS = {'ip': 'makes networks', 'bridge': 'makes networks',
          'setpriv': 'ends what the lab has started'}


def main() -> int:
    """The exit code, see :func:`tests.lab.command.run`."""
    parser = command.parser(
        'lab-compare', 'Live migrates emulated guests in four ways, again and '
        'again, and measures what their traffic notices.', rounds=5)
    command.add_choice(parser, '--schemes',
                       [kind.name for kind in schemes.EVERY])
    arguments = parser.parse_args()
    kinds = [kind for kind in schemes.EVERY
             if kind.name in arguments.schemes]

    def work(console: consoles.Console, say: command.Say) -> None:
        _check(len(kinds))
        image = images.get(recipe.RECIPE, recipe.CACHE, say)
        versions = comparison.versions(image)
        last: list[tuple[comparison.Rounds, comparison.Document]] = []

        def told(rounds: comparison.Rounds,
                 discarded: comparison.Discarded) -> None:
            last[:] = [(rounds, {
                **comparison.document(rounds, discarded),
                'versions': versions})]
            _write(*last[0], arguments)

        comparison.run(image, kinds, arguments.rounds, say, told)
        _show(console, *last[0])

    return command.run(work)


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
          document: comparison.Document) -> None:
    console.print(table.interruptions(rounds))
    console.print(table.traffic(document))
    console.print(table.quiet(rounds, schemes.QUIET))
    console.print(f'A gap is longer than {gaps.THRESHOLD * 1000:.0f} ms.',
                  highlight=False)
    for name, figures in document['schemes'].items():
        if figures['discarded']:
            console.print(f'{name}: {figures["discarded"]} more do not count',
                          highlight=False)


def _write(rounds: comparison.Rounds, document: comparison.Document,
           arguments: typing.Any) -> None:
    if arguments.json:
        with open(arguments.json, 'w') as target:
            json.dump(document, target, indent=2)
    if arguments.svg:
        picture.draw(arguments.svg, rounds)


if __name__ == '__main__':
    sys.exit(main())
