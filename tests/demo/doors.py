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

"""Doors into the cloud: HTTP, as the ``openstack`` command knocks.

Nova's API is the real one. For Keystone, Glance and Neutron there is as much
as the command asks for; images and ports are those of the stand-ins that Nova
itself uses in this cloud.
"""

from collections.abc import Callable
import datetime
import threading
import typing
import uuid

from cheroot import wsgi
import fixtures
from oslo_serialization import jsonutils
import webob
import webob.dec
import webob.exc

USER, PASSWORD, PROJECT_NAME = 'admin', 'demo', 'demo'
#: as whom services ask each other
SERVICE_USER = 'service'

_ROLES = {USER: 'admin,member,reader',
          SERVICE_USER: 'admin,service,member,reader'}

Document = dict[str, typing.Any]


class Door(fixtures.Fixture):
    """A WSGI application on a TCP port of the loopback interface."""

    def __init__(self, application: typing.Any) -> None:
        self._server = wsgi.Server(('127.0.0.1', 0), application)

    @property
    def url(self) -> str:
        return 'http://127.0.0.1:%d' % self._server.bind_addr[1]

    def _setUp(self) -> None:
        self._server.prepare()
        threading.Thread(target=self._server.serve, daemon=True).start()
        self.addCleanup(self._server.stop)


class Tokens:
    """What Keystone issues and the services ask it about."""

    def __init__(self, project: str) -> None:
        self.project = project
        self._users: dict[str, str] = {}

    def issue(self, user: str) -> str:
        token = uuid.uuid4().hex
        self._users[token] = user
        return token

    def admits(self, request: webob.Request) -> bool:
        return request.headers.get('X-Auth-Token') in self._users

    def identity(self, request: webob.Request) -> dict[str, str]:
        """What keystonemiddleware would add to a request that is admitted."""
        user = self._users[request.headers['X-Auth-Token']]
        return {'X-Identity-Status': 'Confirmed', 'X-User-Id': user,
                'X-Project-Id': self.project, 'X-Roles': _ROLES[user]}


class ComputeDoor:
    """Nova's own application, behind what keystonemiddleware would do."""

    def __init__(self, application: typing.Any, tokens: Tokens) -> None:
        self._application = application
        self._tokens = tokens

    @webob.dec.wsgify
    def __call__(self, request: webob.Request) -> typing.Any:
        if self._tokens.admits(request):
            request.headers.update({
                'X-Auth-User': USER, 'X-Roles': 'admin,member,reader',
                'X-Auth-Project-Id': self._tokens.project})
        elif request.path.strip('/') not in ('', 'v2.1'):
            return webob.exc.HTTPUnauthorized()
        return self._application


class OtherDoors:
    """Keystone below /identity, Glance below /image, Neutron below /network.

    :param compute: where Nova is
    :param images: finds all images
    :param networks: finds all networks
    :param ports: finds all ports
    :param add_port: makes a port from the body of a request
    :param remove_port: removes the port of an id
    :param network: where a Neutron is that has a door of its own
    """

    def __init__(self, tokens: Tokens, compute: str,
                 images: Callable[[], list[Document]],
                 networks: Callable[[], list[Document]],
                 ports: Callable[[], list[Document]],
                 add_port: Callable[[Document], Document],
                 remove_port: Callable[[str], None],
                 network: str | None = None) -> None:
        self._network = network
        self._tokens = tokens
        self._compute = compute
        self._add_port = add_port
        self._remove_port = remove_port
        self._collections: dict[tuple[str, str], typing.Any] = {
            ('image', 'images'): images,
            ('network', 'extensions'): lambda: [],
            ('network', 'networks'): networks,
            ('network', 'ports'): ports,
        }

    @webob.dec.wsgify
    def __call__(self, request: webob.Request) -> webob.Response:
        service, *path = request.path.strip('/').split('/')
        if service == 'identity':
            return self._identity(request, path)
        if not path or path == ['']:
            return _versions(request, service)
        if not self._tokens.admits(request):
            raise webob.exc.HTTPUnauthorized()
        if (service, path[1:]) == ('network', ['ports']) and (
                request.method == 'POST'):
            return _answer({'port': self._add_port(request.json['port'])},
                           status=201)
        if request.method == 'DELETE':
            self._look(request, service, path[1:])
            self._remove_port(path[-1])
            return webob.Response(status=204)
        return self._look(request, service, path[1:])

    def _identity(self, request: webob.Request,
                  path: list[str]) -> webob.Response:
        if path[1:] == ['auth', 'tokens'] and request.method == 'POST':
            return self._authenticate(request)
        return _answer({'version': {
            'id': 'v3.14', 'status': 'stable', 'links': [
                {'rel': 'self',
                 'href': f'{request.host_url}/identity/v3/'}]}})

    def _authenticate(self, request: webob.Request) -> webob.Response:
        password = request.json['auth']['identity']['password']['user']
        user = password['name']
        if user not in _ROLES or password['password'] != PASSWORD:
            raise webob.exc.HTTPUnauthorized()
        now = datetime.datetime.now(datetime.timezone.utc)
        domain = {'id': 'default', 'name': 'Default'}
        return _answer({'token': {
            'methods': ['password'],
            'issued_at': _time(now),
            'expires_at': _time(now + datetime.timedelta(hours=1)),
            'user': {'id': user, 'name': user, 'domain': domain},
            'project': {'id': self._tokens.project, 'name': PROJECT_NAME,
                        'domain': domain},
            'roles': [{'id': role, 'name': role}
                      for role in _ROLES[user].split(',')],
            'catalog': [
                _service('identity', f'{request.host_url}/identity'),
                _service('image', f'{request.host_url}/image'),
                _service('network', self._network
                         or f'{request.host_url}/network'),
                _service('compute', f'{self._compute}/v2.1')],
        }}, status=201, token=self._tokens.issue(user))

    def _look(self, request: webob.Request, service: str,
              path: list[str]) -> webob.Response:
        find = self._collections.get((service, path[0]))
        if find is None:
            raise webob.exc.HTTPNotFound()
        if len(path) == 1:
            wanted = {key: value for key, value in request.params.items()
                      if key in ('name', 'id')}
            return _answer({path[0]: [
                item for item in find()
                if all(item.get(key) == value
                       for key, value in wanted.items())]})
        for item in find():
            if item['id'] == path[1]:
                # Glance gives an image without anything around it.
                return _answer(item if service == 'image'
                               else {path[0][:-1]: item})
        raise webob.exc.HTTPNotFound()


def _versions(request: webob.Request, service: str) -> webob.Response:
    version = {'image': 'v2', 'network': 'v2.0'}[service]
    return _answer({'versions': [{
        'id': 'v2.9' if service == 'image' else version, 'status': 'CURRENT',
        'links': [{'rel': 'self',
                   'href': f'{request.host_url}/{service}/{version}/'}]}]})


def _service(kind: str, url: str) -> Document:
    return {'type': kind, 'name': kind, 'id': kind, 'endpoints': [{
        'id': kind, 'interface': interface, 'region': 'demo',
        'region_id': 'demo', 'url': url}
        for interface in ('public', 'internal', 'admin')]}


def _time(moment: datetime.datetime) -> str:
    return moment.strftime('%Y-%m-%dT%H:%M:%S.%fZ')


def _answer(document: Document, status: int = 200,
            token: str | None = None) -> webob.Response:
    response = webob.Response(
        jsonutils.dump_as_bytes(document), status=status,
        content_type='application/json')
    if token:
        response.headers['X-Subject-Token'] = token
    return response
