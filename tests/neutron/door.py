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

"""The door before Neutron: what Keystone's middleware would do there."""

import typing
import urllib.parse

import webob
import webob.client
import webob.dec
import webob.exc

from tests.demo import doors


class NetworkDoor:
    """Passes requests on to Neutron, with who asks.

    :ivar target: the URL of Neutron's API, once it is there
    """

    def __init__(self, tokens: doors.Tokens) -> None:
        self._tokens = tokens
        self.target: str | None = None

    @webob.dec.wsgify
    def __call__(self, request: webob.Request) -> typing.Any:
        if not self.target:
            return webob.exc.HTTPServiceUnavailable()
        # What versions there are is told to everybody.
        if self._tokens.admits(request):
            request.headers.update(self._tokens.identity(request))
        elif request.path.strip('/'):
            return webob.exc.HTTPUnauthorized()
        # The host stays that of the door, for the links in answers.
        target = urllib.parse.urlsplit(self.target)
        request.environ['SERVER_NAME'] = target.hostname
        request.environ['SERVER_PORT'] = str(target.port)
        return request.get_response(webob.client.send_request_app)
