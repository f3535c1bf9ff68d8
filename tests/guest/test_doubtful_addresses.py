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


"""Addresses of IPv6 that somebody else has, or may have."""

import errno
import socket
import time
from unittest import mock

from nova_vf_failover.guest import dressing
from nova_vf_failover.guest import frames
from tests.guest import base
from tests.guest import in_process
from tests.guest import test_move

_DOUBLE = 'fd00:1::d0'


class DoubtfulAddressTestCase(base.GuestTestCase):

    def setUp(self):
        super().setUp()
        # The peer has it, and speaks to the guest from another one.
        self.net.peer.run('ip', 'address', 'add', f'{_DOUBLE}/64', 'dev',
                          'eth0', 'nodad', 'preferred_lft', '0')
        self.guest.run('sysctl', '-qw', 'net.ipv6.conf.eth0.accept_dad=1')
        self.guest.run('ip', 'address', 'add', f'{_DOUBLE}/64', 'dev', 'eth0')
        self.await_failure()

    def await_failure(self):
        """Until the kernel of the guest knows that somebody else has it."""
        until = time.monotonic() + 10
        while _DOUBLE not in self.guest.run(
                'ip', '-6', 'address', 'show', 'dev', 'eth0', 'dadfailed'):
            self.assertLess(time.monotonic(), until)

    def test_one_that_somebody_else_has_is_not_taken_from_them(self):
        port, = self.ports
        with self.net.hosts['alpha'].nic.listen('alphapf0') as heard:
            self.fail_over()
            self.assertOthersOnly(heard)
        self.carry_standby(port)
        with self.net.hosts['beta'].nic.listen('0000:91:00.4') as heard:
            self.fail_back()
            self.assertOthersOnly(heard)

    def test_a_check_warns_of_one(self):
        port, = self.ask(self.intent('standby'), 'check')['ports']

        self.assertTrue(any(f'whether {_DOUBLE} of eth0 is free' in warning
                            for warning in port['warnings']),
                        port['warnings'])

    def assertOthersOnly(self, heard):
        """What is not in doubt was announced, what is was not."""
        port, = self.ports
        settled = test_move.link_local(port.mac)
        said = []
        while True:
            try:
                said.append(heard.recv(2048, socket.MSG_DONTWAIT))
            except BlockingIOError:
                break
        for address, expected in ((settled, True), (_DOUBLE, False)):
            wanted = frames.announcement(socket.AF_INET6, port.mac, address)
            self.assertIs(expected, any(frame.startswith(wanted)
                                        for frame in said), address)

    def test_guest_is_as_it_was(self):
        before = self.configuration()

        self.move()

        self.await_failure()
        self.assertEqual(before, self.configuration())
        self.assertReachable()


class LastTestCase(in_process.InProcess):
    """All ports are back when the kernel is asked for them."""

    PORTS = 2

    def setUp(self):
        super().setUp()
        for port in self.ports:
            self.attach_standby('alpha', port)
        self.run_mover('standby')
        for number, port in enumerate(self.ports, 1):
            self.detach_vf('alpha', port, number)
            self.attach_vf('alpha', port, number + 2)
        self.seen = []

    def fail(self, *_):
        self.seen.append((set(self.kept.away), [
            self.mover._nics.standby(port.mac).up for port in self.ports]))
        raise OSError(errno.EBUSY, 'busy')

    def test_no_port_goes_without_its_vf(self):
        with mock.patch.object(dressing, 'put_doubtful', self.fail):
            self.run_mover('primary')

        self.assertEqual([(set(), [False, False])] * 2, self.seen)
        self.assertReachable()
