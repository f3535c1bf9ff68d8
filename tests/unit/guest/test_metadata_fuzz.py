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

"""Whatever a metadata service answers: one look, no intent, no traceback."""

import json
import socket
import threading
import time
from unittest import mock

import hypothesis
from hypothesis import strategies
from oslotest import base

from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import metadata
from tests.unit.guest import test_fuzz

ITEM = '1 {} 1/1 standby 30 fa163e000001'
MEANT = {'vf_failover': '1 7 1/2 standby 30 fa163e000001',
         'vf_failover_1': '1 7 2/2 standby 30 fa163e000002'}

# Items of which a few letters, or a whole one, are somebody else's.
FORGED = strategies.dictionaries(
    strategies.sampled_from(['vf_failover', 'vf_failover_1', 'vf_failover_2']),
    strategies.from_regex(
        r'\d{1,4} \d{1,20} \d{1,3}/\d{1,3} (standby|primary|\w{1,17}) '
        r'[0-9.]{1,9}( [0-9a-f]{11,13}){0,3}\n?', fullmatch=True)
    | strategies.sampled_from(list(MEANT.values()))
    | test_fuzz.ANYTHING)
DOCUMENTS = (test_fuzz.ANYTHING | FORGED.map(lambda items: {'meta': items})
             | test_fuzz.ANYTHING.map(lambda its: {'meta': its}))
BODIES = (strategies.binary() | DOCUMENTS.map(
    lambda its: json.dumps(its).encode()) | strategies.sampled_from(
        [b'[' * 100000, b'{"meta":' * 50000, b'9' * 100000,
         b'{"meta": {"vf_failover": "\\ud800"}}', b'\xff\xfe{}']))


def answer(draw):
    """What comes over the connection before it is closed."""
    body = draw(BODIES)
    status = draw(strategies.sampled_from(
        [b'HTTP/1.1 200 OK', b'HTTP/1.0 200', b'HTTP/1.1 404 No', b'200',
         b'HTTP/9 200 OK', b'HTTP/1.1 -1 ?', b'\xff']) | strategies.binary())
    headers = draw(strategies.sampled_from(
        [b'Content-Length: %d' % len(body), b'Content-Length: 99999999',
         b'Content-Length: -1', b'Content-Length: many',
         b'Transfer-Encoding: chunked', b'Content-Encoding: gzip',
         b'X: ' + b'y' * 70000, b'X: y\r\n' * 200, b'Location: /'])
        | strategies.binary())
    if headers == b'Transfer-Encoding: chunked':
        body = draw(strategies.sampled_from(
            [b'%x\r\n%b\r\n0\r\n\r\n' % (len(body), body),
             b'%x\r\n%b' % (len(body) + 7, body), b'-1\r\n' + body,
             b'zz\r\n' + body, b'f' * 70000]))
    whole = status + b'\r\n' + headers + b'\r\n\r\n' + body
    return whole[:draw(strategies.just(len(whole))
                       | strategies.integers(0, len(whole)))]


ANSWERS = strategies.composite(answer)()


class Service:
    """Says one thing to whoever connects, whatever is asked."""

    def __init__(self):
        self.said = b''
        self._listening = socket.create_server(('127.0.0.1', 0))
        self.url = 'http://127.0.0.1:%d/x' % (
            self._listening.getsockname()[1])
        self._serving = threading.Thread(target=self._serve, daemon=True)
        self._serving.start()

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._serving.join()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(65536)
                    connection.sendall(self.said)
                except OSError:
                    # The agent has had enough.
                    continue


class MetadataFuzzTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.taken = []
        self.service = Service()
        self.addCleanup(self.service.close)
        self.watch = metadata.Watch(self.service.url, 5.0, self.taken.append)

    @hypothesis.settings(max_examples=300, deadline=None)
    @hypothesis.given(FORGED | strategies.dictionaries(
        strategies.text(), test_fuzz.ANYTHING))
    def test_items(self, items):
        try:
            intent = metadata.read(items)
        except intents.BadIntent as error:
            self.assertTrue(str(error).endswith('.'), error)
        else:
            if intent:
                # What is taken is what was said.
                first = items['vf_failover'].split(' ')
                self.assertEqual(str(intent.generation),
                                 str(int(first[1])))
                self.assertEqual(intent.use, first[3])

    @hypothesis.settings(max_examples=300, deadline=None)
    @hypothesis.given(ANSWERS)
    @hypothesis.example(
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
        b'ffffffffffffffff\r\n')
    def test_answers(self, said):
        self.service.said = said
        self.watch.look()

        # A generation of these days has thirteen digits: nothing that is
        # drawn here is an intent by chance, and none may be read into it.
        self.assertEqual([], self.taken)

    def test_one_that_is_taken(self):
        # So that the others are refused for what they are.
        document = {'meta': {'vf_failover': ITEM.format(
            int(time.time() * 1000))}}
        self.service.said = (b'HTTP/1.1 200 OK\r\n\r\n'
                             + json.dumps(document).encode())
        self.watch.look()

        self.assertEqual(['standby'], [its.use for its in self.taken])

    def test_one_that_does_not_end(self):
        self.service.said = b'HTTP/1.1 200 OK\r\n\r\n' + b' ' * 3000000
        self.watch.look()

        self.assertEqual([], self.taken)

    def test_one_that_comes_byte_by_byte(self):
        began = time.monotonic()
        with mock.patch.object(metadata, '_TIMEOUT', 0.3), (
                socket.create_server(('127.0.0.1', 0))) as listening:
            ended = threading.Event()

            def drip():
                connection, _ = listening.accept()
                with connection:
                    while not ended.wait(0.05):
                        connection.sendall(b'H')

            dripping = threading.Thread(target=drip)
            dripping.start()
            try:
                metadata.Watch('http://127.0.0.1:%d/x'
                               % listening.getsockname()[1], 5.0,
                               self.taken.append).look()
            finally:
                ended.set()
                dripping.join()
        self.assertEqual([], self.taken)
        self.assertLess(time.monotonic() - began, 5)
