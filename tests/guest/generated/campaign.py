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

"""Many guests that hypothesis thinks of, one after the other."""

import collections
import subprocess

import hypothesis

from tests.guest.generated import settings
from tests.guest.generated import trial

#: the refusals that are documented, by words of their sentences
REFUSALS = (
    'A policy rule of priority 0 has to do with the NIC',
    'its way would lead past the standby',
    'has classes, which are not moved', 'htb, which is not moved',
    'which is not at its root')


class Campaign:
    """Counts what becomes of the guests.

    :ivar tried: guests, those that hypothesis tried while it shrank one too
    :ivar moved: those that were moved there and back
    :ivar lines: the settings in all, and how many the kernel did not take
    """

    def __init__(self):
        self._trial = None
        self.tried = 0
        self.moved = 0
        self.rebuilt = 0
        self.lines = [0, 0]
        self.refusals = collections.Counter()

    def close(self):
        if self._trial:
            self._trial.cleanUp()
            self._trial = None

    def run(self, examples, options, seed=None):
        """Try so many.

        :param options: for hypothesis
        :raises trial.Different: one that was not moved as it should have been
        """
        @hypothesis.settings(
            options, max_examples=examples, deadline=None, print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=list(hypothesis.HealthCheck))
        @hypothesis.given(settings.SETTINGS, settings.MOVED)
        def there_and_back(lines, moved):
            self.attempt(lines, moved)

        if seed is not None:
            there_and_back = hypothesis.seed(seed)(there_and_back)
        there_and_back()

    def attempt(self, lines, moved):
        """Try one.

        :raises trial.Different: it was not moved as it should have been
        """
        self.tried += 1
        guest = self._guest()
        try:
            outcome = guest.run(lines, moved)
        except BaseException:
            # Nobody knows what state it is in.
            self.close()
            raise
        self._count(lines, outcome)
        try:
            guest.set_back()
        except (AssertionError, LookupError, subprocess.SubprocessError):
            # What cannot be set back is built anew.
            self.rebuilt += 1
            self.close()

    def _guest(self):
        if self._trial is None:
            self._trial = trial.Trial()
            self._trial.setUp()
        return self._trial

    def _count(self, lines, outcome):
        self.lines[0] += len(lines)
        self.lines[1] += len(outcome.refused)
        if outcome.state == 'done':
            self.moved += 1
            return
        known = [words for words in REFUSALS if words in outcome.message]
        if not known:
            raise trial.Different(f'refused: {outcome.message}')
        self.refusals[known[0]] += 1
