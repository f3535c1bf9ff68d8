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

"""The results of many sequences, as a table."""

import typing

from rich import console
from rich import table

from tests.stateful import results


def show(screen: console.Console, document: dict[str, typing.Any]) -> None:
    """Print how often each step was done, and what was violated."""
    shown = table.Table(title='Steps after which all was as it must be')
    shown.add_column('step')
    shown.add_column('times', justify='right')
    for step, number in document['by_step'].items():
        shown.add_row(step, str(number))
    screen.print(shown)
    a_step = document['seconds_a_step']
    screen.print(
        f'seeds {", ".join(map(str, document["seeds"]))}: '
        f'{document["sequences"]} sequences, {document["steps"]} steps in '
        f'{document["seconds"]:.0f} s'
        + (f', {a_step:.2f} s each' if a_step else ''), highlight=False)
    for violation in document['violations'] or ['No violation.']:
        screen.print(violation, markup=False, highlight=False)


def show_violation(screen: console.Console,
                   outcome: results.Outcome) -> None:
    """Print what has ended a share, if it was that."""
    if outcome.violation:
        screen.print(outcome.violation, markup=False, highlight=False)
