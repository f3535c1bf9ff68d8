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

"""What is run on each release."""

from collections.abc import Callable
import dataclasses
import pathlib
import re
import time
import typing

from tests.versions import environment

_STESTR = ['-m', 'stestr', '--top-dir', '.', '--test-path']
_RESULT = re.compile(r'\{\d+\} (?P<test>\S+.*) \[[\d.]+s\] \.\.\. '
                     r'(?P<result>ok|FAILED|SKIPPED)')
_TOTAL = re.compile(r' - (?P<kind>Passed|Skipped|Failed): (?P<count>\d+)')
_ONLY_HERE = re.compile(r'ONLY HERE: (?P<test>.+)')
# Unit tests that are the same on each release.
_KNOWS_NO_NOVA = r'tests\.unit\.(demo|devstack|guest|lab|scenario|versions)'


@dataclasses.dataclass(frozen=True)
class Suite:
    """Tests that are run with one command.

    :ivar heading: what it is called in a table
    :ivar native: whether it wants native threads on every release
    :ivar eventlet: whether it wants eventlet on every release
    """

    name: str
    heading: str
    arguments: list[str]
    native: bool = False
    eventlet: bool = False

    @property
    def compared(self) -> bool:
        """Whether its failures are tried again without the plugin."""
        return self.name == 'nova'

    def variables(self, nova: int) -> dict[str, str]:
        """How Nova is told which threads there are."""
        native = self.native or (
            not self.eventlet and nova >= environment.FIRST_NATIVE)
        return {'OS_NOVA_DISABLE_EVENTLET_PATCHING': str(native).lower()}


SUITES = (
    Suite('unit', 'unit tests', [
        *_STESTR, './tests/unit', 'run', '--serial', '--exclude-regex',
        _KNOWS_NO_NOVA], native=True),
    Suite('functional', 'functional tests', [
        *_STESTR, './tests/functional', 'run', '--serial']),
    Suite('nova', "Nova's own SR-IOV and live migration tests",
          ['-m', 'tests.nova_functional', '--serial'], eventlet=True),
)


@dataclasses.dataclass
class Outcome:
    """What came of a suite.

    :ivar failures: the tests that failed, for Nova's own those that pass
        without the plugin
    :ivar second_try: how many have failed at first, and passed when they were
        run again without the others
    """

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    exit_code: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    second_try: int = 0

    @property
    def good(self) -> bool:
        return self.exit_code == 0 and self.passed > 0

    def document(self) -> dict[str, typing.Any]:
        return dataclasses.asdict(self) | {'good': self.good}


class Reader:
    """Understands what a suite says, line by line."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._failed: list[str] = []
        self._only_here: list[str] = []
        self._totals: set[str] = set()

    def read(self, line: str) -> None:
        result = _RESULT.match(line)
        if result and not self._totals:
            self._count(result['test'], result['result'])
        total = _TOTAL.match(line)
        # Nova's own tests may run a second time, without the plugin.
        if total and total['kind'] not in self._totals:
            self._totals.add(total['kind'])
            setattr(self._outcome, total['kind'].lower(),
                    int(total['count']))
        only_here = _ONLY_HERE.match(line)
        if only_here:
            self._only_here.append(only_here['test'])

    def _count(self, test: str, result: str) -> None:
        kind = {'ok': 'passed', 'FAILED': 'failed', 'SKIPPED': 'skipped'}
        setattr(self._outcome, kind[result],
                getattr(self._outcome, kind[result]) + 1)
        if result == 'FAILED':
            self._failed.append(test)

    def end(self, exit_code: int, compared: bool) -> None:
        """Nothing more comes."""
        self._outcome.exit_code = exit_code
        self._outcome.failures = (
            self._only_here if compared else self._failed)


def try_again(suite: Suite, where: environment.Environment,
              log: pathlib.Path, outcome: Outcome) -> None:
    """Run what has failed once more; a machine may have been too busy for it.

    :param outcome: of the first try; is told of the second
    """
    tests = log.with_suffix('.failed')
    tests.write_text('\n'.join(outcome.failures) + '\n')
    again = run(dataclasses.replace(suite, arguments=[
        *suite.arguments, '--load-list', str(tests)]), where, log,
        lambda known: None)
    outcome.passed += again.passed
    outcome.failed -= again.passed
    outcome.second_try = again.passed
    outcome.failures = again.failures
    outcome.exit_code = again.exit_code
    outcome.seconds += again.seconds


def run(suite: Suite, where: environment.Environment, log: pathlib.Path,
        tell: Callable[[Outcome], None]) -> Outcome:
    """Run a suite to its end.

    :param log: the file to whose end all of its output goes
    :param tell: is called with what is known after each line
    """
    began = time.monotonic()
    outcome = Outcome()
    reader = Reader(outcome)
    process = where.start(suite.arguments,
                          suite.variables(where.release.nova))
    assert process.stdout is not None
    with log.open('a', encoding='utf-8') as target:
        for line in process.stdout:
            target.write(line)
            reader.read(line)
            outcome.seconds = round(time.monotonic() - began, 1)
            tell(outcome)
    reader.end(process.wait(), compared=suite.compared)
    return outcome
