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

"""What is understood of a run, and what is made of it."""

import pathlib
import subprocess
import sys

import fixtures
from oslotest import base

from tests.versions import releases
from tests.versions import suites
from tests.versions import table

GOOD = ['{0} tests.a.Case.test_one [0.1s] ... ok',
        '{0} tests.a.Case.test_two("x y") [1.250000s] ... ok',
        '{0} tests.a.Case.test_three [0.1s] ... SKIPPED: no kernel',
        '    {0} is not a result ... ok',
        ' - Passed: 2', ' - Skipped: 1', ' - Failed: 0']
BAD = ['{0} tests.a.Case.test_one [0.1s] ... FAILED',
       '{0} tests.a.Case.test_two [0.1s] ... ok',
       ' - Passed: 1', ' - Skipped: 0', ' - Failed: 1']


def read(lines, exit_code=0, compared=False):
    outcome = suites.Outcome()
    reader = suites.Reader(outcome)
    for line in lines:
        reader.read(f'{line}\n')
    reader.end(exit_code, compared)
    return outcome


def result(**keywords):
    return {'nova': '33.0.2', 'release': '2026.1', 'python': '3.11.7',
            'refused': '', 'not_installed': '',
            'constraints': {'reference': 'stable/2026.1',
                            'date': '2026-08-12'},
            'suites': {suite.name: read(GOOD).document()
                       for suite in suites.SUITES}} | keywords


class ReaderTestCase(base.BaseTestCase):

    def test_good(self):
        outcome = read(GOOD)

        self.assertEqual((2, 0, 1), (
            outcome.passed, outcome.failed, outcome.skipped))
        self.assertTrue(outcome.good)

    def test_known_before_the_totals(self):
        self.assertEqual(2, read(GOOD[:4]).passed)

    def test_failure(self):
        outcome = read(BAD, exit_code=1)

        self.assertEqual(['tests.a.Case.test_one'], outcome.failures)
        self.assertFalse(outcome.good)

    def test_nothing_has_run(self):
        self.assertFalse(read([]).good)

    def test_what_fails_without_the_plugin_too(self):
        outcome = read([*BAD, *BAD, 'fails without it too: '
                        'tests.a.Case.test_one'], compared=True)

        self.assertEqual((1, 1, []), (
            outcome.passed, outcome.failed, outcome.failures))
        self.assertTrue(outcome.good)

    def test_what_fails_with_the_plugin_only(self):
        outcome = read([*BAD, *GOOD, 'ONLY HERE: tests.a.Case.test_one'],
                       exit_code=1, compared=True)

        self.assertEqual(['tests.a.Case.test_one'], outcome.failures)
        self.assertEqual(1, outcome.failed)


class Environment:
    """One in which a suite says what it is told to."""

    release = releases.RELEASES[0]

    def __init__(self, lines, exit_code):
        self.lines, self.exit_code = lines, exit_code

    def start(self, arguments, variables):
        self.arguments = arguments
        return subprocess.Popen(
            [sys.executable, '-c',
             f'print(*{self.lines!r}, sep="\\n"); exit({self.exit_code})'],
            stdout=subprocess.PIPE, text=True)


class SecondTryTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.log = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path, 'suite.log')
        self.outcome = read(BAD, exit_code=1)

    def try_again(self, lines, exit_code):
        where = Environment(lines, exit_code)
        suites.try_again(suites.SUITES[1], where, self.log, self.outcome)
        return where

    def test_passes(self):
        where = self.try_again(
            ['{0} tests.a.Case.test_one [0.1s] ... ok',
             ' - Passed: 1', ' - Skipped: 0', ' - Failed: 0'], 0)

        self.assertEqual(
            'tests.a.Case.test_one\n',
            pathlib.Path(where.arguments[-1]).read_text())
        self.assertTrue(self.outcome.good)
        self.assertEqual([], self.outcome.failures)
        self.assertIn(
            '2 passed, 1 of them at a second try',
            table.rows({'29': result(suites={
                'unit': self.outcome.document()})})[1])

    def test_fails_again(self):
        self.try_again(
            ['{0} tests.a.Case.test_one [0.1s] ... FAILED',
             ' - Passed: 0', ' - Skipped: 0', ' - Failed: 1'], 1)

        self.assertFalse(self.outcome.good)
        self.assertEqual(['tests.a.Case.test_one'], self.outcome.failures)
        self.assertEqual((1, 1, 0), (
            self.outcome.passed, self.outcome.failed,
            self.outcome.second_try))


class ThreadsTestCase(base.BaseTestCase):

    def test_of_each_suite(self):
        self.assertEqual(
            {'unit': ('true', 'true'), 'functional': ('false', 'true'),
             'nova': ('false', 'false')},
            {suite.name: tuple(
                suite.variables(nova)['OS_NOVA_DISABLE_EVENTLET_PATCHING']
                for nova in (33, 34)) for suite in suites.SUITES})


class TableTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.file = pathlib.Path(self.useFixture(
            fixtures.TempDir()).path, 'README.md')

    def test_between_the_markers(self):
        self.file.write_text(
            f'before\n{table.BEGIN}\nold\n{table.END}\nafter\n')

        table.write({'33': result()}, self.file)

        lines = self.file.read_text().splitlines()
        self.assertEqual(['before', table.BEGIN], lines[:2])
        self.assertEqual(
            '| 33.0.2 | 2026.1 | 3.11.7 | 2 passed, 1 skipped | 2 passed, '
            '1 skipped | 2 passed, 1 skipped |', lines[4])
        self.assertEqual(['', 'Nova 33: `stable/2026.1` of 2026-08-12.',
                          table.END, 'after'], lines[5:])

    def test_no_markers(self):
        self.file.write_text(f'{table.BEGIN}\n')

        self.assertRaises(table.MarkersMissing, table.write,
                          {'33': result()}, self.file)
        self.assertEqual(f'{table.BEGIN}\n', self.file.read_text())

    def test_green(self):
        self.assertTrue(table.good({'33': result()}))

    def test_refused_is_good_and_said(self):
        document = {'33': result(refused='has changed.', suites={})}

        self.assertTrue(table.good(document))
        self.assertIn('refused: has changed.', table.rows(document)[1])

    def test_not_installed_is_not_good(self):
        document = {'33': result(not_installed='No way.', suites={})}

        self.assertFalse(table.good(document))
        self.assertIn('not installed: No way.', table.rows(document)[1])

    def test_failure_is_not_good(self):
        document = {'33': result()}
        document['33']['suites']['unit'] = read(BAD, exit_code=1).document()

        self.assertFalse(table.good(document))
        self.assertIn('1 passed, 1 failed', table.rows(document)[1])

    def test_failure_that_is_not_the_plugins(self):
        document = {'33': result()}
        document['33']['suites']['nova'] = read(
            BAD, compared=True).document()

        self.assertTrue(table.good(document))
        self.assertIn('1 passed, 1 fail without the plugin too',
                      table.rows(document)[1])

    def test_suite_that_was_left_out_is_not_good(self):
        document = {'33': result()}
        del document['33']['suites']['nova']

        self.assertFalse(table.good(document))
        self.assertIn('not run', table.rows(document)[1])


class RequirementsTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.clone = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self._git('init', '--quiet', '--initial-branch', 'master')
        self.requirements = releases.Requirements(self.clone)

    def _git(self, *arguments):
        subprocess.run(
            ['git', '-c', 'user.name=a', '-c', 'user.email=a@example.org',
             '-C', str(self.clone), *arguments], check=True)

    def _commit(self, text):
        (self.clone / releases.UPPER_CONSTRAINTS).write_text(text)
        self._git('add', '.')
        self._git('commit', '--quiet', '--message', 'Pin')

    def test_branch_tag_and_master(self):
        self._commit('lxml===1\n')
        self._git('branch', 'unmaintained/2024.1')
        self._commit('lxml===2\n')
        self._git('tag', '2024.2-eol')
        self._commit('lxml===3\n')

        found = {nova: self.requirements.constraints(release)
                 for nova, release in ((29, releases.RELEASES[0]),
                                       (30, releases.RELEASES[1]),
                                       (34, releases.RELEASES[5]))}

        self.assertEqual(
            [('unmaintained/2024.1', 'lxml===1\n'),
             ('2024.2-eol', 'lxml===2\n'), ('master', 'lxml===3\n')],
            [(each.reference, each.text) for each in found.values()])
        self.assertEqual(3, len({each.commit for each in found.values()}))

    def test_too_old_for_a_release(self):
        limits = releases.Constraints('master', 'abc', '2026-08-22', (
            'keystoneauth1===5.15.0\nlxml===5.0\nOslo.Config===10.0\n'
            "zipp===3.0;python_version<'3.12'\n"))

        kept, left_out = limits.allowing([
            'keystoneauth1>=5.16.0', 'lxml>=4.5', 'oslo-config>=9', 'zipp<4',
            'uWSGI>=9; extra == "api"'])

        self.assertEqual(['keystoneauth1===5.15.0'], left_out)
        self.assertEqual(limits.text.partition('\n')[2], kept)

    def test_clone_of_a_repository_elsewhere(self):
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        address = self.clone.as_uri()
        texts = []
        for text in ('lxml===1\n', 'lxml===2\n'):
            self._commit(text)
            self._git('branch', '--force', 'stable/2026.1')
            texts.append(releases.Requirements.of(
                address, folder).constraints(releases.RELEASES[4]).text)

        self.assertEqual(['lxml===1\n', 'lxml===2\n'], texts)

    def test_clone_that_is_here_is_used_as_it_is(self):
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self._commit('lxml===1\n')

        found = releases.Requirements.of(str(self.clone), folder)

        self.assertEqual('lxml===1\n', found.constraints(
            releases.RELEASES[5]).text)
        self.assertEqual([], list(folder.iterdir()))

    def test_nothing_to_clone(self):
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

        error = self.assertRaises(
            releases.ConstraintsMissing, releases.Requirements.of,
            f'{folder.as_uri()}/nothing', folder)

        self.assertIn('--requirements', str(error))

    def test_missing(self):
        self._commit('lxml===1\n')

        error = self.assertRaises(
            releases.ConstraintsMissing, self.requirements.constraints,
            releases.RELEASES[4])

        self.assertIn('stable/2026.1', str(error))
        self.assertIn(str(self.clone), str(error))
