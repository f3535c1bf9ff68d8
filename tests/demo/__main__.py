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

"""The command: runs both schemes and shows them side by side."""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import typing

from rich import console as consoles

from tests.demo import picture
from tests.demo import table
from tests.simulation.fabric import namespace

SCHEMES = ('native', 'vf_failover')


class RunFailed(Exception):
    """A run has not come to its end; the message says where it stopped."""


def main() -> int:
    arguments = _arguments()
    console = consoles.Console(width=None if sys.stdout.isatty() else 100)
    if os.geteuid():
        console.print('The demo makes network namespaces: run it as root.')
        return 2
    try:
        results = {scheme: _run(console, scheme, arguments)
                   for scheme in SCHEMES}
    except RunFailed as failure:
        console.print(str(failure), markup=False)
        return 1
    except KeyboardInterrupt:
        console.print('Interrupted; everything is cleaned up.')
        return 130
    finally:
        namespace.sweep()
    schemes = {name: result['document'] for name, result in results.items()}
    details = {name: result['details'] for name, result in results.items()}
    table.show(console, schemes, details)
    if arguments.json:
        with open(arguments.json, 'w') as file:
            json.dump({'schemes': schemes}, file, indent=2)
        console.print(f'Figures: {arguments.json}')
    if arguments.svg:
        picture.draw(arguments.svg, schemes, details, arguments.rate)
        console.print(f'Picture: {arguments.svg}')
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m tests.demo',
        description='Live migrate a server with a VF, on plain Nova and with '
                    'nova_vf_failover.')
    parser.add_argument('--json', metavar='FILE', type=_writable,
                        help='write the figures')
    parser.add_argument('--svg', metavar='FILE', type=_writable,
                        help='draw packets over time')
    parser.add_argument('--copy-seconds', metavar='S', default=3.0,
                        type=_between(0.0, 600.0),
                        help='of the memory copy (default: 3)')
    parser.add_argument('--rate', metavar='N', default=1000.0,
                        type=_between(1.0, 5000.0),
                        help='packets a second in each direction '
                             '(default: 1000)')
    return parser.parse_args()


def _between(least: float, most: float) -> typing.Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float('nan')
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f'{text} is no number from {least:g} to {most:g}')
        return value
    return number


def _writable(text: str) -> str:
    # Minutes later would be too late to find out.
    folder = pathlib.Path(text).absolute().parent
    if not os.access(folder, os.W_OK):
        raise argparse.ArgumentTypeError(f'cannot write into {folder}')
    return text


def _run(console: consoles.Console, scheme: str,
         arguments: argparse.Namespace) -> dict[str, typing.Any]:
    """One scheme in a process group of its own.

    :raises RunFailed: it has not come to its end
    """
    with tempfile.TemporaryDirectory() as folder:
        result = os.path.join(folder, 'result')
        log = os.path.join(folder, 'log')
        with open(log, 'a') as errors:
            process = subprocess.Popen(
                [sys.executable, '-m', 'tests.demo.cloud', scheme, result,
                 '--copy-seconds', str(arguments.copy_seconds),
                 '--rate', str(arguments.rate)],
                stdout=subprocess.PIPE, stderr=errors, text=True,
                env={**os.environ, 'NOVA_VF_FAILOVER_LOG': log},
                start_new_session=True)
            try:
                last = _follow(console, scheme, process)
            finally:
                _end(process)
        if process.returncode:
            raise RunFailed(_why(scheme, last, log, process.returncode))
        with open(result) as file:
            return json.load(file)


def _follow(console: consoles.Console, scheme: str,
            process: subprocess.Popen) -> str:
    """Show what a run says it does, and the last of it."""
    title, said = table.TITLES[scheme], 'Starting the cloud'
    with console.status(f'{title}: {said}'):
        for line in process.stdout:
            said = line.strip()
            console.print(f'[bold]{title}[/bold]: ', end='')
            console.print(said, markup=False, highlight=False)
        process.wait()
    return said


def _end(process: subprocess.Popen) -> None:
    """End whatever a run has left, such as the agent in its guest."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _why(scheme: str, last: str, log: str, code: int) -> str:
    with open(log) as file:
        lines = file.read().strip().splitlines()
    causes = [line for line in lines if 'Error' in line or 'Failed' in line]
    kept = tempfile.NamedTemporaryFile(
        'w', prefix=f'vf-failover-demo-{scheme}-', suffix='.log',
        delete=False)
    with kept:
        kept.write('\n'.join(lines))
    return (f'{table.TITLES[scheme]} stopped at "{last}": '
            f'{causes[-1].strip() if causes else f"it ended with {code}"}\n'
            f'Its whole log: {kept.name}')


if __name__ == '__main__':
    sys.exit(main())
