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

"""A virtual environment with one release of Nova and this project."""

import os
import pathlib
import subprocess
import venv

from tests.versions import releases

# Of Nova's releases up to 31 the fixtures know native threads by no name, and
# those of 32 and 33 need eventlet all the same.
FIRST_NATIVE = 34

_FAULT = '''
from nova_vf_failover import prerequisites
print(prerequisites.nova_fault() or prerequisites.signature_fault() or '')
'''


class InstallationFailed(Exception):
    """The message is what pip said."""


class Environment:
    """The environment of a release.

    :param root: the project
    :param folder: where all the environments are
    :ivar contradicted: the constraints that this Nova forbids, and which were
        left out
    """

    def __init__(self, release: releases.Release, root: pathlib.Path,
                 folder: pathlib.Path) -> None:
        self.release = release
        self.root = root
        self._folder = folder / f'nova-{release.nova}'
        self._python = self._folder / 'bin' / 'python'
        self.contradicted: list[str] = []

    def install(self, constraints: releases.Constraints) -> None:
        """Make it, or bring it up to date.

        :raises InstallationFailed: pip has found no way
        """
        if not self._python.exists():
            venv.create(self._folder, with_pip=True)
        limits = self._folder / releases.UPPER_CONSTRAINTS
        nova = f'nova=={self.release.nova}.*'
        self._pip('--no-deps', nova)
        kept, self.contradicted = constraints.allowing(self._requirements())
        limits.write_text(kept)
        # pkg_resources, which some of what belongs to Nova 29 imports, is no
        # part of setuptools 82, and setuptools is not among the constraints.
        self._pip('--constraint', str(limits), 'setuptools<82',
                  '--requirement', 'requirements.txt',
                  '--requirement', 'test-requirements.txt',
                  nova,
                  f'openstack-placement=={self.release.placement}.*')
        self._pip('--no-deps', '--editable', '.')

    def _pip(self, *arguments: str) -> None:
        done = self.run(['-m', 'pip', 'install', '--quiet', *arguments])
        if done.returncode:
            raise InstallationFailed(done.stderr.strip())

    def _requirements(self) -> list[str]:
        """What the Nova in it needs, as it says itself."""
        return self.run(['-c', 'from importlib import metadata; print('
                         '*metadata.requires("nova"), sep="\\n")'
                         ]).stdout.splitlines()

    def version(self, package: str) -> str:
        """The version of a package that is installed."""
        return self.run(['-c', 'from importlib import metadata; print('
                         f'metadata.version({package!r}))']).stdout.strip()

    def fault(self) -> str:
        """Why the plugin refuses this Nova at start-up, or nothing.

        :raises RuntimeError: it could not be asked
        """
        done = self.run(['-c', _FAULT])
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def run(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        """Run its Python to the end."""
        return subprocess.run(
            [self._python, *arguments], cwd=self.root, text=True,
            env=self.variables(), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)

    def start(self, arguments: list[str],
              variables: dict[str, str]) -> subprocess.Popen[str]:
        """Start its Python; what it says comes in lines."""
        return subprocess.Popen(
            [self._python, *arguments], cwd=self.root, text=True,
            env=self.variables() | variables, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)

    def variables(self) -> dict[str, str]:
        """The environment variables of what is run in it."""
        path = f'{self._python.parent}{os.pathsep}{os.environ["PATH"]}'
        return {name: value for name, value in os.environ.items()
                if name not in ('PYTHONPATH', 'VIRTUAL_ENV')} | {
            'PATH': path, 'PYTHONWARNINGS': 'ignore',
            # Seconds after which a test that stands still has failed.
            'OS_TEST_TIMEOUT': '1800',
            # So that the log says which test it is.
            'PYTHONUNBUFFERED': '1',
            'OS_STDOUT_CAPTURE': '1', 'OS_STDERR_CAPTURE': '1'}
