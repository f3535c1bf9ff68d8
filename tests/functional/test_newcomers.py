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

"""Standbys whose guest has just come to their host."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import threading

import fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.virt.libvirt import driver as nova_driver


class NewcomersTestCase(base.FailoverTestCase):

    def setUp(self):
        super().setUp()
        self.start_hosts()
        self.server = self.boot(self.add_port('42'))

    def hear(self, *kinds):
        """Have beta hear these of libvirt's events, and no others.

        Nova acts on the end of a domain seconds after it has heard of it,
        when the test may be over.
        """
        host = self.computes['beta'].driver._host

        def told(connection, domain, event, detail, opaque):
            if event in kinds:
                host._event_lifecycle_callback(
                    connection, domain, event, detail, opaque)

        self.hosts.world.connections['beta'].domainEventRegisterAny(
            None, fakelibvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, told, host)

    def hears_groups(self):
        macvtaps = list(self.plane('beta').macvtaps.values())
        return macvtaps and all(macvtap.all_groups for macvtap in macvtaps)

    def test_before_the_copy(self):
        self.hear(fakelibvirt.VIR_DOMAIN_EVENT_STARTED)

        self.hold_the_copy(self.server)

        self.until(self.hears_groups)
        self.finish(self.server)
        self.assertWorld(self.server, 'beta')

    def test_before_the_source_is_done(self):
        self.hear(fakelibvirt.VIR_DOMAIN_EVENT_RESUMED)
        reached, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)
        clean_up = nova_driver.LibvirtDriver.post_live_migration

        def post_live_migration(*arguments, **keywords):
            reached.set()
            go_on.wait(60)
            clean_up(*arguments, **keywords)

        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.driver.LibvirtDriver.post_live_migration',
            post_live_migration))
        self._ask_for_migration(self.server)
        self.assertTrue(reached.wait(60))

        self.until(self.hears_groups)
        go_on.set()
        self.finish(self.server)
        self.assertWorld(self.server, 'beta')

    def test_looked_at_while_it_comes(self):
        """nova-compute has been started anew, and has missed the event."""
        self.hold_the_copy(self.server)

        self.recover('beta')

        self.assertTrue(self.hears_groups())
        self.finish(self.server)
        self.assertWorld(self.server, 'beta')

    def test_a_server_that_has_gone_again(self):
        self.hear(fakelibvirt.VIR_DOMAIN_EVENT_STARTED)
        self.hosts.world.connections['beta']._emit_lifecycle(
            self.domain('alpha', self.server),
            fakelibvirt.VIR_DOMAIN_EVENT_STARTED, 0)

        self.hold_the_copy(self.server)

        self.until(self.hears_groups)
        self.finish(self.server)
        self.assertNotIn('cannot be found out', self.stdlog.logger.output)
