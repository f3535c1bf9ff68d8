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


"""The tables of a comparison."""

from collections.abc import Sequence
import dataclasses

from rich import table as tables

from tests.lab.compare import comparison
from tests.lab.compare import gaps

TITLES = {'virtio': 'virtio alone', 'vf_failover': 'nova_vf_failover',
          'net_failover': 'net_failover', 'native': 'plain Nova'}

# Headings of what is no number.
_NAMES = ('scheme', 'direction', 'memory', 'standby')


def interruptions(rounds: comparison.Rounds) -> tables.Table:
    """Each phase, in each direction."""
    table = empty('Sum of the gaps of a round: median (least-most), ms',
                  ['scheme', 'direction', *gaps.PHASES, 'all', 'guest idle'])
    for name, done in rounds.items():
        for index, way in enumerate(('to the guest', 'from the guest')):
            table.add_row(
                '' if index else TITLES[name], way,
                *(spread([its.interruptions(phase)[index] for its in done])
                  if phase in done[0].phases else ''
                  for phase in gaps.PHASES),
                spread([its.interruptions()[index] for its in done]),
                spread([1000 * its.outwards.idle for its in done])
                if index else '')
    return table


def traffic(document: comparison.Document) -> tables.Table:
    """What else happened, and the ratio to the floor."""
    table = empty('Median (least-most) of a round', [
        'scheme', 'times virtio alone', 'lost', 'twice', 'TCP stall, ms',
        'TCP segments again'])
    for name, figures in document['schemes'].items():
        ratio = figures.get('ratio_to_virtio')
        table.add_row(
            TITLES[name],
            '{median:.2f} ({min:.2f}-{max:.2f})'.format(**ratio)
            if ratio else '',
            *(spread(figures[key]) for key in (
                'lost', 'duplicated', 'tcp_stall_ms',
                'tcp_retransmissions')))
    without = comparison.without_ratio(document)
    if without:
        table.caption = (
            f'{without} of {document["rounds"]} rounds have no ratio: '
            f'{TITLES[comparison.FLOOR]} had no gap in them.')
    return table


def quiet(rounds: comparison.Rounds, seconds: float) -> tables.Table:
    """What the threshold is held against.

    :param seconds: for which nothing was done before a move
    """
    table = empty(
        f'Longest pause in the {seconds:.0f} seconds before a move, ms',
        ['scheme', 'to the guest', 'from the guest', 'TCP'])
    for name, done in rounds.items():
        table.add_row(TITLES[name], *(
            spread([1000 * pause for pause in pauses]) for pauses
            in zip(*(dataclasses.astuple(its.quiet) for its in done))))
    return table


def empty(title: str, headings: Sequence[str]) -> tables.Table:
    """A table without a row."""
    table = tables.Table(title=title, title_justify='left')
    for heading in headings:
        left = heading in _NAMES
        table.add_column(heading, justify='left' if left else 'right',
                         no_wrap=left)
    return table


def spread(values: Sequence[float]) -> str:
    """Median, least and most, or what there is if it is one."""
    if len(values) == 1:
        return f'{values[0]:.0f}'
    return '{median:.0f} ({min:.0f}-{max:.0f})'.format(
        **gaps.spread(values))
