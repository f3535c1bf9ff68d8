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

"""A port leaves the guest while it is on its standby, and comes again."""

import time

from tests.guest import base


class DetachedTestCase(base.GuestTestCase):

    def setUp(self):
        super().setUp()
        self.port, = self.ports
        self.guest.run('ip', 'address', 'add', '10.1.0.5/24', 'dev', 'eth0')
        self.fail_over()
        self.detach_standby('alpha', self.port)
        self.attach_vf('alpha', self.port, 2)
        self.name, = self.guest.names() - {'lo'}

    def await_place(self, on):
        until = time.monotonic() + 10
        while self.agent.command('status')[1]['places'][0]['on'] != on:
            self.assertLess(time.monotonic(), until)

    def test_what_it_had_is_forgotten(self):
        self.net.boot_port(self.port, self.name, True)
        self.await_place('primary')
        self.assertNotIn('lookup 7759', self.guest.run('ip', 'rule'))
        self.reach()
        before = self.configuration()

        self.attach_standby('alpha', self.port)
        self.done(self.intent('standby'))

        self.assertReachable()
        self.assertNotIn('10.1.0.5', self.guest.run('ip', 'address'))
        self.detach_vf('alpha', self.port, 2)
        self.come_back('alpha', {self.port: 3})
        self.assertEqual(before, self.configuration())

    def test_what_it_had_is_kept_for_an_intent(self):
        """The VF may be there before the agent is told of it."""
        self.guest.set(self.name, mtu=1400)
        self.await_place('standby')

        self.done(self.intent('primary'))

        self.assertReachable()
        self.assertIn('10.1.0.5', self.guest.run('ip', 'address'))
