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

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401 isort: skip

from unittest import mock

import fixtures
from oslotest import base

from nova_vf_failover import modes


class ChosenTestCase(base.BaseTestCase):

    def test_what_an_image_says_forges_no_line(self):
        log = self.useFixture(fixtures.FakeLogger())
        instance = mock.Mock()
        instance.flavor.extra_specs = {}
        instance.system_metadata = {
            'image_vf_failover_mode': 'x\x1b[2J\nERROR nova'}

        self.assertIsNone(modes.chosen(instance))

        self.assertIn(r"'x\x1b[2J\nERROR nova'", log.output)
