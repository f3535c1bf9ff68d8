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

"""What is to be done, and what came of it."""

import collections
import dataclasses
import typing


@dataclasses.dataclass(frozen=True)
class Share:
    """What one process does.

    :ivar steps: of a sequence, at most
    :ivar shrink: whether to look for a shorter one that violates the same
    """

    seed: int
    sequences: int
    steps: int
    shrink: bool = False

    @property
    def options(self) -> str:
        """Those of the command that does the same once more."""
        return (f'--jobs 1 --seed {self.seed} --sequences {self.sequences} '
                f'--steps {self.steps}')


def shares(seed: int, sequences: int, steps: int, shrink: bool,
           jobs: int) -> list[Share]:
    """As many as there are jobs, or sequences if these are fewer.

    :param seed: of the first one; the others have those that follow
    """
    jobs = min(jobs, sequences)
    return [Share(seed + number, (sequences + number) // jobs, steps, shrink)
            for number in range(jobs)]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a share.

    :ivar sequences: those that have come to their end
    :ivar violation: what was wrong and the sequence that led to it, or
        nothing
    """

    sequences: int
    violation: str = ''


@dataclasses.dataclass
class Results:
    """What came of all shares so far.

    :ivar steps: how often each was done
    :ivar violations: what was wrong, and how to see it once more
    """

    shares: list[Share]
    sequences: int = 0
    steps: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter)
    seconds: float = 0.0
    violations: list[str] = dataclasses.field(default_factory=list)

    def note(self, share: Share, outcome: Outcome) -> None:
        self.sequences += outcome.sequences
        if outcome.violation:
            self.violations.append(f'{share.options}\n{outcome.violation}')

    def document(self) -> dict[str, typing.Any]:
        """As JSON has it."""
        number = sum(self.steps.values())
        return {
            'seeds': [share.seed for share in self.shares],
            'sequences': self.sequences, 'steps': number,
            'by_step': dict(self.steps.most_common()),
            'seconds': self.seconds,
            'seconds_a_step': self.seconds / number if number else None,
            'violations': self.violations}
