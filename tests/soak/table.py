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

"""What is printed of a run."""

import typing

from rich import console
from rich import table

_LIMITS = {'0': 'no limit'}


def show(screen: console.Console, document: dict[str, typing.Any]) -> None:
    """Print the table, and below it what is wrong."""
    grid = table.Table(title=(
        f'{document["servers"]} servers with {document["vfs"]} VFs each, '
        'alone and all at once'), title_justify='left')
    for heading in ('at a time from a host', 'added by the plugin', 'alone, s',
                    'at once, s', 'times'):
        grid.add_column(heading, justify=(
            'left' if heading.startswith('added') else 'right'))
    for limit, run in document['limits'].items():
        grid.add_section()
        rows = {'a move': run, "of it the processor's": run['work'],
                **run['steps']}
        for name, row in rows.items():
            grid.add_row(
                _LIMITS.get(limit, limit) if row is run else '', name,
                _shown(row['alone_s']), _shown(row['together_s']),
                f'{row["ratio"]:.2f}')
    screen.print(grid)
    screen.print('Median (least-most) of the time of both halves of a move, '
                 'without the two steps of the guest.')
    for limit, run in document['limits'].items():
        _show_rest(screen, _LIMITS.get(limit, f'limit {limit}'), run)


def _show_rest(screen: console.Console, name: str,
               run: dict[str, typing.Any]) -> None:
    arrived = run['all_arrived_s']
    screen.print(
        f'{name}: {run["together_s"]["n"]} moves, all arrived after '
        f'{_shown(arrived)} s, at most {run["at_once"]} leaving a host at '
        f'a time; {len(run["violations"])} violations; '
        f'{run["waits"]} waits for a guest, '
        f'{sum(each["times"] for each in run["locks_held"])} of them with '
        "a lock of Nova's.")
    for violation in run['violations']:
        screen.print(f'  {violation}', markup=False, soft_wrap=True)
    for each in run['locks_held']:
        screen.print(f'  {each["who"]} held {each["lock"]} '
                     f'{each["times"]} times', markup=False, soft_wrap=True)


def _shown(figures: dict[str, float]) -> str:
    return (f'{figures["median"]:.3f} ({figures["min"]:.3f}-'
            f'{figures["max"]:.3f})')
