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

"""The runs side by side, for a terminal."""

import datetime
import typing

from rich import console as consoles
from rich import table as tables

TITLES = {'native': 'plain Nova', 'vf_failover': 'nova_vf_failover'}

Schemes = dict[str, dict[str, typing.Any]]


def show(console: consoles.Console, schemes: Schemes,
         details: Schemes) -> None:
    """Print the timelines, what happened to the packets and what it cost."""
    for name, scheme in schemes.items():
        console.print(_timeline(name, scheme))
    console.print(_packets(schemes, details))
    if 'vf_failover' in details:
        console.print(_events(details['vf_failover']))


def _timeline(name: str, scheme: dict[str, typing.Any]) -> tables.Table:
    table = tables.Table(title=f'Timeline: {TITLES[name]}',
                         title_justify='left')
    for heading in ('step', 'from s', 'to s', 'ms', 'lost in', 'lost out'):
        table.add_column(heading, justify='left' if heading == 'step'
                         else 'right')
    for step in scheme['steps']:
        table.add_row(
            step['name'], f'{step["start_s"]:.3f}', f'{step["end_s"]:.3f}',
            f'{(step["end_s"] - step["start_s"]) * 1000:.0f}',
            *(str(scheme[way]['lost_by_step'][step['name']])
              for way in ('in', 'out')))
    table.add_row('between steps', '', '', '', *(
        str(scheme[way]['lost_by_step'].get('between steps', 0))
        for way in ('in', 'out')))
    return table


def _packets(schemes: Schemes, details: Schemes) -> tables.Table:
    table = tables.Table(title='One live migration', title_justify='left')
    table.add_column('')
    for name in schemes:
        table.add_column(TITLES[name], justify='right')

    def row(label: str, value: typing.Callable[[str], str]) -> None:
        table.add_row(label, *map(value, schemes))

    for way, whither in (('in', 'towards the guest'),
                         ('out', 'from the guest')):
        row(f'packets sent {whither}',
            lambda name: str(schemes[name][way]['sent']))
        row(f'packets lost {whither}',
            lambda name: str(schemes[name][way]['lost']))
        row(f'interruption {whither}, ms',
            lambda name: f'{schemes[name][way]["interruption_ms"]:.1f}')
        row('  longest pause of the sender, ms',
            lambda name: f'{details[name]["sender_pause_ms"][way]:.1f}')
        row('  packets that came twice',
            lambda name: str(details[name]['duplicated'][way]))
    row('the command took, s',
        lambda name: f'{details[name]["duration_s"]:.1f}')
    for kind, label in (('rpc', 'RPC calls of Nova'),
                        ('neutron', 'Neutron API calls'),
                        ('db', 'database writes of Nova')):
        row(label, lambda name: str(schemes[name]['calls'][kind]))
    return table


def _events(details: dict[str, typing.Any]) -> tables.Table:
    table = tables.Table(title='openstack server event show',
                         title_justify='left')
    for heading in ('event', 'result', 'ms'):
        table.add_column(heading,
                         justify='right' if heading == 'ms' else 'left')
    for event in sorted(details['events'],
                        key=lambda event: event['start_time']):
        start, end = (datetime.datetime.fromisoformat(event[key])
                      for key in ('start_time', 'finish_time'))
        table.add_row(event['event'], event['result'],
                      f'{(end - start).total_seconds() * 1000:.0f}')
    return table
