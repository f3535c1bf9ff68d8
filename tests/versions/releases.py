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

"""The releases of Nova, and what OpenStack has tested each of them with."""

from collections.abc import Iterable
import dataclasses
import pathlib
import subprocess

from packaging import requirements
from packaging import utils

UPPER_CONSTRAINTS = 'upper-constraints.txt'


#: where OpenStack's constraints are kept
UPSTREAM = 'https://opendev.org/openstack/requirements'


class ConstraintsMissing(Exception):
    """There are no constraints of a release; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Release:
    """A release of OpenStack.

    :ivar nova: the major version of Nova
    :ivar name: the year and its half
    """

    nova: int
    name: str

    @property
    def placement(self) -> int:
        """The major version of Placement that came with it."""
        return self.nova - 18

    def references(self) -> list[str]:
        """Where a clone of openstack/requirements may have it, best first.

        A stable branch becomes an unmaintained one, and in the end a tag;
        before it is made, master is what becomes of it.
        """
        names = [f'stable/{self.name}', f'unmaintained/{self.name}']
        return [f'{remote}{name}' for name in names
                for remote in ('', 'origin/')] + [
            f'{self.name}-eol'] + (
                ['origin/master', 'master'] if self is RELEASES[-1] else [])


RELEASES = tuple(Release(29 + number, name) for number, name in enumerate(
    ('2024.1', '2024.2', '2025.1', '2025.2', '2026.1', '2026.2')))


@dataclasses.dataclass(frozen=True)
class Constraints:
    """The upper constraints of a release.

    :ivar reference: the branch or the tag that they are from
    :ivar commit: the commit of openstack/requirements
    :ivar date: the day of that commit
    """

    reference: str
    commit: str
    date: str
    text: str

    def allowing(self, needed: Iterable[str]) -> tuple[str, list[str]]:
        """Leave out what is too old for what is needed.

        Those of master are so where its clone is older than a release.

        :param needed: requirements as in the metadata of a package
        :returns: the constraints that are left, and those that are not
        """
        wanted = {utils.canonicalize_name(each.name): each.specifier
                  for each in map(requirements.Requirement, needed)
                  if each.marker is None}
        kept, left_out = [], []
        for line in self.text.splitlines():
            name, _, version = line.partition(';')[0].partition('===')
            specifier = wanted.get(utils.canonicalize_name(name.strip()))
            forbidden = specifier is not None and not specifier.contains(
                version.strip(), prereleases=True)
            (left_out if forbidden else kept).append(line)
        return '\n'.join(kept) + '\n', left_out


class Requirements:
    """A clone of openstack/requirements, with or without a work tree."""

    def __init__(self, clone: pathlib.Path) -> None:
        self._clone = clone

    @classmethod
    def of(cls, source: str, folder: pathlib.Path) -> 'Requirements':
        """What is there already, or else a new clone.

        :param source: a clone, or the address of a repository
        :param folder: where a new clone is put, and brought up to date
        :raises ConstraintsMissing: there is no repository
        """
        if pathlib.Path(source).is_dir():
            return cls(pathlib.Path(source))
        clone = folder / 'requirements.git'
        # A mirror has every branch under its own name, and follows renames.
        what = ['-C', str(clone), 'remote', 'update', '--prune'] if (
            clone.exists()) else ['clone', '--mirror', source, str(clone)]
        done = subprocess.run(['git', *what], text=True,
                              stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE)
        if done.returncode:
            raise ConstraintsMissing(
                f'{source} cannot be cloned: {done.stderr.strip()} Give '
                '--requirements a clone of it that is here.')
        return cls(clone)

    def constraints(self, release: Release) -> Constraints:
        """:raises ConstraintsMissing: the clone does not have them"""
        for reference in release.references():
            shown = self._git('log', '-1', '--format=%H %cs', reference, '--')
            if shown:
                text = self._git('show', f'{reference}:{UPPER_CONSTRAINTS}')
                commit, date = shown.split()
                return Constraints(reference, commit, date, text)
        raise ConstraintsMissing(
            f'{self._clone} has none of {", ".join(release.references())}: '
            'fetch the branches and tags of openstack/requirements there.')

    def _git(self, *arguments: str) -> str:
        return subprocess.run(
            ['git', '-C', str(self._clone), *arguments], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
