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

"""The picture of guests with much memory."""

import statistics
import typing

import matplotlib
from matplotlib import figure

from tests.lab.memory import table
from tests.lab.sriov import schemes

_STEPS = ('attach', 'attach again')
#: figures of a step, each a bar
_BARS = {'pinned': ('#4c78a8', 'VFIO works'),
         'outwards': ('#e45756', 'longest gap from the guest')}
_HEIGHT = 0.36


def draw(path: str, done: table.Done) -> None:
    """Draw what both attaches took, and what the traffic noticed of them.

    :param path: of the SVG file
    """
    # Text stays text, so that it can be searched for and read aloud.
    matplotlib.rcParams['svg.fonttype'] = 'none'
    canvas = figure.Figure(figsize=(11, 0.4 * len(done) + 2),
                           layout='constrained')
    axes = canvas.subplots(1, 2, sharey=True)
    for axis, step in zip(axes, _STEPS):
        _draw_step(axis, step, done)
    canvas.legend(*axes[0].get_legend_handles_labels(), ncols=len(_BARS),
                  loc='outside lower center', frameon=False)
    canvas.savefig(path, format='svg', metadata={'Date': None})


def _draw_step(axis: typing.Any, step: str, done: table.Done) -> None:
    for index, (name, (colour, label)) in enumerate(_BARS.items()):
        axis.barh(
            [row + (index - 0.5) * _HEIGHT for row in range(len(done))],
            [statistics.median(table.values(name, step, rounds))
             for rounds in done.values()],
            height=_HEIGHT, color=colour, label=label)
    axis.set_title(f'{step} (a gap is longer than '
                   f'{schemes.THRESHOLD * 1000:.0f} ms)', loc='left')
    axis.set_xlabel('ms')
    # What is 0 is to be seen as such.
    axis.set_xscale('symlog', linthresh=10)
    axis.set_yticks(range(len(done)), [its.title for its in done])
    if not axis.yaxis_inverted():
        axis.invert_yaxis()
