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

"""What a conversation with the kernel makes of its answers."""

import errno
import socket
from unittest import mock

from oslotest import base

from nova_vf_failover.guest import netlink

# include/uapi/linux/netlink.h
_ERROR, _DONE, _INTERRUPTED = 2, 3, 0x10
_LINK = 16


class DumpTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        with mock.patch('socket.socket', autospec=True):
            self.asking = netlink.Netlink()
        self.asking.socket, self.kernel = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (self.asking.socket, self.kernel):
            self.addCleanup(end.close)
        self.asking.socket.settimeout(10)

    def say(self, sequence, *messages):
        """The kernel answers one question, in one packet.

        :param messages: kind, flags and body of each
        """
        self.kernel.send(b''.join(
            netlink._packed(kind, flags, sequence, body)
            for kind, flags, body in messages))

    def dump(self):
        return self.asking.dump(_LINK + 2, b'')

    def test_a_list_that_changes_meanwhile_is_read_again(self):
        """Or the copy of a table would lack some of its routes."""
        self.say(1, (_LINK, _INTERRUPTED, b'half'), (_DONE, 0, b''))
        self.say(2, (_LINK, 0, b'whole'), (_DONE, 0, b''))

        self.assertEqual([b'whole'], self.dump())

    def test_a_change_is_told_of_at_the_end(self):
        self.say(1, (_LINK, 0, b'half'), (_DONE, _INTERRUPTED, b''))
        self.say(2, (_LINK, 0, b'whole'), (_DONE, 0, b''))

        self.assertEqual([b'whole'], self.dump())

    def test_a_list_that_changes_all_the_time(self):
        for sequence in range(1, 30):
            self.say(sequence, (_DONE, _INTERRUPTED, b''))

        error = self.assertRaises(netlink.NetlinkError, self.dump)

        self.assertEqual(errno.EBUSY, error.errno)

    def test_what_is_left_of_an_earlier_answer(self):
        """Somebody has asked, and has not waited for all of it."""
        self.asking._next()
        self.say(1, (_LINK, 0, b'old!'), (_DONE, 0, b''))
        self.say(2, (_LINK, 0, b'new!'), (_DONE, 0, b''))

        self.assertEqual([b'new!'], self.dump())
