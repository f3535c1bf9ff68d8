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

"""What a sequence of the stateful test consists of."""

from collections.abc import Callable
from collections.abc import Sequence
import functools
import random
import typing

from hypothesis import stateful
from hypothesis import strategies

from tests.stateful import model

#: a :class:`tests.stateful.machine.Life`
Life = typing.Any

# All that is left to chance in a step comes of one such number.
NUMBERS = strategies.integers(0, 2 ** 32 - 1)

#: what something can be done to at the moment: servers, or names of hosts
Subjects = Callable[[Life], Sequence[typing.Any]]
#: does it to one of them
Deed = Callable[[Life, typing.Any], None]

_deeds: list[tuple[Subjects, Deed]] = []


def rule(subjects: Subjects) -> Callable[[Deed], typing.Any]:
    """A rule for one of some subjects.

    If there is none something else is done, so that each step is one. A
    precondition would not do: Nova's threads and its scheduler decide what
    there is to choose from, and Hypothesis gives up on rules that differ when
    a sequence begins like one before (``FlakyStrategyDefinition``).
    """
    def decorated(deed: Deed) -> typing.Any:
        _deeds.append((subjects, deed))

        @stateful.rule(number=NUMBERS)
        @functools.wraps(deed)
        def of_one(life: Life, number: int) -> None:
            life.chance = random.Random(number)
            there, its = subjects(life), deed
            if not there:
                there, its = life.chance.choice(possible(life))
            its(life, life.chance.choice(there))

        return of_one

    return decorated


def possible(life: Life) -> list[tuple[Sequence[typing.Any], Deed]]:
    """What can be done at the moment, and to what."""
    return [(there, deed) for subjects, deed in _deeds
            if (there := subjects(life))]


# -- what a rule is for -------------------------------------------------------

def servers(fits: Callable[[Life, model.Server], bool] = (
        lambda life, server: True)) -> Subjects:
    return lambda life: [server for server in life.model.servers
                         if fits(life, server)]


def hosts_with_room(life: Life) -> list[str]:
    if len(life.model.servers) == model.MOST_SERVERS:
        return []
    return life.model.roomy(1)


def hosts_with_vfs_to_lose(life: Life) -> list[str]:
    return [host for host in model.HOSTS if life.model.free(host) > 0
            and life.model.vfs[host] > model.FEWEST_VFS]


def has_room_elsewhere(life: Life, server: model.Server) -> bool:
    return server.host is None or life.model.free(
        model.other(server.host)) >= len(server.ports)


def has_room_again(life: Life, server: model.Server) -> bool:
    return bool(life.model.roomy(len(server.ports)))


def takes_a_port(life: Life, server: model.Server) -> bool:
    return len(server.ports) < model.MOST_PORTS and (
        server.host is None or life.model.free(server.host) > 0)


def spares_a_port(life: Life, server: model.Server) -> bool:
    return len(server.ports) > 1


def has_vfs_to_lose_elsewhere(life: Life, server: model.Server) -> bool:
    return server.host is not None and life.model.vfs[
        model.other(server.host)] > model.FEWEST_VFS


def may_migrate(life: Life, server: model.Server) -> bool:
    return server.may('live migrate')


def runs(life: Life, server: model.Server) -> bool:
    return server.status == model.ACTIVE


def is_unwell(life: Life, server: model.Server) -> bool:
    return not server.well
