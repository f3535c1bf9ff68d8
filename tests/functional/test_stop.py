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

"""nova-compute is stopped in the middle of a move, and comes to its end."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import ddt
import fixtures

from nova_vf_failover import swap


@ddt.ddt
class StopTestCase(base.TwoPortsTestCase):

    def stop(self, host, ahead):
        """Stop a host between the look before a step and that step."""
        look = swap.Swap.stop_if_cancelled
        driver = self.computes[host].driver

        def look_and_stop(swapped, step):
            look(swapped, step)
            if step == ahead:
                driver.cleanup_host(host)

        return fixtures.MonkeyPatch(
            'nova_vf_failover.swap.Swap.stop_if_cancelled', look_and_stop)

    def refuse_the_copy(self):
        """Nova's pools begin nothing any more (nova/thread_pool_factory.py).
        """
        def refuse(*arguments):
            raise RuntimeError('Shutdown has been started.')

        return fixtures.MonkeyPatch(
            'nova.virt.libvirt.driver.LibvirtDriver._live_migration', refuse)

    @ddt.data('check', 'standby attach', 'guest failover', 'vf detach',
              'the copy')
    def test_source(self, ahead):
        with self.stop('alpha', ahead), self.refuse_the_copy():
            self.migrate(self.server, 'cancelled')

        self.assertWorld(self.server, 'alpha')
        self.assertIn('nova-compute was stopped before "',
                      self.stdlog.logger.output)
        self.restart_host('alpha')
        self.migrate(self.server)
        self.assertWorld(self.server, 'beta')

    @ddt.data('the copy', 'vf attach', 'guest failback', 'standby detach')
    def test_destination(self, ahead):
        """It is the last one that could help the server."""
        with self.stop('beta', ahead):
            self.migrate(self.server)

        self.assertWorld(self.server, 'beta')
