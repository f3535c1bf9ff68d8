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

"""Whatever a guest's owner has set up is moved, and is what it was."""

import os

import fixtures
import hypothesis
from oslotest import base

from tests.guest.generated import campaign
from tests.guest.generated import found

# Others are drawn by the nightly command, tox -e agent-property.
_EXAMPLES = 50


class PropertyTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        if os.geteuid():
            self.skipTest('network namespaces need root')

        self.useFixture(fixtures.FakeLogger())

    def test_what_was_wrong_once(self):
        tried = campaign.Campaign()
        self.addCleanup(tried.close)
        wrong = {}
        for what, lines in found.EXAMPLES.items():
            for moved in ([0], [0, 1, 2]):
                try:
                    tried.attempt(lines, moved)
                except AssertionError as error:
                    wrong[what] = str(error)

        self.assertEqual({}, wrong)

    def test_there_and_back(self):
        tried = campaign.Campaign()
        self.addCleanup(tried.close)
        # The same ones each time: a test that fails fails again.
        tried.run(_EXAMPLES, hypothesis.settings(
            database=None, derandomize=True))

        self.assertLessEqual(_EXAMPLES, tried.tried)
        self.assertLess(_EXAMPLES / 2, tried.moved)
