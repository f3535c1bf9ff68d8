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

"""The results as a table, for the screen and for the README."""

from collections.abc import Iterator
import pathlib
import typing

from rich import console
from rich import table

from tests.versions import suites

Document = dict[str, typing.Any]

BEGIN, END = '<!-- versions: begin -->', '<!-- versions: end -->'


class MarkersMissing(Exception):
    """The file has no place for the table."""


def rows(document: Document) -> list[list[str]]:
    """The headings, and a row of each release that was tried."""
    return [['Nova', 'release', 'Python', *(
        suite.heading for suite in suites.SUITES)]] + [
        _row(release, document[release])
        for release in sorted(document, key=int)]


def _row(release: str, result: Document) -> list[str]:
    row = [result['nova'] or release, result['release'], result['python']]
    reason = result['refused'] or result['not_installed']
    if reason:
        how = 'refused' if result['refused'] else 'not installed'
        return row + [f'{how}: {reason}'] + [''] * (len(suites.SUITES) - 1)
    return row + [_cell(result['suites'].get(suite.name))
                  for suite in suites.SUITES]


def _cell(outcome: Document | None) -> str:
    """How many passed, and what else there is to say."""
    if outcome is None:
        return 'not run'
    rest = [f'{outcome[kind]} {kind}' for kind in ('failed', 'skipped')
            if outcome[kind]]
    if outcome['failed'] and outcome['good']:
        rest[0] = f'{outcome["failed"]} fail without the plugin too'
    if outcome.get('second_try'):
        rest.append(f'{outcome["second_try"]} of them at a second try')
    if not outcome['good'] and not outcome['failed']:
        rest.append(f'exit code {outcome["exit_code"]}')
    return ', '.join([f'{outcome["passed"]} passed', *rest])


def good(document: Document) -> bool:
    """Whether each release is green or refused with a reason."""
    return all(result['refused'] or (
        len(result['suites']) == len(suites.SUITES)
        and all(outcome['good'] for outcome in result['suites'].values()))
        for result in document.values())


def show(screen: console.Console, document: Document) -> None:
    headings, *rest = rows(document)
    grid = table.Table(*headings)
    for row in rest:
        grid.add_row(*row)
    screen.print(grid)
    for result in document.values():
        for name, outcome in result['suites'].items():
            for failure in outcome['failures']:
                screen.print(f'Nova {result["nova"]}, {name}: {failure}',
                             markup=False, soft_wrap=True)


def write(document: Document, target: pathlib.Path) -> None:
    """Put the table between the markers of a file.

    :raises MarkersMissing: there is no place for it
    """
    text = target.read_text(encoding='utf-8')
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise MarkersMissing(f'{target} has no lines {BEGIN} and {END}.')
    target.write_text(f'{before}{BEGIN}\n{markdown(document)}{END}{after}',
                      encoding='utf-8')


def markdown(document: Document) -> str:
    headings, *rest = rows(document)
    grid = ''.join(
        f'| {" | ".join(row)} |\n'
        for row in [headings, ['---'] * len(headings), *rest])
    return f'{grid}\n{" ".join(_limits(document))}\n'


def _limits(document: Document) -> Iterator[str]:
    """With which constraints it was, in sentences."""
    for release in sorted(document, key=int):
        limits = document[release]['constraints']
        without = ', '.join(limits.get('contradicted', []))
        yield (f'Nova {release}: `{limits["reference"]}` of {limits["date"]}'
               + (f' without {without}, which it forbids' if without else '')
               + '.')
