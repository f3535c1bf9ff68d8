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

"""``python -m tests.distributions``: the agent on real distributions.

For each release and network manager a guest is booted in a virtual machine,
moved, and started anew in the middle of moves.
"""

import argparse
from collections.abc import Iterator
import dataclasses
import json
import os
import shutil
import sys
import tempfile
import time
import typing

from rich import console as consoles
from rich import markup
from rich import table as tables

from tests.distributions import story
from tests.distributions import teller
from tests.distributions import variants
from tests import interruption
from tests.lab import errors
from tests.lab import image as images
from tests.lab import machine

CACHE = os.path.join('.cache', 'lab')
MEMORY = 768
TOOLS = {'dnsmasq': 'hands out leases', 'ip': 'makes networks',
         'bridge': 'makes networks', 'setpriv': 'ends what a test has started'}
# What is told of an image beside its release.
_SHOWN = ('linux-image-amd64', 'systemd', 'network-manager', 'ifupdown',
          'netplan.io', 'cloud-init', 'python3')

Result = dict[str, typing.Any]


def main() -> int:
    """The exit code: 0, 1 (a step went wrong), 2 (it cannot be run) or 130."""
    arguments = _arguments()
    interruption.raise_once()
    console = consoles.Console()
    results: list[Result] = []
    try:
        _check()
        for release in arguments.release:
            for result in _try_release(release, arguments, console):
                results.append(result)
                # A later one may fail, and this took long.
                _write(results, arguments)
    except errors.LabError as error:
        console.print(markup.escape(str(error)))
        return 2
    except KeyboardInterrupt:
        console.print('Interrupted; what was there is removed.')
        return 130
    finally:
        if results:
            console.print(_table(results))
    return 0 if all(result['ok'] for result in results) else 1


def _write(results: list[Result], arguments: argparse.Namespace) -> None:
    if arguments.json:
        with open(arguments.json, 'w') as target:
            json.dump({'results': results}, target, indent=2)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='.ci/tox -e distributions --',
        description='Moves guests of real distributions, in virtual machines '
                    'without KVM: some minutes each.')
    for name, choices in (('release', variants.RELEASES),
                          ('manager', variants.MANAGERS),
                          ('addressing', variants.ADDRESSINGS)):
        parser.add_argument(
            f'--{name}', nargs='+', choices=choices, default=list(choices),
            help='default: all of them')
    parser.add_argument(
        '--first', choices=story.FIRST, default=story.FIRST[0],
        help='the step after the boot; default: %(default)s')
    parser.add_argument(
        '--last', choices=list(story.STEPS), default=list(story.STEPS)[-1],
        help='default: %(default)s')
    parser.add_argument('--json', metavar='FILE',
                        help='write the figures there')
    return parser.parse_args()


def _check() -> None:
    """:raises errors.LabError: it cannot be run here, and why"""
    if os.geteuid():
        raise errors.LabError('Networks and images are made by root only.')
    missing = [f'{tool} ({use})' for tool, use in TOOLS.items()
               if not shutil.which(tool)]
    if missing:
        raise errors.LabError('Missing: ' + ', '.join(missing))
    machine.check(MEMORY)


def _try_release(release: str, arguments: argparse.Namespace,
                 console: consoles.Console) -> Iterator[Result]:
    image = images.get(variants.recipe(release), CACHE, console.print)
    versions = {name: image.versions[name] for name in _SHOWN
                if name in image.versions}
    console.print(f'{release}: ' + ', '.join(
        f'{name} {version}' for name, version in versions.items()),
        highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        program = story.write_program(folder)
        for manager in arguments.manager:
            for addressing in arguments.addressing:
                variant = variants.Variant(manager, addressing)
                log = os.path.join(
                    CACHE, f'{release}-{manager}-{addressing}.log')
                yield {'release': release, 'versions': versions,
                       **_try(image, variant, program, arguments, console,
                              log)}


def _try(image: images.Image, variant: variants.Variant, program: str,
         arguments: argparse.Namespace, console: consoles.Console,
         log: str) -> Result:
    """:param log: the file for what a guest says with which something went
        wrong
    """
    console.print(f'{variant.manager}, {variant.addressing}:')

    def tell(step: story.Step) -> None:
        console.print(
            f'  {step.name}: {step.seconds:.1f} s, lost {step.lost_v4} and '
            f'{step.lost_v6} {markup.escape(step.problem)}', highlight=False)
        if step.log:
            with open(log, 'w') as target:
                target.write(step.log)
            console.print(f'  What the guest says: {log}')

    start = time.monotonic()
    steps = []
    with teller.listening(image, variant, program, arguments.first,
                          arguments.last) as told:
        for step in told:
            tell(step)
            steps.append(step)
    return {
        'manager': variant.manager, 'addressing': variant.addressing,
        'ok': not any(step.problem for step in steps),
        'seconds': time.monotonic() - start,
        'steps': [dataclasses.asdict(step) for step in steps]}


def _table(results: list[Result]) -> tables.Table:
    table = tables.Table(title='Moves beside network managers',
                         title_justify='left')
    for heading in ('release', 'manager', 'addresses', 'steps ok', 'lost v4',
                    'lost v6', 's', 'went wrong'):
        table.add_column(heading, justify='right' if heading in (
            'steps ok', 'lost v4', 'lost v6', 's') else 'left')
    for result in results:
        steps = result['steps']
        wrong = [step for step in steps if step['problem']]
        table.add_row(
            result['release'], result['manager'], result['addressing'],
            str(len(steps) - len(wrong)),
            *(str(sum(step[key] for step in steps
                      if step['name'] in story.LOSSLESS))
              for key in ('lost_v4', 'lost_v6')),
            f'{result["seconds"]:.0f}',
            markup.escape('; '.join(
                f'{step["name"]}: {step["problem"].splitlines()[0]}'
                for step in wrong)))
    return table


if __name__ == '__main__':
    sys.exit(main())
