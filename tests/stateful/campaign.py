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

"""Many sequences of steps, and what comes of them."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.stateful import machine  # isort: skip

from collections.abc import Callable
from collections.abc import Iterator
import sys
import traceback

import hypothesis
from hypothesis import errors
from hypothesis import stateful

from tests.stateful import results


def run(share: results.Share,
        told: Callable[[str], None]) -> results.Outcome:
    """Do a share, or what there is time for before an interrupt.

    :param told: called with the name of each step
    """
    done = 0
    steps: list[str] = []
    broken: list[str] = []

    class Life(machine.Life):

        def teardown(self) -> None:
            nonlocal done
            error = sys.exc_info()[1]
            try:
                super().teardown()
            except Exception as found:
                error = found
                raise
            finally:
                if isinstance(error, Exception):
                    broken.append(_last(steps, error))
                steps.clear()
            done += error is None

    def tell(step: str) -> None:
        steps.append(step)
        told(step)

    Life.told = staticmethod(tell)
    phases = [hypothesis.Phase.generate]
    if share.shrink:
        phases.append(hypothesis.Phase.shrink)
    try:
        stateful.run_state_machine_as_test(
            hypothesis.seed(share.seed)(Life), settings=hypothesis.settings(
                max_examples=share.sequences,
                stateful_step_count=share.steps,
                deadline=None, database=None, phases=phases,
                report_multiple_bugs=False,
                suppress_health_check=list(hypothesis.HealthCheck)))
    except KeyboardInterrupt:
        return results.Outcome(done)
    except Exception as error:
        # Whatever a step or the cloud has raised is what was looked for.
        said = list(_told(error))
        if isinstance(error, errors.HypothesisException):
            # It says no more than that this was not so the last time.
            said += broken
        return results.Outcome(done, '\n'.join(said))
    return results.Outcome(done)


def _last(steps: list[str], error: Exception) -> str:
    return '\n'.join([f'After {", ".join(steps) or "no step"}:',
                      *traceback.format_exception(error)])


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
