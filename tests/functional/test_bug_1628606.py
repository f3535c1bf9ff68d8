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
"""Bug 1628606: a failure after the copy leaves a server with the wrong host.

The guest is on the destination already when Nova tidies up on the source, and
the server's host is written after that. What fails in between left a server
with a host where it was not.

The plugin tidies up there too, the device under a standby. What fails in that
is logged, and the source's periodic task finds the device.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import fixtures


class PostMigrationTestCase(base.OnePortTestCase):

    def test_device_of_the_standby_cannot_be_removed(self):
        standby = self.computes['alpha'].driver._standby
        with fixtures.MockPatchObject(
                standby, 'release', side_effect=OSError('not permitted')):
            self.migrate(self.server)
            self.assertPorts(self.server, 'beta')

        self.assertIn('cannot be removed', self.stdlog.logger.output)
        # The periodic task of the source finds it.
        self.assertWorld(self.server, 'beta')
