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

from nova import exception as nova_exception
from nova import objects
from oslotest import base

from nova_vf_failover import workbench

SERVER = '7c1c6bb1-8d3f-4a0e-9f3e-0d3f6a3c1b11'


class OwnsTestCase(base.BaseTestCase):
    """Whose a port is of which Nova's cache does not know."""

    def owns(self, **shown):
        # What the operator has chosen is not asked for.
        bench = object.__new__(workbench.Workbench)
        bench._compute = mock.Mock(**{
            f'network_api.show_port.{key}': value
            for key, value in shown.items()})
        return bench.owns(None, objects.Instance(uuid=SERVER), 'port')

    def test_the_servers(self):
        self.assertTrue(self.owns(
            return_value={'port': {'device_id': SERVER}}))

    def test_another_servers_or_nobodys(self):
        for device in ('another', '', None):
            self.assertFalse(self.owns(
                return_value={'port': {'device_id': device}}))

    def test_one_that_is_deleted(self):
        self.assertFalse(self.owns(
            side_effect=nova_exception.PortNotFound(port_id='port')))
