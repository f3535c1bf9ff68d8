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

"""The picture of the runs: packets over time, the steps marked."""

import itertools
import typing

import matplotlib
from matplotlib import figure

from tests.demo import measurement
from tests.demo import table

_COLOURS = ('#4c78a8', '#f58518', '#e45756', '#72b7b2', '#54a24b', '#eeca3b',
            '#b279a2', '#9d755d', '#bab0ac')


def draw(path: str, schemes: dict[str, dict[str, typing.Any]],
         details: dict[str, dict[str, typing.Any]], rate: float) -> None:
    """Draw all schemes below each other, on one axis of time.

    :param path: of the SVG file
    :param rate: packets a second that were sent in each direction
    """
    # Text stays text, so that it can be searched for and read aloud.
    matplotlib.rcParams['svg.fonttype'] = 'none'
    names = dict.fromkeys(step['name'] for scheme in schemes.values()
                          for step in scheme['steps'])
    colours = dict(zip(names, itertools.cycle(_COLOURS)))
    canvas = figure.Figure(figsize=(11, 2.9 * len(schemes)),
                           layout='constrained')
    axes = canvas.subplots(len(schemes), 1, sharex=True, squeeze=False)
    for axis, (name, scheme) in zip(axes[:, 0], schemes.items()):
        _draw_scheme(axis, name, scheme, details[name], rate, colours)
    axes[-1, 0].set_xlabel('seconds since "openstack server migrate"')
    canvas.savefig(path, format='svg', metadata={'Date': None})


def _draw_scheme(axis: typing.Any, name: str, scheme: dict[str, typing.Any],
                 details: dict[str, typing.Any], rate: float,
                 colours: dict[str, str]) -> None:
    worst = max(scheme[way]['interruption_ms'] for way in ('in', 'out'))
    axis.set_title(
        f'{table.TITLES[name]}: longest interruption {worst:.0f} ms, '
        f'{scheme["in"]["lost"]} + {scheme["out"]["lost"]} packets lost',
        loc='left')
    for step in scheme['steps']:
        axis.axvspan(step['start_s'], step['end_s'], alpha=0.25, linewidth=0,
                     color=colours[step['name']], label=step['name'])
    for way, label, style in (('in', 'towards the guest', '-'),
                              ('out', 'from the guest', '--')):
        bins = details['bins'][way]
        axis.step([start for start, _ in bins],
                  [count / measurement.BIN for _, count in bins],
                  where='post', color='black', linestyle=style,
                  linewidth=0.9, label=label)
    # While two NICs are up a NIC may deliver everything twice.
    axis.set_ylim(0, 2.2 * rate)
    axis.set_ylabel('packets/s received')
    axis.legend(loc='center left', bbox_to_anchor=(1.0, 0.5), fontsize=8,
                frameon=False)
