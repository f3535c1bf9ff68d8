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

"""Run the tests on every release of Nova, each in its own environment.

Run with tox -e versions -- [--requirements CLONE] [--nova 33] [--suite unit]
[--json FILE] [--readme README.md], where CLONE is one of
openstack/requirements: it has the upper constraints of each release.
"""

import argparse
import json
import pathlib
import platform
import subprocess
import sys

from rich import console
from rich import progress

from tests.versions import environment
from tests.versions import releases
from tests.versions import suites
from tests.versions import table

ROOT = pathlib.Path(__file__).parents[2]


def main() -> int:
    """The exit code: 0 if each release is green or refused with a reason."""
    arguments = _arguments()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    document = _known(arguments.json)
    screen = console.Console()
    try:
        requirements = releases.Requirements.of(
            arguments.requirements, arguments.folder)
        for release in reversed(releases.RELEASES):
            if not arguments.nova or release.nova in arguments.nova:
                _try(release, requirements, arguments, document, screen)
    except releases.ConstraintsMissing as error:
        print(error, file=sys.stderr)
        return 2
    table.show(screen, document)
    if arguments.readme:
        table.write(document, arguments.readme)
    return 0 if table.good(document) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='tox -e versions --')
    folder = ROOT / '.cache' / 'versions'
    parser.add_argument('--requirements', default=releases.UPSTREAM,
                        metavar='CLONE', help=(
                            'a clone of openstack/requirements, or where to '
                            'clone it from (%(default)s)'))
    parser.add_argument('--nova', type=int, action='append', choices=[
        release.nova for release in releases.RELEASES],
        help='only this major version; may be given more than once')
    parser.add_argument('--suite', action='append', choices=[
        suite.name for suite in suites.SUITES],
        help='only this suite; may be given more than once')
    parser.add_argument('--json', type=pathlib.Path,
                        default=folder / 'results.json',
                        help='the results; those of other runs are kept')
    parser.add_argument('--readme', type=pathlib.Path,
                        help='a file to put the table of all results into')
    parser.add_argument('--folder', type=pathlib.Path, default=folder,
                        help='where the environments and the logs are')
    return parser.parse_args()


def _known(target: pathlib.Path) -> table.Document:
    if not target.exists():
        return {}
    document: table.Document = json.loads(target.read_text(encoding='utf-8'))
    return document


def _try(release: releases.Release, requirements: releases.Requirements,
         arguments: argparse.Namespace, document: table.Document,
         screen: console.Console) -> None:
    """Try one release, and keep what came of it after every suite.

    :raises releases.ConstraintsMissing: of this release
    """
    result = _begin(release, requirements.constraints(release), arguments,
                    document, screen)
    _keep(document, arguments.json)
    if result['refused'] or result['not_installed']:
        return
    where = environment.Environment(release, ROOT, arguments.folder)
    for suite in suites.SUITES:
        if arguments.suite and suite.name not in arguments.suite:
            continue
        outcome = _run(suite, where, arguments, screen)
        result['suites'][suite.name] = outcome.document() | {
            'plugin': _commit()}
        _keep(document, arguments.json)


def _begin(release: releases.Release, constraints: releases.Constraints,
           arguments: argparse.Namespace, document: table.Document,
           screen: console.Console) -> table.Document:
    """Install a release, and ask the plugin whether it accepts it."""
    where = environment.Environment(release, ROOT, arguments.folder)
    before = document.get(str(release.nova), {})
    result: table.Document = {
        'release': release.name, 'nova': '', 'refused': '',
        'not_installed': '', 'python': platform.python_version(),
        'constraints': {'reference': constraints.reference,
                        'commit': constraints.commit,
                        'date': constraints.date},
        'suites': before.get('suites', {})}
    document[str(release.nova)] = result
    try:
        with screen.status(f'Installing Nova {release.nova} with the '
                           f'constraints of {constraints.reference}'):
            where.install(constraints)
    except environment.InstallationFailed as error:
        print(error, file=sys.stderr)
        result['not_installed'] = str(error).splitlines()[-1]
        return result
    result['constraints']['contradicted'] = where.contradicted
    result['nova'] = where.version('nova')
    result['refused'] = where.fault()
    return result


def _run(suite: suites.Suite, where: environment.Environment,
         arguments: argparse.Namespace,
         screen: console.Console) -> suites.Outcome:
    name = f'Nova {where.release.nova}, {suite.heading}'
    log = arguments.folder / f'nova-{where.release.nova}-{suite.name}.log'
    log.unlink(missing_ok=True)
    with progress.Progress(
            progress.SpinnerColumn(), progress.TimeElapsedColumn(),
            '{task.description}', console=screen) as shown:
        task = shown.add_task(name, total=None)
        outcome = suites.run(
            suite, where, log,
            lambda known: shown.update(task, description=(
                f'{name}: {known.passed} passed, {known.failed} failed')))
        if outcome.failures and not suite.compared:
            suites.try_again(suite, where, log, outcome)
    screen.print(f'{name}: {"good" if outcome.good else "NOT GOOD"} after '
                 f'{outcome.seconds:.0f} s')
    return outcome


def _commit() -> str:
    return subprocess.run(
        ['git', 'describe', '--always', '--dirty', '--abbrev=12'], cwd=ROOT,
        stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def _keep(document: table.Document, target: pathlib.Path) -> None:
    target.write_text(json.dumps(document, indent=1, sort_keys=True),
                      encoding='utf-8')


if __name__ == '__main__':
    sys.exit(main())
