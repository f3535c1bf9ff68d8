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


import nova.tests.functional  # noqa: F401 isort: skip

from unittest import mock

import fixtures
from oslotest import base

from nova_vf_failover import driver


class StopTestCase(base.BaseTestCase):
    """What of nova-compute's stop is ours comes before what is Nova's."""

    def setUp(self):
        super().setUp()
        self.cleanup = self.useFixture(fixtures.MockPatch(
            'nova.virt.libvirt.driver.LibvirtDriver.cleanup_host')).mock
        # What Nova's own makes is not asked for.
        self.driver = object.__new__(driver.FailoverLibvirtDriver)

    def test_before_the_start_has_come_to_its_end(self):
        self.driver.cleanup_host('here')

        self.cleanup.assert_called_once_with('here')

    def test_ours_fails(self):
        self.driver._recovery = mock.Mock(**{
            'stop.side_effect': RuntimeError('no')})

        self.assertRaises(RuntimeError, self.driver.cleanup_host, 'here')

        self.cleanup.assert_called_once_with('here')
