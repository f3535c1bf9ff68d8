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

"""How often an agent looks for intents in the metadata."""

import json
import threading
import time
from unittest import mock

import fixtures
from oslotest import base

from nova_vf_failover.guest import metadata
from tests.unit.guest import test_metadata_fuzz

_ITEM = '1 {} 1/1 standby 30 fa163e000001'
_NOW = 1764000000


class Pauses(threading.Event):
    """Notes the pauses, in which nothing but the time goes on."""

    def __init__(self, many):
        super().__init__()
        self.noted = []
        self.now = 7.0
        self._left = many

    def wait(self, timeout):
        self.noted.append(timeout)
        self.now += timeout
        self._left -= 1
        if not self._left:
            self.set()


class WatchTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.service = test_metadata_fuzz.Service()
        self.addCleanup(self.service.close)
        self.time = self.useFixture(fixtures.MockPatchObject(
            metadata, 'time', mock.Mock(
                wraps=time, **{'time.return_value': float(_NOW)}))).mock
        self.say({})

    def say(self, items):
        self.service.said = b'HTTP/1.1 200 OK\r\n\r\n' + json.dumps(
            {'meta': items}).encode()

    def pauses(self, interval, many):
        watch = metadata.Watch(self.service.url, interval, lambda _: None)
        watch._ended = its = Pauses(many)
        self.time.monotonic.side_effect = lambda: its.now
        watch.run()
        return its.noted

    def test_seldom_while_there_is_nothing(self):
        self.assertEqual([5.0] * 3, self.pauses(5.0, 3))

    def test_often_once_there_is_something(self):
        """The next one comes soon, and the host waits for its answer."""
        self.say({'vf_failover': _ITEM.format(_NOW * 1000)})

        # What was found is found again, and is nothing new.
        self.assertEqual([1.0] * 60 + [5.0] * 2, self.pauses(5.0, 62))

    def test_as_often_as_it_is_told(self):
        self.say({'vf_failover': _ITEM.format(_NOW * 1000)})

        self.assertEqual([0.2] * 3, self.pauses(0.2, 3))
