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

"""Moves many servers at once, and compares with moving one alone.

Run with tox -e soak -- [--servers 20] [--rounds 3] [--json FILE].
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.soak import cloud  # isort: skip

import argparse
from collections.abc import Callable
import json
import os
import sys
import time
import typing

from rich import console
from rich import progress

from tests import bar
from tests.soak import table
from tests.soak import timing

# What Nova does by itself (``max_concurrent_live_migrations``), and no limit.
LIMITS = (1, 0)


def main() -> int:
    """The exit code: 0, or 1 where a server was not as it must be."""
    # Nova's tests have it write into a log that nobody reads.
    sys.excepthook = sys.__excepthook__
    arguments = _arguments()
    screen = console.Console()
    began = time.monotonic()
    document: dict[str, typing.Any] = {
        'servers': arguments.servers, 'vfs': cloud.VFS,
        'rounds': arguments.rounds, 'limits': {
            str(limit): _soak(limit, arguments, screen)
            for limit in arguments.limits}}
    document['seconds'] = time.monotonic() - began
    table.show(screen, document)
    if arguments.json:
        with open(arguments.json, 'w', encoding='utf-8') as target:
            json.dump(document, target, indent=1)
    return 1 if any(
        run['violations'] or run['locks_held'] or run['at_once'] > (
            int(limit) or arguments.servers)
        for limit, run in document['limits'].items()) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='tox -e soak --', description=__doc__)
    parser.add_argument('--servers', type=int, default=20,
                        help='half of them on each host (20)')
    parser.add_argument('--rounds', type=int, default=3, help=(
        'of each: one server from each host alone, then all at once (3)'))
    parser.add_argument('--limits', type=int, nargs='+', default=LIMITS, help=(
        'migrations that leave a host at the same time; 0 for any number '
        '(1 0)'))
    parser.add_argument('--json', metavar='FILE',
                        help='write the figures there as well')
    arguments = parser.parse_args()
    if arguments.servers < 2:
        parser.error('--servers: at least 2, one on each host')
    return arguments


def _soak(limit: int, arguments: argparse.Namespace,
          screen: console.Console) -> dict[str, typing.Any]:
    alone: list[timing.Move] = []
    together: list[timing.Move] = []
    violations: list[str] = []
    seconds: list[float] = []
    its = cloud.SoakCloud.outside_of_a_test()
    try:
        with bar.Bar(screen) as shown:
            task = shown.add_task('booting', total=arguments.servers)
            its.prepare(arguments.servers, limit,
                        lambda _server: shown.advance(task))
            task = shown.add_task('moving', total=arguments.rounds * (
                arguments.servers + 2))
            for number in range(arguments.rounds):
                done = number * (arguments.servers + 2)
                for server in its.servers[2 * number:][:2]:
                    alone += its.move([server], lambda _: None)
                    done += 1
                    shown.update(task, completed=done)
                start = time.monotonic()
                together += its.move(
                    its.servers, _counting_from(done, shown, task))
                seconds.append(time.monotonic() - start)
                violations += map(str, its.look())
        return _document(its, alone, together, seconds, violations)
    finally:
        its.doCleanups()


def _counting_from(done: int, shown: progress.Progress,
                   task: progress.TaskID) -> Callable[[int], None]:
    return lambda arrived: shown.update(task, completed=done + arrived)


def _step(name: str) -> Callable[[timing.Move], float]:
    return lambda move: move.steps[name]


def _document(its: cloud.SoakCloud, alone: list[timing.Move],
              together: list[timing.Move], seconds: list[float],
              violations: list[str]) -> dict[str, typing.Any]:
    return {
        **_compared(alone, together, lambda move: move.added),
        'work': _compared(alone, together, lambda move: move.work),
        'steps': {name: _compared(
            alone, together, _step(name))
            for name in alone[0].steps},
        'all_arrived_s': timing.figures(seconds),
        'violations': violations,
        'at_once': max(its.departures.most.values()),
        'waits': its.locks.waits,
        'locks_held': [
            {'lock': lock, 'who': who, 'times': times}
            for (lock, who), times in its.locks.held.items()]}


def _compared(alone: list[timing.Move], together: list[timing.Move],
              of: Callable[[timing.Move], float]) -> dict[str, typing.Any]:
    one, many = (timing.figures(map(of, moves))
                 for moves in (alone, together))
    return {'alone_s': one, 'together_s': many,
            'ratio': many['median'] / one['median']}


if __name__ == '__main__':
    code = main()
    sys.stdout.flush()
    # The threads of Nova's pools would hold the process up.
    os._exit(code)
