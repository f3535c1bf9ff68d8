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


"""The picture of a comparison."""

import typing

import matplotlib
from matplotlib import figure
from matplotlib import patches

from tests.lab.compare import comparison
from tests.lab.compare import gaps
from tests.lab.compare import table

_COLOURS = {'failover': '#4c78a8', 'copy': '#eeca3b', 'failback': '#54a24b'}
_GAP = '#e45756'
# Milliseconds, where the bars begin.
_LEAST = 10


def draw(path: str, rounds: comparison.Rounds,
         threshold: float = gaps.THRESHOLD) -> None:
    """Draw the median round of each scheme, and what it comes to.

    :param path: of the SVG file
    :param threshold: the shortest gap that was counted, in seconds
    """
    # Text stays text, so that it can be searched for and read aloud.
    matplotlib.rcParams['svg.fonttype'] = 'none'
    canvas = figure.Figure(figsize=(11, 1.3 * len(rounds) + 3),
                           layout='constrained')
    above, below = canvas.subplots(2, 1, height_ratios=[3, 2])
    _draw_timelines(above, rounds)
    _draw_bars(below, rounds, threshold)
    canvas.savefig(path, format='svg', metadata={'Date': None})


def _draw_timelines(axis: typing.Any, rounds: comparison.Rounds) -> None:
    for row, (name, done) in enumerate(rounds.items()):
        its = _median(done)
        for phase, (start, end) in its.phases.items():
            axis.barh(row, end - start, left=start - its.start, height=0.8,
                      color=_COLOURS[phase], alpha=0.3, linewidth=0)
        for way, offset in zip(its.ways, (-0.2, 0.2)):
            axis.broken_barh(
                [(gap.start - its.start, gap.end - gap.start)
                 for gap in way.gaps], (row + offset - 0.15, 0.3),
                facecolors=_GAP)
    axis.set_title('Gaps (red; above to the guest, below from it) in the '
                   'median round', loc='left')
    axis.set_xlabel('seconds since the move began')
    _name_rows(axis, rounds)
    axis.legend([patches.Patch(color=colour, alpha=0.3)
                 for colour in _COLOURS.values()], list(_COLOURS),
                loc='lower right', frameon=False, fontsize=8)


def _draw_bars(axis: typing.Any, rounds: comparison.Rounds,
               threshold: float) -> None:
    for row, done in enumerate(rounds.values()):
        for index, offset in enumerate((-0.2, 0.2)):
            spread = gaps.spread([its.interruptions()[index]
                                  for its in done])
            middle = spread['median']
            axis.barh(row + offset, middle, height=0.36, color=_GAP,
                      alpha=0.6, xerr=[[middle - spread['min']],
                                       [spread['max'] - middle]])
            axis.annotate(f' {middle:.0f}', (spread['max'], row + offset),
                          va='center', fontsize=8)
    axis.set_xscale('log')
    axis.set_xlim(left=_LEAST)
    axis.set_title(f'Sum of gaps above {threshold * 1000:.0f} ms: '
                   'median, least and most', loc='left')
    axis.set_xlabel('ms')
    _name_rows(axis, rounds)


def _name_rows(axis: typing.Any, rounds: comparison.Rounds) -> None:
    axis.set_yticks(range(len(rounds)),
                    [table.TITLES[name] for name in rounds])
    axis.invert_yaxis()


def _median(done: list[gaps.Round]) -> gaps.Round:
    """The round in the middle, by its interruption."""
    return sorted(done, key=lambda its: sum(its.interruptions()))[
        (len(done) - 1) // 2]
