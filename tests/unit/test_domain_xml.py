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

"""What is read in a domain's XML."""

import ddt
from lxml import etree
from oslotest import base

from nova_vf_failover import domain_xml
from nova_vf_failover import journal

MAC = 'fa:16:3e:00:00:01'
VF = f"""
<interface type='hostdev' managed='yes'>
  <mac address='{MAC.upper()}'/>
  <source>
    <address type='pci' domain='0x0000' bus='0x81' slot='0x0a' function='0x1'/>
  </source>
</interface>"""
STANDBY = f"""
<interface type='direct'>
  <mac address='{MAC}'/>
  <source dev='ens1f0.42' mode='bridge'/>
  <target dev='macvtap0'/>
</interface>"""


def tree(*devices):
    return etree.fromstring(
        f'<domain><devices>{"".join(devices)}</devices></domain>')


class InterfacesTestCase(base.BaseTestCase):

    def test_both_nics_of_a_port(self):
        primary, standby = domain_xml.interfaces(tree(VF, STANDBY))

        self.assertEqual(
            (MAC, 'hostdev', '0000:81:0a.1', None),
            (primary.mac, primary.kind, primary.address, primary.device))
        self.assertEqual(
            (MAC, 'direct', '', 'macvtap0'),
            (standby.mac, standby.kind, standby.address, standby.device))


@ddt.ddt
class LostPortsTestCase(base.BaseTestCase):

    KEPT = journal.Journal(7, kept={'port': MAC})

    def setUp(self):
        super().setUp()
        self.asked = []

    def lost(self, live, persistent, content=KEPT):
        def read(of_persistent):
            self.asked.append(of_persistent)
            return tree(persistent if of_persistent else live)

        return domain_xml.lost_ports(content, read)

    @ddt.data('', STANDBY)
    def test_let_go(self, live):
        self.assertEqual(['port'], self.lost(live, VF))

    def test_still_there(self):
        self.assertEqual([], self.lost(VF, VF))

    @ddt.data('', STANDBY)
    def test_left_the_server_or_there_is_no_persistent_domain(self, nics):
        self.assertEqual([], self.lost(nics, nics))

    def test_what_is_being_moved_is_not_lost(self):
        moving = self.KEPT.moved('port', MAC, journal.State.ATTACHING)

        self.assertEqual([], self.lost('', VF, moving))

    def test_where_nothing_is_kept_nobody_is_asked(self):
        self.assertEqual([], self.lost('', VF, journal.Journal(7)))
        self.assertEqual([], self.asked)


class JournalTestCase(base.BaseTestCase):

    def test_a_domain_that_says_nothing(self):
        self.assertEqual(journal.Journal(), domain_xml.journal_of(
            etree.fromstring('<domain><metadata/></domain>')))
