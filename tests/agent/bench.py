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

"""Losses, times and memory of the one-file agent, on the real kernel.

Two hosts, their NICs and the guest are namespaces of this machine. The NICs
replicate, but for ``failover_exclusive``, where they deliver to the VF as
long as it has the MAC, and for ``steering``. Everything is measured from
outside of the agent but the times of its steps, which its reports give.
"""

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401 isort: skip

import argparse
import bisect
import functools
import json
import operator
import os
import statistics
import subprocess
import sys
import time
import typing

import fixtures
from rich import console
from rich import progress
from rich import table

from nova_vf_failover.guest import bundle
from nova_vf_failover.steering import base as steerings
from nova_vf_failover.steering import none
from nova_vf_failover.steering import placeholder
from nova_vf_failover.steering import refilter
from tests.agent import pythons
from tests.agent import stream
from tests.agent import watch
from tests.guest import base
from tests.simulation.fabric import host as hosts
from tests.simulation.fabric import nic as nics
from tests.simulation.fabric import traffic

# Seconds for which packets are watched after a step.
_REST = 0.3

# Seconds of a stream before and after a switch.
_AROUND = 0.6

_SIGNS = {'<': operator.lt, '<=': operator.le, '>=': operator.ge}

Figures = dict[str, typing.Any]


class Bench(base.Stage, fixtures.Fixture):
    """A guest with one port.

    :param mode: how the NICs deliver
    """

    PROGRAM = (sys.executable, os.path.abspath(pythons.FILE))

    def __init__(self, mode: str = nics.REPLICATING) -> None:
        self.MODE = mode

    def _setUp(self) -> None:
        self.set_stage()

    def attach(self) -> None:
        self.attach_standby('alpha', self.ports[0])

    def switch(self) -> Figures:
        """A failover of a guest whose standby is there."""
        return self.done(self.intent('standby'))

    def leave(self, steering: steerings.Steering) -> None:
        """The VF goes, as in :mod:`nova_vf_failover.failover`."""
        port, = self.ports
        vif = {'id': 'port', 'address': port.mac,
               'profile': {'pci_slot': '0000:81:00.1'}}
        steering.to_standby(vif, 'macvtap0')
        self.detach_vf('alpha', port, 1)
        steering.vf_left(vif, 'macvtap0')

    def back(self) -> None:
        self.detach_vf('alpha', self.ports[0], 1)
        self.come_back('alpha', {self.ports[0]: 1})


def measure_failover(switches: int, rate: float, shown: progress.Progress,
                     mode: str = nics.REPLICATING) -> Figures:
    """Losses and duplicates of failovers in a row, in each family.

    One family after the other: the ends of two sessions at once would take
    both processors of a small machine, which then loses by itself.
    """
    found = [_watch_switches(version, switches, rate, shown, mode)
             for version in (4, 6)]
    there, back = ([most for figures in found for most in figures[key]]
                   for key in ('duplicated', 'duplicated_in_failbacks'))
    return {
        'switches': switches, 'rate': rate,
        'sent_rate': min(figures['sent_rate'] for figures in found),
        'duplicated': max(there),
        'duplicated_ms': _summary(there, rate),
        'duplicated_in_failbacks_ms': _summary(back, rate),
        **{key: sum(figures[key] for figures in found)
           for key in ('lost_in', 'lost_out', 'lost_in_failbacks')}}


def _summary(packets: list[int], rate: float) -> Figures:
    """Milliseconds' worth of packets."""
    return {'median': statistics.median(packets) / rate * 1e3,
            'max': max(packets) / rate * 1e3}


def _watch_switches(version: int, switches: int, rate: float,
                    shown: progress.Progress, mode: str) -> Figures:
    failovers, failbacks = [], []
    with Bench(mode) as bench:
        session = bench.net.traffic(bench.ports[0], version, rate)
        for _ in shown.track(range(switches),
                             description=f'failover, {mode}, IPv{version}'):
            failovers.append(_span(bench.attach, bench.switch))
            failbacks.append(_span(bench.back))
        directions = session.stop()
    # Once a direction, for there are millions of packets.
    missing = list(map(_lost_at, directions))
    lost = [sum(_within(times, span) for span in failovers)
            for times in missing]
    return {
        'sent_rate': min(direction.sent / (
            direction.sent_at[-1] - direction.sent_at[0])
            for direction in directions),
        'lost_in': lost[0], 'lost_out': lost[1],
        'lost_in_failbacks': sum(map(len, missing)) - sum(lost),
        'duplicated': _most_duplicated(directions, failovers),
        'duplicated_in_failbacks': _most_duplicated(directions, failbacks)}


def _span(*acts: typing.Callable[[], typing.Any]) -> tuple[float, float]:
    """From the first act until all that it has set off is over."""
    start = time.monotonic()
    for act in acts:
        act()
    time.sleep(_REST)
    return start, time.monotonic()


