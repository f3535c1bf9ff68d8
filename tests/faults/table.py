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

"""The results of a campaign, as people read them."""

import typing

from rich import console
from rich import table

_COLUMNS = ('runs', 'primary', 'standby', 'undone', 'elsewhere', 'recovered',
            'nova', 'violations')


def show(screen: console.Console, document: dict[str, typing.Any]) -> None:
    """Print the table, and below it what is wrong."""
    screen.print(_grid('A live migration or recovery with one fault',
                       'calls', document['by_kind']))
    screen.print(_grid('The same by what went wrong', 'faults',
                       document['by_fault']))
    recovery = document['recovery_s']
    screen.print(
        f'{document["points"]} points, {document["faults"]} faults, '
        f'{document["runs"]} runs of {document["seconds_a_run"]} s: '
        f'{len(document["violations"])} with violations, '
        f'{document["no_network"]} without a network.')
    ended = document['ended']
    screen.print(
        f'Ended on the VF: {ended["primary"]}, on the standby: '
        f'{ended["standby"]}, undone: {ended["undone"]}.')
    if document['recovered']:
        screen.print(
            f'Back on the VF by recovery: {document["recovered"]}, after '
            f'{recovery["median"]} s (median), {recovery["max"]} s at most.')
    for title, runs in (('Violations', document['violations']),
                        ('As with plain Nova', document['nova'])):
        if runs:
            screen.print(f'[bold]{title}[/bold]')
        for run in runs:
            screen.print(f'  {run["run"]} ({run["ended"]})', markup=False,
                         soft_wrap=True)
            for violation in run['violations']:
                screen.print(f'    {violation}', markup=False,
                             soft_wrap=True)
    for name in ('missed', 'unanswered'):
        for run in document[name]:
            screen.print(f'{name}: {run}', markup=False, soft_wrap=True)


def _grid(title: str, first: str,
          rows: dict[str, dict[str, int]]) -> table.Table:
    grid = table.Table(title=title)
    grid.add_column(first)
    for name in _COLUMNS:
        grid.add_column(name, justify='right')
    for name, row in rows.items():
        grid.add_row(name, *(str(row.get(column, 0) or '')
                             for column in _COLUMNS))
    return grid
