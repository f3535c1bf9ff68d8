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

"""Waiting for the kernel to take in what is sent to new addresses."""

import socket

from nova_vf_failover.guest import deliveries
from tests.guest import cables


class DeliveriesTestCase(cables.LoneGuestTestCase):

    def setUp(self):
        super().setUp()
        for name in 'eth0', 'eth1':
            self.guest.set(name, state='up')
        self.taken_in = self.guest.inside(
            lambda: deliveries.Deliveries(self.guest.index('eth0')))
        self.addCleanup(self.taken_in.__exit__)

    def add(self, address, name='eth0'):
        self.guest.run('ip', 'address', 'add', f'{address}/64', 'dev', name,
                       'nodad')

    def wait(self, address, limit):
        return self.taken_in.wait(
            {socket.inet_pton(socket.AF_INET6, address)}, limit)

    def test_an_address_that_is_used(self):
        self.add('fd00::7')

        self.assertTrue(self.wait('fd00::7', 10))

    def test_an_address_of_another_nic(self):
        self.add('fd00::7', 'eth1')

        self.assertFalse(self.wait('fd00::7', 0.1))

    def test_more_changes_than_can_be_told(self):
        self.taken_in._changes.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for number in range(20):
            self.add(f'fd00::{number + 1}')

        self.assertFalse(self.wait('fd00::77', 0.1))
