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

"""What the agent tells udev of NICs, and what it does before it is asked."""

import json

from nova_vf_failover.guest import links
from tests.guest import base


class PropertiesTestCase(base.GuestTestCase):

    STANDBY = {'VF_FAILOVER': 'standby'}

    def properties(self, name):
        return dict(line.split('=', 1) for line in
                    self.agent.properties(name).splitlines())

    def nics(self):
        return {link['ifname']: link for link in json.loads(
            self.guest.run('ip', '-json', 'address'))
            if link['ifname'] != 'lo'}

    def standby(self):
        return next(name for name in self.nics() if name != 'eth0')

    def test_nics_that_are_none_of_ours(self):
        self.guest.run('ip', 'tuntap', 'add', 'plain', 'mode', 'tap')
        self.guest.netlink.link('add', ifname='bridge', kind='bridge')
        self.guest.run('ip', 'tuntap', 'add', 'member', 'mode', 'tap')
        # A bridge's member and a bond's may have the MAC of any other NIC.
        self.guest.set('member', address=self.ports[0].mac,
                       master=self.guest.index('bridge'))

        self.assertEqual([{}] * 4, [self.properties(name) for name in (
            'eth0', 'plain', 'member', 'lo')])

    def test_a_standby_that_nobody_has_told_of(self):
        port, = self.ports
        self.agent.kill()
        self.attach_standby('alpha', port)

        self.assertEqual(self.STANDBY, self.properties(self.standby()))
        self.assertEqual({}, self.properties('eth0'))

    def test_it_is_parked_before_the_agent_is_ready(self):
        port, = self.ports
        self.agent.kill()
        self.attach_standby('alpha', port)
        self.assertEqual(
            port.mac, self.nics()[self.standby()]['address'])

        self.agent.start()

        self.assertEqual(links.parked(port.mac),
                         self.nics()[self.standby()]['address'])
        self.assertEqual(self.STANDBY, self.properties(self.standby()))

    def test_one_that_its_owner_uses_is_left_alone(self):
        port, = self.ports
        self.agent.kill()
        self.attach_standby('alpha', port)
        name = self.standby()
        self.guest.set(name, state='up')

        self.agent.start()

        self.assertEqual(port.mac, self.nics()[name]['address'])
        self.assertIn('UP', self.nics()[name]['flags'])

    def test_a_standby_in_use(self):
        port, = self.ports
        self.attach_standby('alpha', port)
        self.done(self.intent('standby'))
        standby = self.standby()
        self.assertEqual(self.STANDBY, self.properties(standby))

        self.detach_vf('alpha', port, 1)

        self.assertEqual(self.STANDBY, self.properties(standby))

    def test_a_vf_that_comes_back_under_another_name(self):
        port, = self.ports
        self.fail_over()
        standby = self.standby()
        self.ask(self.intent('primary'), 'apply')
        # It is looked at before the agent takes it.
        self.agent.kill()
        self.attach_vf('alpha', port, 2)
        vf = next(name for name in self.nics() if name != standby)
        self.guest.set(vf, ifname='found4')

        self.assertEqual({'VF_FAILOVER_NAME': 'eth0'},
                         self.properties('found4'))
