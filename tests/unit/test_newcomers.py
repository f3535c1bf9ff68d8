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

import threading
from unittest import mock

from nova.virt import event as virt_events
from oslotest import base

from nova_vf_failover import exception
from nova_vf_failover import journal
from nova_vf_failover import newcomers

MAC = 'fa:16:3e:00:00:01'


class NewcomersTestCase(base.BaseTestCase):
    """Two guests come, and something is the matter with the first."""

    def setUp(self):
        super().setUp()
        self.asked, self.told = threading.Event(), threading.Event()
        self.journal = journal.Journal(1).moved(
            'port', MAC, journal.State.ATTACHING)
        self.bench = mock.Mock(domain_by_uuid=self.domain)
        self.bench.standby.attached = lambda device: self.told.set()
        self.newcomers = newcomers.Newcomers(self.bench)

    def domain(self, server):
        if server == 'first':
            self.asked.set()
            raise exception.JournalError('It cannot be read.')
        return mock.Mock(**{'read_journal.return_value': self.journal})

    def hear(self, server):
        self.newcomers.hear(virt_events.LifecycleEvent(
            server, virt_events.EVENT_LIFECYCLE_STARTED))

    def test_a_journal_that_nobody_understands_keeps_no_other_one(self):
        self.hear('first')
        self.assertTrue(self.asked.wait(30))

        self.hear('second')

        self.assertTrue(self.told.wait(30))

    def test_a_host_without_a_thread_to_spare(self):
        with mock.patch.object(newcomers, 'threading', mock.Mock(**{
                'Thread.side_effect': RuntimeError("can't start")})):
            self.hear('second')

        self.hear('first')

        self.assertTrue(self.told.wait(30))
