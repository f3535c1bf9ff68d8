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

"""The figures of guests with much memory."""

from collections.abc import Sequence
import dataclasses
import typing

from rich import table as tables

from tests.lab.compare import table as compare
from tests.lab.memory import trial as trials

#: of each trial, the steps of each round
Done = dict[trials.Trial, list[dict[str, trials.Step]]]

#: by the name of a figure, its heading
FIGURES = {'seconds': 'took', 'pinned': 'of that VFIO',
           'inwards': 'gap to the guest', 'outwards': 'gap from the guest',
           'idle': 'guest idle', 'stall': 'TCP stall',
           'after': 'gap after it'}


def make(step: str, done: Done) -> tables.Table:
    """A step of all trials."""
    table = compare.empty(f'{step}, ms', [
        'GiB', 'memory', 'standby', *FIGURES.values()])
    for its, rounds in done.items():
        table.add_row(
            str(its.gib), its.backing.name, its.standby.name,
            *(compare.spread(values(figure, step, rounds))
              for figure in FIGURES))
    return table


def document(done: Done) -> dict[str, typing.Any]:
    """All figures, in milliseconds, a value for each round."""
    return {'trials': [{
        'gib': its.gib, 'memory': its.backing.name,
        'standby': its.standby.name,
        'steps': {step: {f'{field.name}_ms' if field.name != 'seconds'
                         else 'ms': values(field.name, step, rounds)
                         for field in dataclasses.fields(trials.Step)}
                  for step in trials.STEPS}}
        for its, rounds in done.items()]}


def values(figure: str, step: str,
           rounds: Sequence[dict[str, trials.Step]]) -> list[float]:
    """One figure of one step, in milliseconds."""
    return [1000 * getattr(its[step], figure) for its in rounds]
