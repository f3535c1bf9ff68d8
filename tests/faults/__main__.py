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

"""Live migrations with every fault at every point: ``tox -e faults``.

And recovery, of two servers that a live migration has left unfinished.
"""

import argparse
import json
import os
import sys
import threading
import typing

from rich import console

from tests import bar
from tests.faults import campaign
from tests.faults import crew
from tests.faults import faults
from tests.faults import scenes
from tests.faults import table
from tests import interruption

# Of a run as of the end.
_WRITING = threading.Lock()


def main() -> int:
    # Nova's tests have it write into a log that nobody reads.
    sys.excepthook = sys.__excepthook__
    parser = _parser()
    arguments = parser.parse_args()
    earlier = _earlier(parser, arguments)
    screen = console.Console(
        width=None if sys.stdout.isatty() else 120)
    workers = crew.Crew(arguments.jobs)
    left = 0
    with bar.Bar(screen) as shown:
        task = shown.add_task('recording', total=None)

        def told(results: campaign.Results, what: str, done: int,
                 planned: int) -> None:
            shown.update(
                task, total=planned, completed=done, description=(
                    f'{what}, {len(results.violated)} with violations'))
            # A night's work is not to be lost with its last minute.
            if done % 5 == 0:
                _write(arguments.json, results.document())

        runs = campaign.Campaign(
            workers, arguments.vfs, map(scenes.Scene, arguments.scenes),
            arguments.only, map(faults.Fault, arguments.faults), told,
            arguments.reduced, earlier)
        interruption.raise_once()
        try:
            runs.run()
            # The error of a thread of the crew ends that thread alone.
            left = len(runs.plan()) - len(runs.results.unanswered)
        except KeyboardInterrupt:
            screen.print('Interrupted; this is what there is so far.')
        finally:
            workers.dismiss()
    results = runs.results
    document = results.document()
    table.show(screen, document)
    if left:
        screen.print(f'{left} of {left + document["runs"]} runs were not '
                     'made.')
    _write(arguments.json, document)
    bad = (document['violations'] or document['missed']
           or document['no_network'] or results.unanswered or left)
    return 1 if bad or not results.outcomes else 0


def _earlier(parser: argparse.ArgumentParser, arguments: argparse.Namespace,
             ) -> campaign.Results | None:
    """The results to go on with, if there are any."""
    if not arguments.resume:
        return None
    if not arguments.json:
        parser.error('--resume goes on with what --json FILE has: name one')
    if not os.path.exists(arguments.json):
        return None
    with open(arguments.json, encoding='utf-8') as file:
        try:
            return campaign.Results.of(json.load(file))
        except (ValueError, KeyError) as error:
            parser.error(f'{arguments.json} has no results of this command '
                         f'({error!r}); it was left as it is')


def _write(path: str | None, document: dict[str, typing.Any]) -> None:
    """The file is a whole one at any time: --resume needs it."""
    if not path:
        return
    there = os.path.realpath(path)
    # A pipe or a device is not to be replaced by a file.
    in_place = os.path.exists(there) and not os.path.isfile(there)
    beside = there if in_place else f'{there}.part'
    with _WRITING:
        with open(beside, 'w', encoding='utf-8') as file:
            json.dump(document, file, indent=1)
        if not in_place:
            os.replace(beside, there)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='tox -e faults --', description=__doc__)
    parser.add_argument(
        '--json', metavar='FILE', help='write the results there as well')
    parser.add_argument(
        '--resume', action='store_true', help='go on with the runs of the '
        'file of --json, which the same code has made, and write all there')
    parser.add_argument(
        '--reduced', action='store_true',
        help='one fault at some calls of the plugin: what the tests run')
    parser.add_argument(
        '--only', metavar='PATTERN', action='append', default=[],
        help='only points whose name is like that, e.g. "source:libvirt:*"; '
        'may be repeated')
    parser.add_argument(
        '--vfs', metavar='N', type=int, nargs='+', default=[1, 3],
        help='the numbers of VFs of the server (1 3)')
    names = [scene.value for scene in scenes.Scene]
    parser.add_argument(
        '--scenes', metavar='SCENE', nargs='+', default=names, choices=names,
        help='in what it goes wrong: a live migration, one between NICs that '
        'have to be steered, one of a guest that is told through metadata, '
        'or recovery of a server whose agent has failed or whose source has '
        f'died ({" ".join(names)})')
    kinds = [fault.value for fault in faults.Fault]
    parser.add_argument(
        '--faults', metavar='FAULT', nargs='+', default=kinds, choices=kinds,
        help=f'what goes wrong with a call ({" ".join(kinds)})')
    parser.add_argument(
        '--jobs', metavar='N', type=int, default=os.cpu_count() or 1,
        help='processes at the same time (one for each core)')
    return parser


if __name__ == '__main__':
    sys.exit(main())
