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

"""The command: ``tox -e neutron``."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing

from rich import console as consoles
from rich import table as tables

from tests.demo import __main__ as demo
from tests.demo import table as demo_table
from tests.neutron import dialogue
from tests.neutron import server
from tests.neutron import verdict
from tests.simulation.fabric import namespace


class RunFailed(Exception):
    """A run has not come to its end; the message says why."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog='tox -e neutron --',
        description='Ask Neutron and the stand-in for it the same, and '
                    'live migrate a server with a VF on a cloud that '
                    'has Neutron.')
    parser.add_argument('--copy-seconds', metavar='S', default=3.0,
                        type=float, help='of the memory copy (default: 3)')
    parser.add_argument('--rate', metavar='N', default=1000.0, type=float,
                        help='packets a second in each direction '
                             '(default: 1000)')
    arguments = parser.parse_args()
    console = consoles.Console(width=None if sys.stdout.isatty() else 110)
    missing = server.missing_requirement()
    if missing:
        console.print(missing, markup=False)
        return 2
    try:
        alike = _compare(console)
        _migrate(console, arguments)
    except RunFailed as failure:
        console.print(str(failure), markup=False)
        return 1
    finally:
        namespace.sweep()
    console.print('Neutron: ' + (
        'the stand-in answers as it does, and both migrations have worked.'
        if alike else
        'both migrations have worked, but the stand-in is DIFFERENT.'))
    return 0 if alike else 1


def _compare(console: consoles.Console) -> bool:
    """Whether the stand-in answers as Neutron, as far as it is to."""
    held = run(console, 'tests.neutron.comparison')
    stand_in, neutron = ([dialogue.Answer(**answer) for answer in held[side]]
                         for side in ('stand-in', 'neutron'))
    table = tables.Table(title='What both were asked', title_justify='left')
    for heading in ('request', 'stand-in', 'Neutron', ''):
        table.add_column(heading)
    found, wrong = [], []
    for pair in zip(stand_in, neutron, strict=True):
        unlike = verdict.differences(*pair)
        reasons = list(dict.fromkeys(map(verdict.reason, unlike)))
        found += unlike
        wrong += [one for one in unlike if not verdict.reason(one)]
        table.add_row(pair[0].request, *(one.code for one in pair), (
            'alike' if not unlike else '; '.join(
                why or 'DIFFERENT' for why in reasons)))
    console.print(table)
    for one in wrong:
        console.print(f'Different: {one}', markup=False)
    outdated = verdict.outdated(found)
    for known in outdated:
        console.print(f'No longer different: {known.what}', markup=False)
    console.print(
        f'{len(stand_in)} requests, {len(wrong)} differences that are not '
        f'explained, {len(found) - len(wrong)} that are.')
    return not wrong and not outdated


def _migrate(console: consoles.Console,
             arguments: argparse.Namespace) -> None:
    """The demonstration's migrations on a cloud with Neutron.

    :raises RunFailed: one has not worked
    """
    results = {}
    for scheme in demo.SCHEMES:
        console.print(f'[bold]{demo_table.TITLES[scheme]}[/bold] with Neutron')
        results[scheme] = run(
            console, 'tests.neutron.cloud', scheme, '--copy-seconds',
            str(arguments.copy_seconds), '--rate', str(arguments.rate))
    demo_table.show(
        console,
        {name: result['document'] for name, result in results.items()},
        {name: result['details'] for name, result in results.items()})


def run(console: consoles.Console, module: str,
        *arguments: str) -> typing.Any:
    """Run a module of ours as a process, show what it says.

    :returns: what it has written into its result
    :raises RunFailed: it has failed
    """
    with tempfile.TemporaryDirectory() as folder:
        result, log = pathlib.Path(folder, 'result'), pathlib.Path(
            folder, 'log')
        with log.open('w') as errors:
            process = subprocess.Popen(
                [sys.executable, '-m', module, *arguments, str(result)],
                stdout=subprocess.PIPE, stderr=errors, text=True,
                env={**os.environ, 'NOVA_VF_FAILOVER_LOG': str(log)})
            try:
                for line in process.stdout:
                    console.print(line.strip(), markup=False, highlight=False)
                process.wait()
            finally:
                process.kill()
                process.wait()
        if process.returncode:
            raise RunFailed(_why(module, log))
        return json.loads(result.read_text())


def _why(module: str, log: pathlib.Path) -> str:
    lines = log.read_text().splitlines()
    with tempfile.NamedTemporaryFile(
            'w', prefix='vf-failover-neutron-', suffix='.log',
            delete=False) as kept:
        kept.write('\n'.join(lines))
    causes = [line for line in lines if 'Error' in line or 'Failed' in line]
    return (f'{module} has failed: {causes[-1] if causes else lines[-1:]}\n'
            f'Its whole log: {kept.name}')


if __name__ == '__main__':
    sys.exit(main())
