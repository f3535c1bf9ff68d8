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

import socket
import threading
import time
from unittest import mock

import fixtures
from oslotest import base

from nova_vf_failover.guest import wire


class LossyMouth:
    """A raw socket whose first frames are lost on their way."""

    def __init__(self, lost):
        self._lost = lost
        self.heard = []
        self.closed = threading.Event()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed.set()

    def send(self, frame):
        if self._lost:
            self._lost -= 1
        else:
            self.heard.append(frame)


class AnnounceTestCase(base.BaseTestCase):
    """Switches and bridges that have to learn first drop what comes then.

    Bugs 1815989 and 1996995 of Nova.
    """

    OWN = [(socket.AF_INET, '192.0.2.7'), (socket.AF_INET6, '2001:db8::7')]

    def setUp(self):
        super().setUp()
        self.pauses = []
        self.useFixture(fixtures.MockPatchObject(
            wire, 'time', mock.Mock(wraps=time, sleep=self.pauses.append)))

    def announce(self, lost):
        mouth = LossyMouth(lost)
        wire.announce(mouth, 'fa:16:3e:00:00:01', self.OWN, False)
        self.assertTrue(mouth.closed.wait(10))
        return mouth.heard

    def test_what_is_lost_is_said_again(self):
        # Both addresses, and the first two repetitions.
        heard = self.announce(lost=6)

        self.assertEqual(2, len(set(heard)))

    def test_it_ends_after_a_few_seconds(self):
        self.announce(lost=0)

        self.assertTrue(2 < sum(self.pauses) < 10)
