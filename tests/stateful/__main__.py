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

"""Has servers live through whatever comes, and sees what must be true.

Run with tox -e stateful -- [--sequences 200] [--steps 30] [--seed N]
[--jobs N] [--shrink] [--json FILE].
"""

import argparse
import json
import os
import random
import sys

from rich import console

from tests import bar
from tests.stateful import jobs
from tests.stateful import results as outcomes
from tests.stateful import table


def main() -> int:
    """The exit code: 0, or 1 where something was violated."""
    arguments = _arguments()
    results = outcomes.Results(outcomes.shares(
        arguments.seed, arguments.sequences, arguments.steps,
        arguments.shrink, arguments.jobs))
    screen = console.Console(width=None if sys.stdout.isatty() else 100)
    with bar.Bar(screen) as shown:
        task = shown.add_task(
            'steps', total=arguments.sequences * arguments.steps)
        if jobs.run(results, jobs.live, lambda: shown.advance(task),
                    lambda outcome: table.show_violation(screen, outcome)):
            screen.print('Interrupted; this is what there is so far.')
    document = results.document()
    table.show(screen, document)
    if arguments.json:
        with open(arguments.json, 'w', encoding='utf-8') as target:
            json.dump(document, target, indent=1)
    return 1 if results.violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='tox -e stateful --', description=__doc__)
    parser.add_argument('--sequences', type=int, default=200, metavar='N')
    parser.add_argument('--steps', type=int, default=30, metavar='N',
                        help='in a sequence, at most (30)')
    parser.add_argument('--seed', type=int, metavar='N',
                        default=random.randrange(2 ** 32),
                        help='repeats a run; each process has one of its '
                        'own, from this one on')
    parser.add_argument('--jobs', type=int, default=os.cpu_count() or 1,
                        metavar='N', help=(
                            'processes that share the sequences (one for '
                            'each core)'))
    parser.add_argument('--shrink', action='store_true', help=(
        'look for a shorter sequence that violates the same (may take long)'))
    parser.add_argument('--json', metavar='FILE',
                        help='write the results there as well')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main())
