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

"""``python -m tests.lab.sriov``: ways to migrate a server with a real VF."""

import contextlib
import json
import sys
import typing

from rich import console as consoles

from tests.lab import command
from tests.lab.compare import comparison
from tests.lab.compare import picture
from tests.lab.compare import recipe as compare
from tests.lab.compare import table
from tests.lab import image as images
from tests.lab.sriov import backings
from tests.lab.sriov import fabric
from tests.lab.sriov import host as hosts
from tests.lab.sriov import pair
from tests.lab.sriov import recipe
from tests.lab.sriov import schemes
from tests.simulation.fabric import namespace

_BACKINGS = {its.name: its for its in backings.EVERY if its.unprepared}


def main() -> int:
    """The exit code, see :func:`tests.lab.command.run`."""
    parser = command.parser(
        'lab-sriov', 'Live migrates guests with a VF between two nested hosts '
        'in four ways, and measures what their traffic notices.', rounds=1)
    command.add_choice(parser, '--schemes',
                       [kind.name for kind in schemes.EVERY])
    parser.add_argument('--vlan', type=int, default=0, metavar='ID',
                        choices=range(4095),
                        help='of the guests\' network; default: none')
    parser.add_argument('--backing', choices=list(_BACKINGS),
                        default='plain', help='of the guests\' memory; '
                        'default: %(default)s, which is there once a page is '
                        'touched')
    arguments = parser.parse_args()

    def work(console: consoles.Console, say: command.Say) -> None:
        pair.check()
        hosts.warn_if_busy(say)
        image = images.get(recipe.RECIPE, compare.CACHE, say)
        with contextlib.ExitStack() as stack:
            _run(stack, image, arguments, console, say)

    return command.run(work, [hosts.DeskError])


def _run(stack: contextlib.ExitStack, image: images.Image,
         arguments: typing.Any, console: consoles.Console,
         say: command.Say) -> None:
    namespace.sweep()
    net = stack.enter_context(fabric.Fabric(arguments.vlan))
    both = pair.start(stack, net, image, schemes.seed(), say)
    ready = [its for its in schemes.every(arguments.vlan)
             if its.name in arguments.schemes]
    for its in ready:
        say(f'Starting the guest of {its.name}')
        its.start(net, both, _BACKINGS[arguments.backing].xml)
    rounds: comparison.Rounds = {its.name: [] for its in ready}
    for number, its in comparison.turns(ready, arguments.rounds):
        say(f'Round {number} of {arguments.rounds}: {its.name}')
        done = its.run()
        for step, start, end in its.steps:
            say(f'    {step}: {end - start:.1f} s')
        say(f'{its.name}: {sum(done.interruptions()) / 2:.0f} ms')
        rounds[its.name].append(done)
        if all(rounds.values()):
            # A later round may fail, and this took long.
            _write(rounds, arguments)
    _show(console, rounds)


def _write(rounds: comparison.Rounds, arguments: typing.Any) -> None:
    whole = min(map(len, rounds.values()))
    counted = {name: done[:whole] for name, done in rounds.items()}
    if arguments.json:
        with open(arguments.json, 'w') as target:
            json.dump({**comparison.document(counted),
                       'threshold_ms': 1000 * schemes.THRESHOLD,
                       'interval_ms': 1000 * schemes.INTERVAL,
                       'vlan': arguments.vlan,
                       'backing': arguments.backing}, target, indent=2)
    if arguments.svg:
        picture.draw(arguments.svg, counted, schemes.THRESHOLD)


def _show(console: consoles.Console, rounds: comparison.Rounds) -> None:
    console.print(table.interruptions(rounds))
    console.print(table.traffic(comparison.document(rounds)))
    console.print(table.quiet(rounds, schemes.QUIET))
    console.print(f'A gap is longer than {schemes.THRESHOLD * 1000:.0f} ms.',
                  highlight=False)


if __name__ == '__main__':
    sys.exit(main())
