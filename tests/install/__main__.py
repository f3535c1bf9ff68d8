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

"""Follow the installation page, as a new operator would.

Run with tox -e install [-- --nova 34]. The package, as it is committed, is
installed by the commands of the page into an environment that has nothing but
Nova; then the page is followed on the compute nodes of the demonstration,
while a server with a VF runs there.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import venv

from rich import console as consoles

from tests.install import page as pages
from tests.simulation.fabric import namespace

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / '.cache' / 'install'
# What stands on the page for what differs from operator to operator.
NOVA = '/opt/nova'
REPOSITORY = 'URL'
CLONE = 'nova-vf-failover'


# What "check" ends with where it has warned or something is missing; see
# oslo.upgradecheck.
WARNED, UNFIT = 1, 2


class StepFailed(Exception):
    """The message says which step.

    :ivar code: what it has ended with
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Operator:
    """Types commands, in a shell whose folder is kept.

    :param folder: where the shell begins
    :ivar nova: the environment of nova-compute
    """

    def __init__(self, folder: pathlib.Path, nova: pathlib.Path,
                 console: consoles.Console) -> None:
        self.nova = nova
        self._folder = folder
        self._console = console

    def type(self, commands: list[str]) -> None:
        """:raises StepFailed: one of them has failed"""
        words = {NOVA: str(self.nova), REPOSITORY: str(ROOT)}
        typed = []
        for command in commands:
            for word, meant in words.items():
                command = command.replace(word, meant)
            typed.append(command)
            self._console.print(f'# {command}', markup=False,
                                highlight=False)
        # How much pip says is a matter of taste.
        self.run('env', 'PIP_QUIET=1', 'bash', '-ec', '\n'.join(typed))

    def python(self, *arguments: str) -> None:
        """:raises StepFailed: it has failed"""
        self.run(str(self.nova / 'bin' / 'python'), *arguments)

    def pip(self, *arguments: str) -> None:
        """:raises StepFailed: it has failed"""
        self.python('-m', 'pip', 'install', '--quiet', *arguments)

    def run(self, *arguments: str) -> None:
        """:raises StepFailed: it has failed"""
        done = subprocess.run(arguments, cwd=self._folder, env={
            name: value for name, value in os.environ.items()
            if name not in ('PYTHONPATH', 'VIRTUAL_ENV')})
        if done.returncode:
            raise StepFailed(f'{" ".join(arguments)} has ended with '
                             f'{done.returncode}.', done.returncode)


def main() -> int:
    """The exit code: 0, 1 (a step failed) or 2 (it cannot be run here)."""
    parser = argparse.ArgumentParser(
        prog='tox -e install --', description='Follow the installation page '
        'on two compute nodes of the demonstration.')
    parser.add_argument('--nova', type=int, default=34, choices=range(29, 35),
                        help='the major version (default: %(default)s)')
    arguments = parser.parse_args()
    console = consoles.Console(width=None if sys.stdout.isatty() else 100)
    if os.geteuid():
        console.print('The nodes are network namespaces: run it as root.')
        return 2
    try:
        _follow(arguments.nova, console)
    except (StepFailed, pages.NotOnThePage) as error:
        console.print(str(error), markup=False)
        return 1
    finally:
        namespace.sweep()
    return 0


def _follow(version: int, console: consoles.Console) -> None:
    """:raises StepFailed: a step of the page has failed"""
    page = pages.Page(ROOT / 'doc' / 'source' / 'install.rst')
    shutil.rmtree(FOLDER, ignore_errors=True)
    nova = FOLDER / 'nova'
    operator = Operator(FOLDER, nova, console)
    with console.status(f'An environment with Nova {version} alone'):
        venv.create(nova, with_pip=True)
        # What a cloud has is tested with constraints by the test of versions.
        operator.pip(f'nova=={version}.*', 'SQLAlchemy<2.1')
    console.rule('1. The package')
    operator.type(page.commands('1. The package'))
    console.rule('2. Is this host fit?')
    console.print('This machine is no compute host, so libvirt, its device '
                  'driver and VFs are missing, and are to be named.')
    try:
        operator.type(page.commands('2. Is this host fit?'))
    except StepFailed as error:
        if error.code not in (WARNED, UNFIT):
            raise
        console.print(str(error), markup=False)
    console.rule('The agent')
    operator.type(page.commands('4. The agent, in images')[:1])
    _be_a_cloud(page, operator, console)


def _be_a_cloud(page: pages.Page, operator: Operator,
                console: consoles.Console) -> None:
    """Follow the steps that are taken on a cloud.

    :raises StepFailed: the server has not been moved as it should
    """
    with console.status('What the nodes are made of'):
        for listed in ('test-requirements.txt', 'demo-requirements.txt'):
            operator.pip('--requirement', str(FOLDER / CLONE / listed))
    # Beside the tests alone, so that the plugin is the installed one.
    nodes = FOLDER / 'nodes'
    nodes.mkdir()
    (nodes / 'tests').symlink_to(FOLDER / CLONE / 'tests')
    (nodes / 'page').write_text(json.dumps({
        'settings': page.settings('3. Enable it'),
        'commands': page.commands('5. Move a server')}))
    console.rule('3. Enable it, and 5. Move a server')
    log = FOLDER / 'nova.log'
    try:
        operator.run('env', f'--chdir={nodes}', f'NOVA_VF_FAILOVER_LOG={log}',
                     str(operator.nova / 'bin' / 'python'), '-m',
                     'tests.install.node', 'page')
    except StepFailed as error:
        raise StepFailed(f'{error} Its log: {log}', error.code) from error


if __name__ == '__main__':
    sys.exit(main())
