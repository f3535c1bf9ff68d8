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

"""Many sequences of steps, and what came out."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.stateful import machine  # isort: skip

import collections
from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import sys
import time
import typing

import hypothesis
from hypothesis import stateful


@dataclasses.dataclass
class Results:
    """What was done, and what was wrong.

    :ivar sequences: those that have come to their end
    :ivar steps: how often each was done
    :ivar violation: what was wrong and the sequence that led to it, or
        nothing
    """

    seed: int
    sequences: int = 0
    steps: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter)
    seconds: float = 0.0
    violation: str = ''

    def document(self) -> dict[str, typing.Any]:
        """As JSON has it."""
        number = sum(self.steps.values())
        return {
            'seed': self.seed, 'sequences': self.sequences, 'steps': number,
            'by_step': dict(self.steps.most_common()),
            'seconds': self.seconds,
            'seconds_a_step': self.seconds / number if number else None,
            'violation': self.violation}


def run(results: Results, sequences: int, steps: int, shrink: bool,
        told: Callable[[], None]) -> None:
    """Do so many sequences of so many steps at most.

    :param results: of its seed, to write into
    :param told: called after each step
    """

    class Life(machine.Life):

        def teardown(self) -> None:
            broken = sys.exc_info()[0] is not None
            super().teardown()
            results.sequences += not broken

        @staticmethod
        def told(step: str) -> None:
            results.steps[step] += 1
            told()

    phases = [hypothesis.Phase.generate]
    if shrink:
        phases.append(hypothesis.Phase.shrink)
    began = time.monotonic()
    try:
        stateful.run_state_machine_as_test(
            hypothesis.seed(results.seed)(Life), settings=hypothesis.settings(
                max_examples=sequences, stateful_step_count=steps,
                deadline=None, database=None, phases=phases,
                report_multiple_bugs=False,
                suppress_health_check=list(hypothesis.HealthCheck)))
    except Exception as error:
        # Whatever a step or the cloud has raised is what was looked for.
        results.violation = '\n'.join(_told(error))
    finally:
        results.seconds = time.monotonic() - began


def _told(error: BaseException) -> Iterator[str]:
    """What an error says, with the sequence that Hypothesis has noted.

    One that did not come once more when the sequence was repeated is within
    another one.
    """
    yield f'{type(error).__name__}: {error}'
    yield from getattr(error, '__notes__', [])
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _told(inner)
