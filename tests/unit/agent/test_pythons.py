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

"""What is told of the agent under a Python; no guest is moved."""

import contextlib
import io
import unittest

import fixtures
from oslotest import base

from tests.agent import pythons


class MainTestCase(base.BaseTestCase):

    # Where nobody looks for tests.
    class Moved(unittest.TestCase):
        """Stands in for a failover and a failback."""

        def test_well(self):
            pass

        def test_badly(self):
            self.fail('something was lost')

        def test_nothing(self):
            self.skipTest('this kernel has no macvtap')

    def run_as(self, user, *tests):
        """The exit code, and what it says."""
        for target, name, value in (
                (pythons, 'VERSIONS', ['3.11']),
                (pythons, 'find', lambda version: f'/bin/python{version}'),
                (pythons, 'suite', lambda interpreter: unittest.TestSuite(
                    map(self.Moved, tests))),
                (pythons.os, 'geteuid', lambda: user)):
            self.useFixture(fixtures.MockPatchObject(target, name, value))
        self.written = self.useFixture(fixtures.MockPatchObject(
            pythons.bundle, 'write', autospec=True)).mock
        with contextlib.redirect_stdout(io.StringIO()) as said:
            return pythons.main(), said.getvalue()

    def test_all_went_well(self):
        code, said = self.run_as(0, 'test_well')

        self.assertEqual(0, code)
        self.assertIn('nothing lost', said)

    def test_one_has_failed(self):
        code, said = self.run_as(0, 'test_well', 'test_badly')

        self.assertEqual(1, code)
        self.assertIn('something was lost', said)
        self.assertNotIn('nothing lost', said)

    def test_what_was_skipped_is_not_well(self):
        code, said = self.run_as(0, 'test_well', 'test_nothing')

        self.assertEqual(1, code)
        self.assertIn('this kernel has no macvtap', said)
        self.assertNotIn('nothing lost', said)

    def test_no_test_at_all_is_not_well(self):
        code, said = self.run_as(0)

        self.assertEqual(1, code)
        self.assertNotIn('nothing lost', said)

    def test_it_is_refused_to_others_than_root(self):
        code, said = self.run_as(1000, 'test_well')

        self.assertEqual(2, code)
        self.assertIn('root', said)
        self.assertEqual([], self.written.mock_calls)
