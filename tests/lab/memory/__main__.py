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

"""``python -m tests.lab.memory``: what it costs to pin a guest's memory."""

import argparse
import contextlib
import json
import sys

from rich import console as consoles

from tests.lab import command
from tests.lab.compare import recipe as compare
from tests.lab import image as images
from tests.lab.memory import picture
from tests.lab.memory import pinning
from tests.lab.memory import plan
from tests.lab.memory import table
from tests.lab.memory import trial as trials
from tests.lab.sriov import fabric
from tests.lab.sriov import host as hosts
from tests.lab.sriov import recipe
from tests.lab.sriov import schemes
from tests.simulation.fabric import namespace

# One pins while the guest runs on the other one.
_PROCESSORS = 2
# The host's own memory is there before it is measured how it makes its
# guest's be there.
_OPTIONS = ('-mem-prealloc',)


def main() -> int:
    """The exit code, see :func:`tests.lab.command.run`."""
    arguments = plan.parser().parse_args()

    def work(console: consoles.Console, say: command.Say) -> None:
        plan.check(arguments.sizes)
        hosts.warn_if_busy(say)
        image = images.get(recipe.RECIPE, compare.CACHE, say)
        with contextlib.ExitStack() as stack:
            _run(stack, image, arguments, console, say)

    return command.run(work, [hosts.DeskError])


def _run(stack: contextlib.ExitStack, image: images.Image,
         arguments: argparse.Namespace, console: consoles.Console,
         say: command.Say) -> None:
    namespace.sweep()
    net = stack.enter_context(fabric.Fabric())
    name = fabric.HOSTS[0]
    megabytes = plan.megabytes(arguments.sizes)
    say(f'Booting a host with {megabytes} MiB')
    host = hosts.Host(name, net, image, hosts.seed(name, trials.seed()),
                      megabytes=megabytes,
                      processors=_PROCESSORS, more=_OPTIONS)
    stack.callback(host.close)
    host.await_ready()
    watch = pinning.Pinning(host)
    done: table.Done = {}
    for number in range(arguments.rounds):
        for its in plan.asked(arguments):
            say(f'Round {number + 1} of {arguments.rounds}: {its.title}')
            done.setdefault(its, []).append(its.run(net, host, watch))
            # A later one may fail, and this took long.
            _write(done, arguments)
    for step in trials.STEPS:
        console.print(table.make(step, done))
    console.print(f'A gap is longer than {schemes.THRESHOLD * 1000:.0f} ms.',
                  highlight=False)


def _write(done: table.Done, arguments: argparse.Namespace) -> None:
    if arguments.json:
        with open(arguments.json, 'w') as target:
            json.dump({**table.document(done),
                       'threshold_ms': 1000 * schemes.THRESHOLD,
                       'interval_ms': 1000 * schemes.INTERVAL},
                      target, indent=2)
    if arguments.svg:
        picture.draw(arguments.svg, done)


if __name__ == '__main__':
    sys.exit(main())
