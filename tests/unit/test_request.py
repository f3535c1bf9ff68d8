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

import subprocess
import sys

from lxml import etree

from nova_vf_failover import journal
from nova_vf_failover import request
from tests.unit.simulation import contract
from tests.unit.simulation import test_hypervisor


class RequestTestCase(test_hypervisor.HypervisorTestCase):

    def setUp(self):
        super().setUp()
        self.domain = self.define(contract.domain())
        self.domain.createWithFlags(0)

    def test_is_read_as_it_was_written(self):
        self.assertIsNone(request.read(self.domain))

        request.write(self.domain, 1764000000.5)

        self.assertEqual(request.Request(1764000000.5),
                         request.read(self.domain))

    def test_asking_twice_is_one_request(self):
        request.write(self.domain, 1.0)
        request.write(self.domain, 2.0)

        self.assertEqual(request.Request(2.0), request.read(self.domain))
        self.assertEqual(1, self.domain.XMLDesc(0).count('<vffr:failback'))

    def test_removing_leaves_the_journal(self):
        written = journal.Journal(7).moved(
            'port', contract.MAC, journal.State.ATTACHING)
        self.domain.setMetadata(
            contract.ELEMENT, written.to_xml(), journal.PREFIX,
            journal.NAMESPACE, contract.LIVE)
        request.write(self.domain)

        request.remove(self.domain)
        request.remove(self.domain)

        self.assertIsNone(request.read(self.domain))
        self.assertIn('vff:journal', self.domain.XMLDesc(0))

    def test_it_is_in_the_running_domain_alone(self):
        request.write(self.domain)

        self.assertNotIn(request.NAMESPACE,
                         self.domain.XMLDesc(contract.INACTIVE))

    def test_a_time_that_cannot_be_read_is_a_request(self):
        for text in ('', ' at="soon"'):
            tree = etree.fromstring(
                f'<domain><metadata><failback xmlns="{request.NAMESPACE}"'
                f'{text}/></metadata></domain>')
            self.assertEqual(request.Request(0.0), request.find(tree))

    def test_needs_nothing_of_nova(self):
        subprocess.run(
            [sys.executable, '-c', 'import sys\n'
             'from nova_vf_failover import request\n'
             'sys.exit(any(name.partition(".")[0] in ("nova", "libvirt") '
             'for name in sys.modules))'], check=True)
