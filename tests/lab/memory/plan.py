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

"""What is to be measured, and whether it can be here."""

import argparse
import itertools

from tests.lab import command
from tests.lab import errors
from tests.lab.memory import trial as trials
from tests.lab.sriov import backings
from tests.lab.sriov import host as hosts

_SIZES = [1, 4, 8]
_BACKINGS = ['plain', 'prealloc', 'hugepages']
_STANDBYS = ['vhost', 'qemu']


def parser() -> argparse.ArgumentParser:
    """The options of the lab."""
    made = command.parser(
        'lab-memory', 'Attaches a VF to guests of several sizes on a nested '
        'host, and measures what the traffic on their standby notices while '
        'their memory is pinned.', rounds=1)
    made.add_argument('--sizes', nargs='+', type=command.positive,
                      default=_SIZES, metavar='GIB',
                      help=f'default: {" ".join(map(str, _SIZES))}')
    command.add_choice(made, '--backings',
                       [its.name for its in backings.EVERY], _BACKINGS)
    command.add_choice(made, '--standbys',
                       [its.name for its in trials.STANDBYS], _STANDBYS)
    return made


def megabytes(sizes: list[int]) -> int:
    """What the host needs for the largest of its guests."""
    return hosts.MEGABYTES + trials.GIB * max(sizes)


def check(sizes: list[int]) -> None:
    """:raises errors.LabError: it cannot be run here, and why"""
    try:
        hosts.check(megabytes(sizes))
    except errors.LabError as error:
        raise errors.LabError(
            f'{error} The largest guest of --sizes {max(sizes)} decides '
            'that.') from error


def asked(arguments: argparse.Namespace) -> list[trials.Trial]:
    """The trials of a round."""
    return [trials.Trial(gib, backing, standby)
            for gib, backing, standby in itertools.product(
                arguments.sizes, backings.EVERY, trials.STANDBYS)
            if backing.name in arguments.backings
            and standby.name in arguments.standbys]
