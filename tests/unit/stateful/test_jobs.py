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

import os
import signal
import threading
import time

import fixtures
from oslotest import base

from tests.stateful import jobs
from tests.stateful import results as outcomes


# The name of a pipe.
_MAY_END = 'TEST_JOBS_MAY_END'


def _two_steps(share, told):
    told('boot')
    told('abort')
    return outcomes.Outcome(share.sequences)


def _violation(share, told):
    told('boot')
    return outcomes.Outcome(1, f'of {share.seed}')


def _death(share, told):
    told('boot')
    os._exit(7)


def _endless(share, told):
    # As those of Nova's pools, which nobody ends.
    threading.Thread(target=threading.Event().wait).start()
    try:
        told('boot')
        while True:
            signal.pause()
    except KeyboardInterrupt:
        return outcomes.Outcome(3)


def _slow_end(share, told):
    try:
        told('boot')
        while True:
            time.sleep(0.1)
    except KeyboardInterrupt:
        told('end')
        with open(os.environ[_MAY_END]) as pipe:
            pipe.read(1)
        return outcomes.Outcome(3)


class SharesTestCase(base.BaseTestCase):

    def test_all_sequences_are_shared_out(self):
        shares = outcomes.shares(5, sequences=10, steps=30, shrink=False,
                                 jobs=3)

        self.assertEqual([3, 3, 4], [share.sequences for share in shares])
        self.assertEqual([5, 6, 7], [share.seed for share in shares])

    def test_nobody_has_nothing_to_do(self):
        shares = outcomes.shares(5, sequences=2, steps=30, shrink=False,
                                 jobs=8)

        self.assertEqual([1, 1], [share.sequences for share in shares])


class JobsTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.results = outcomes.Results(outcomes.shares(
            5, sequences=4, steps=2, shrink=False, jobs=2))
        self.told = []
        self.ended = []
        self.addCleanup(
            signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))

    def run_jobs(self, work):
        return jobs.run(self.results, work, lambda: self.told.append(1),
                        self.ended.append)

    def test_what_all_have_done_is_counted(self):
        self.assertFalse(self.run_jobs(_two_steps))

        self.assertEqual(4, self.results.sequences)
        self.assertEqual({'boot': 2, 'abort': 2}, self.results.steps)
        self.assertEqual(4, len(self.told))
        self.assertEqual([], self.results.violations)

    def test_what_is_wrong_is_told_with_the_options_to_see_it_again(self):
        self.run_jobs(_violation)

        self.assertCountEqual(
            [f'--jobs 1 --seed {seed} --sequences 2 --steps 2\nof {seed}'
             for seed in (5, 6)], self.results.violations)
        self.assertCountEqual(['of 5', 'of 6'], [
            outcome.violation for outcome in self.ended])

    def test_a_process_that_dies_is_told(self):
        self.run_jobs(_death)

        self.assertEqual({'boot': 2}, self.results.steps)
        for violation in self.results.violations:
            self.assertIn('ended by itself, with exit code 7', violation)
        self.assertEqual(2, len(self.results.violations))

    def test_an_interrupt_ends_all_and_loses_nothing(self):
        def interrupt():
            self.told.append(1)
            if len(self.told) == 2:
                os.kill(os.getpid(), signal.SIGTERM)
        before = signal.getsignal(signal.SIGTERM)

        self.assertTrue(jobs.run(
            self.results, _endless, interrupt, self.ended.append))

        self.assertEqual(6, self.results.sequences)
        self.assertEqual([], self.results.violations)
        self.assertIs(before, signal.getsignal(signal.SIGTERM))

    def test_a_second_interrupt_loses_nothing_either(self):
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'pipe')
        os.mkfifo(path)
        self.useFixture(fixtures.EnvironmentVariable(_MAY_END, path))
        pipe = os.open(path, os.O_RDWR)
        self.addCleanup(os.close, pipe)

        def interrupt():
            self.told.append(1)
            os.kill(os.getpid(), signal.SIGTERM)
            if len(self.told) == 2:
                os.write(pipe, b'1')
        results = outcomes.Results(outcomes.shares(
            5, sequences=4, steps=2, shrink=False, jobs=1))

        self.assertTrue(jobs.run(
            results, _slow_end, interrupt, self.ended.append))

        self.assertEqual(3, results.sequences)
        self.assertEqual(signal.SIG_IGN, signal.getsignal(signal.SIGINT))