def _most_duplicated(directions: typing.Sequence[traffic.Direction],
                     spans: list[tuple[float, float]]) -> list[int]:
    return [max(_duplicated(direction, span) for direction in directions)
            for span in spans]


def _lost_at(direction: traffic.Direction) -> list[float]:
    """When each lost packet was sent."""
    return [direction.sent_at[number] for number in direction.lost_numbers]


def _within(times: list[float], span: tuple[float, float]) -> int:
    return (bisect.bisect_left(times, span[1])
            - bisect.bisect_left(times, span[0]))


def _duplicated(direction: traffic.Direction,
                span: tuple[float, float]) -> int:
    first = bisect.bisect_left(direction.received, span[0],
                               key=lambda item: item[1])
    last = bisect.bisect_left(direction.received, span[1],
                              key=lambda item: item[1])
    its = [number for number, _ in direction.received[first:last]]
    return len(its) - len(set(its))


def measure_steering(switches: int, rate: float,
                     shown: progress.Progress) -> Figures:
    """Packets that are lost until the VF has gone, by how the host steers.

    The last two are on a NIC that refuses the standby as long as the VF is
    there.
    """
    return {
        'switches': switches, 'rate': rate,
        **{what: _lost_while_leaving(mode, driver, switches, rate, shown, what)
           for what, mode, driver in (
               ('none', nics.EXCLUSIVE, none.NoSteering),
               ('placeholder', nics.EXCLUSIVE,
                placeholder.PlaceholderSteering),
               ('refusing_none', nics.REFUSING, none.NoSteering),
               ('refusing_refilter', nics.REFUSING,
                refilter.RefilterSteering))}}


def _lost_while_leaving(
        mode: str, driver: type[steerings.Steering], switches: int,
        rate: float, shown: progress.Progress, what: str) -> Figures:
    spans = []
    with Bench(mode) as bench:
        port, = bench.ports
        steering = driver(hosts.FabricFunctions(bench.net.hosts['alpha']))
        session = bench.net.traffic(port, 4, rate)
        for _ in shown.track(range(switches),
                             description=f'steering, {what}'):
            spans.append(_span(bench.attach, bench.switch, functools.partial(
                bench.leave, steering)))
            bench.come_back('alpha', {port: 1})
        directions = session.stop()
    lost = [[_within(times, span) for span in spans]
            for times in map(_lost_at, directions)]
    return {'lost_in': sum(lost[0]), 'lost_out': sum(lost[1]),
            'lost_in_ms': _summary(lost[0], rate)}


def measure_tcp(switches: int, shown: progress.Progress) -> Figures:
    """A stream of 4 MB/s while the guest goes there and back."""
    moments = []
    with Bench() as bench:
        flow = stream.Stream(
            bench.guest.name, bench.net.peer.name,
            str(bench.ports[0].peers[0].ip), 4e6)
        for _ in shown.track(range(switches), description='TCP'):
            # The second around the switch has nothing else in it.
            bench.attach()
            time.sleep(_AROUND)
            bench.switch()
            moments.append(time.monotonic())
            time.sleep(_AROUND)
            bench.back()
        flow.stop()
    return {'tcp_reset': bool(flow.reset), 'tcp_dip': flow.dip(moments),
            'tcp_stall_ms': flow.stall(moments) * 1e3}


def measure_failback(times: int, shown: progress.Progress) -> Figures:
    """From the VF's netlink message to the last rule that has gone."""
    found = []
    with Bench() as bench:
        for _ in shown.track(range(times), description='failback'):
            bench.attach()
            bench.switch()
            bench.detach_vf('alpha', bench.ports[0], 1)
            watching = watch.Watch(bench.guest)
            bench.come_back('alpha', {bench.ports[0]: 1})
            found.append(watching.stop() * 1e3)
    return {'median': statistics.median(found), 'max': max(found), 'n': times}


def measure_routes(number: int, shown: progress.Progress) -> Figures:
    """A failover of a guest with that many routes over its VF."""
    task = shown.add_task(f'{number} routes', total=None)
    with Bench() as bench:
        batch = ''.join(
            f'route add 10.{n >> 16}.{n >> 8 & 255}.{n & 255}/32 via '
            f'192.168.1.1 dev eth0\n' for n in range(number))
        subprocess.run(bench.guest.command('ip', '-batch', '-'), input=batch,
                       text=True, check=True)
        bench.attach()
        steps = {step['name']: step['end'] - step['start']
                 for step in bench.switch()['ports'][0]['steps']}
        bench.back()
        figures = {'dress_s': steps['dress'],
                   'switch_ms': steps['switch'] * 1e3,
                   'rss_mb': bench.agent.memory()}
    shown.remove_task(task)
    return figures


