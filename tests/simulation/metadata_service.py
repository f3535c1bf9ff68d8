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
"""Metadata services: a small one for the fabric, and a place for Nova's own.
"""

from collections.abc import Callable
import http.server
import json
import selectors
import threading
import time
import typing
from wsgiref import simple_server

import fixtures

from tests.simulation.fabric import namespace

PATH = '/openstack/latest/meta_data.json'

# Seconds until a look of the agent is overdue.
_PATIENCE = 15.0


class MetadataService(fixtures.Fixture):
    """Serves ``meta_data.json`` from within a namespace.

    :ivar items: the metadata of the server
    :ivar answer: makes another answer: a status and a body
    """

    def __init__(self, where: namespace.Namespace, address: str) -> None:
        self._where = where
        self._address = address
        self._looked = threading.Condition()
        self._looks = 0
        self.items: dict[str, str] = {}
        self.answer: Callable[[], tuple[int, bytes]] = self._usual

    def _setUp(self) -> None:
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = (service.answer() if self.path == PATH
                                else (404, b''))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)
                with service._looked:
                    service._looks += 1
                    service._looked.notify_all()

            def log_message(self, *arguments: object) -> None:
                """Nothing: stderr is the test runner's."""

        self._server = self._where.inside(
            lambda: http.server.ThreadingHTTPServer(
                (self._address, 0), Handler))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever,
                         daemon=True).start()
        self.addCleanup(self.close)

    def close(self) -> None:
        """From now on nobody listens there."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return 'http://%s:%d%s' % (*self._server.server_address, PATH)

    def await_looks(self, count: int = 2) -> None:
        """Until somebody has looked so many times from now on.

        :raises TimeoutError: nobody does
        """
        until = time.monotonic() + _PATIENCE
        with self._looked:
            wanted = self._looks + count
            while self._looks < wanted:
                if not self._looked.wait(until - time.monotonic()):
                    raise TimeoutError('nobody looks at the metadata')

    def _usual(self) -> tuple[int, bytes]:
        return 200, json.dumps(
            {'uuid': 'server', 'meta': dict(self.items)}).encode()


class Application(fixtures.Fixture):
    """Nova's own metadata service on a port of the loopback interface."""

    def __init__(self, application: typing.Any) -> None:
        self._application = application

    def _setUp(self) -> None:
        class Handler(simple_server.WSGIRequestHandler):
            def log_message(self, *arguments: object) -> None:
                """Nothing: stderr is the test runner's."""

        # That of before eventlet patched it would not let others run.
        self.useFixture(fixtures.MonkeyPatch(
            'socketserver._ServerSelector', selectors.DefaultSelector))
        server = simple_server.make_server(
            '127.0.0.1', 0, self._application, handler_class=Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.url = f'http://127.0.0.1:{server.server_port}{PATH}'
