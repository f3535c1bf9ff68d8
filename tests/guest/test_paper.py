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

"""What is simulated on paper behaves like the real thing."""

import json

from tests.guest import base
from tests.simulation import dataplane
from tests.simulation import errors
from tests.simulation import paper
from tests.simulation import paper_agent


class PaperAgentTestCase(base.GuestTestCase):
    """One story, told to the real agent and to the one on paper."""

    def setUp(self):
        super().setUp()
        self.paper = paper.PaperGuest()
        self.paper.add(self.ports[0].mac, 'primary')
        self.paper_agent = paper_agent.PaperAgent(self.paper)

    def both(self, intent, *command):
        """The reports of the real agent and of the one on paper."""
        given = json.dumps(intent)
        real = self.ask(given, *command)
        program = self.paper_agent.start(
            ('vf-failover-agent', *command), given.encode())
        return real, json.loads(program.output()[0])

    def assertSame(self, state, intent, *command):
        real, simulated = self.both(intent, *command)
        self.assertEqual((state, state), (real['state'], simulated['state']),
                         (real['message'], simulated['message']))
        self.assertEqual(set(real), set(simulated))
        self.assertEqual(bool(real['message']), bool(simulated['message']))
        for real_port, simulated_port in zip(real['ports'],
                                             simulated['ports']):
            self.assertLessEqual(set(simulated_port), set(real_port))
            for key in ('id', 'mac', 'state'):
                self.assertEqual(real_port[key], simulated_port[key])

    def test_one_story(self):
        port, = self.ports
        apply = ('apply', '--wait', '20')
        unknown = self.intent('standby')
        unknown['ports'][0]['mac'] = 'fa:16:3e:99:99:99'

        self.assertSame('refused', unknown, 'check')
        self.assertSame('ready', self.intent('standby'), 'check')
        early = self.intent('standby', timeout=0.2)
        self.assertSame('refused', early, *apply)
        self.attach_standby('alpha', port)
        self.paper.add(port.mac, 'standby')
        # What has ended is not begun anew.
        self.assertSame('refused', early, *apply)
        old = self.intent('standby')
        self.assertSame('done', self.intent('standby'), *apply)
        self.assertSame('refused', old, *apply)
        self.detach_vf('alpha', port, 1)
        self.paper.remove(port.mac, 'primary')
        back = self.intent('primary')
        self.assertSame('armed', back, 'apply')
        self.attach_vf('alpha', port, 2)
        self.paper.add(port.mac, 'primary')
        self.assertSame('done', back, *apply)
        self.assertSame('done', back, *apply)
        self.assertEqual('primary', self.paper.uses[port.mac])


class PaperDataPlaneTestCase(base.GuestTestCase):
    """A host on paper refuses what a kernel refuses, with the same words."""

    PORTS = 0

    def setUp(self):
        super().setUp()
        self.host = self.net.hosts['alpha']
        self.paper = paper.PaperDataPlane('alpha', {})
        self.paper.add_pf('alphapf0', ['0000:81:00.1', '0000:81:00.2'])

    def assertSameRefusal(self, method, nic):
        refusals = [
            self.assertRaises(errors.libvirtError, getattr(plane, method),
                              'guest', nic)
            for plane in (self.host, self.paper)]
        self.assertEqual(*[
            (refusal.get_error_code(), refusal.get_error_message())
            for refusal in refusals])

    @staticmethod
    def macvtap(source):
        return dataplane.Nic(mac='fa:16:3e:00:00:07', kind='direct',
                             source=source, target='macvtap7')

    def test_link_that_is_not_there(self):
        self.assertSameRefusal('plug_macvtap', self.macvtap('nosuch0'))

    def test_pf_in_a_bridge(self):
        where = self.host.namespace
        where.netlink.link('add', ifname='br-ex', kind='bridge')
        where.set('alphapf0', master=where.index('br-ex'))
        self.paper.links['alphapf0'].master = 'br-ex'

        self.assertSameRefusal('plug_macvtap', self.macvtap('alphapf0'))

    def test_vf_that_is_not_there(self):
        self.assertSameRefusal('assign_vf', dataplane.Nic(
            mac='fa:16:3e:00:00:07', kind='hostdev', vf='0000:81:00.9'))

    def test_vf_of_another_guest(self):
        vf = dataplane.Nic(mac='fa:16:3e:00:00:07', kind='hostdev',
                           vf='0000:81:00.1')
        for plane in (self.host, self.paper):
            plane.assign_vf('other', vf)

        self.assertSameRefusal('assign_vf', vf)

    def test_macvtap_that_has_gone_is_unplugged_once_more(self):
        nic = self.macvtap('alphapf0')
        for plane in (self.host, self.paper):
            plane.plug_macvtap('guest', nic)
            plane.unplug_macvtap('guest', nic)
            plane.unplug_macvtap('guest', nic)