def measure_start() -> Figures:
    """From the start of the process until it says that it is ready."""
    with Bench() as bench:
        found = []
        for _ in range(10):
            bench.agent.kill()
            start = time.monotonic()
            bench.agent.start()
            found.append(time.monotonic() - start)
    return {'start_s': statistics.median(found)}


def main() -> int:
    """The exit code: 0, or 1 where something is not as wanted."""
    parser = argparse.ArgumentParser(prog='tox -e agent-bench --')
    parser.add_argument('--json', metavar='FILE')
    parser.add_argument('--switches', type=int, default=100)
    parser.add_argument('--rate', type=float, default=10000,
                        help='packets a second, each way and family')
    arguments = parser.parse_args()
    size = bundle.write(pythons.FILE)
    screen = console.Console(width=100)
    with progress.Progress(console=screen) as shown:
        figures = {
            'failover': {
                **measure_failover(arguments.switches, arguments.rate, shown),
                **measure_tcp(max(1, arguments.switches // 5), shown)},
            'failover_exclusive': measure_failover(
                max(1, arguments.switches // 5), arguments.rate, shown,
                nics.EXCLUSIVE),
            'steering': measure_steering(
                max(1, arguments.switches // 5), arguments.rate, shown),
            'failback_ms': measure_failback(arguments.switches, shown),
            'routes_100k': measure_routes(100000, shown),
            'routes_10': {
                'rss_mb': measure_routes(10, shown)['rss_mb'],
                **measure_start()},
            'file_mb': size / 1e6}
    screen.print(_table(figures))
    if arguments.json:
        with open(arguments.json, 'w') as target:
            json.dump(figures, target, indent=1)
    missed = [path for path, value, _, wanted in rows(figures)
              if not is_as_wanted(value, wanted)]
    if missed:
        screen.print(f'Not as wanted: {", ".join(missed)}')
    return 1 if missed else 0


def is_as_wanted(value: typing.Any, wanted: str) -> bool:
    """:param wanted: as the table has it; nothing is asked if it is empty"""
    sign, _, bound = wanted.partition(' ')
    if bound:
        return bool(_SIGNS[sign](value, float(bound)))
    return not wanted or str(value) == wanted


def rows(figures: Figures) -> typing.Iterator[
        tuple[str, typing.Any, str, str]]:
    """The name of each figure, its value, its unit, and what is wanted."""
    # A hundredth of its pace is the sender's own to lose.
    pace = f'>= {0.99 * figures["failover"]["rate"]:.0f}'
    for path, unit, wanted in (
            ('failover.lost_in', 'packets', '0'),
            ('failover.lost_out', 'packets', '0'),
            ('failover.sent_rate', 'packets/s', pace),
            ('failover.duplicated_ms.median', 'ms', ''),
            ('failover.duplicated_ms.max', 'ms', '<= 20'),
            ('failover.lost_in_failbacks', 'packets', '0'),
            ('failover.duplicated_in_failbacks_ms.median', 'ms', ''),
            ('failover.duplicated_in_failbacks_ms.max', 'ms', ''),
            ('failover_exclusive.lost_in', 'packets', '0'),
            ('failover_exclusive.lost_out', 'packets', '0'),
            ('failover_exclusive.duplicated_ms.max', 'ms', '<= 20'),
            ('failover_exclusive.lost_in_failbacks', 'packets', ''),
            ('steering.none.lost_in', 'packets', ''),
            ('steering.none.lost_in_ms.max', 'ms', ''),
            ('steering.placeholder.lost_in', 'packets', '0'),
            ('steering.placeholder.lost_out', 'packets', '0'),
            ('steering.refusing_none.lost_in_ms.median', 'ms', ''),
            ('steering.refusing_refilter.lost_in_ms.median', 'ms', ''),
            ('failover.tcp_reset', '', 'False'),
            ('failover.tcp_dip', '', '< 0.05'),
            ('failover.tcp_stall_ms', 'ms', ''),
            ('failback_ms.median', 'ms', '<= 20'),
            ('failback_ms.max', 'ms', '<= 50'),
            ('routes_100k.dress_s', 's', '<= 5'),
            ('routes_100k.switch_ms', 'ms', '<= 5'),
            ('routes_100k.rss_mb', 'MB', '<= 120'),
            ('routes_10.rss_mb', 'MB', '<= 30'),
            ('routes_10.start_s', 's', '<= 0.5'),
            ('file_mb', 'MB', '<= 2')):
        value: typing.Any = figures
        for key in path.split('.'):
            value = value[key]
        yield path, value, unit, wanted


def _table(figures: Figures) -> table.Table:
    shown = table.Table('measured', 'value', 'wanted')
    for path, value, unit, wanted in rows(figures):
        text = f'{value:.3f}' if isinstance(value, float) else str(value)
        shown.add_row(path, f'{text} {unit}', wanted)
    return shown


if __name__ == '__main__':
    sys.exit(main())
