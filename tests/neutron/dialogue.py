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

"""What the command line and Nova ask Neutron in the life of a VF port.

It begins with the port that the user makes, goes with Nova through a boot, a
live migration and another VF, and ends with the port; among it are requests
that come twice, too late or for what is not there.
"""

from collections.abc import Callable
import dataclasses
import typing
import uuid

from neutronclient.common import exceptions

from nova import exception

Document = dict[str, typing.Any]

SERVER = '0d8bd3d1-7dd7-4aa1-a1b8-2c8c3a9e1a5c'
VFS = {'alpha': '0000:81:00.1', 'beta': '0000:91:00.1'}
OTHER_VF = '0000:91:00.2'

# What tells something, by what it is told of: all of these are compared.
_PORT = ('name', 'network_id', 'admin_state_up', 'status', 'device_id',
         'device_owner', 'binding:host_id', 'binding:vnic_type',
         'binding:vif_type', 'binding:profile', 'binding:vif_details')
_BINDING = ('host', 'status', 'vif_type', 'vnic_type', 'profile',
            'vif_details')
_NETWORK = ('name', 'provider:network_type', 'provider:physical_network',
            'provider:segmentation_id')

NOTHING = 'nothing'


class Side(typing.Protocol):
    """A Neutron that can be asked.

    :ivar client: as Nova has it
    :ivar network: the ID of its flat network
    """

    client: typing.Any
    network: str

    def http(self, method: str, path: str, body: Document | None = None,
             ) -> tuple[int, Document]:
        """Ask as the command line does, below ``/v2.0``."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a Neutron has said.

    :ivar request: what it was asked, for people
    :ivar code: the HTTP status of an error; of a success it is only known
        where the client of Nova was not between
    :ivar facts: the fields that are compared, flat
    """

    request: str
    code: str
    facts: dict[str, str]


class Dialogue:
    """Asks one side, and keeps the answers in ``answers``."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self.answers: list[Answer] = []

    def hold(self) -> None:
        self._user_makes_a_port()
        self._server_boots()
        self._destination_is_bound()
        self._destination_is_activated()
        self._source_is_forgotten()
        self._another_vf()
        self._another_type()
        self._moved_without_a_live_migration()
        self._unknown()
        self._server_goes()
        self._user_deletes_the_port()

    # -- the story -----------------------------------------------------------

    def _user_makes_a_port(self) -> None:
        self._http('GET', '/networks?name=sriov', 'networks', _NETWORK)
        made = self._http('POST', '/ports', 'port', _PORT, {'port': {
            'name': 'vf', 'network_id': self._side.network,
            'binding:vnic_type': 'direct'}})
        self._port = made['port']['id']
        self._http('GET', '/ports?name=vf', 'ports', _PORT)
        self._http('GET', '/ports?name=another', 'ports', _PORT)
        self._http('GET', f'/ports/{self._port}', 'port', _PORT)
        self._http('GET', f'/ports/{uuid.UUID(int=1)}', 'port', _PORT)

    def _server_boots(self) -> None:
        self._show_port()
        self._update_port('bind to alpha', {
            'device_id': SERVER, 'device_owner': 'compute:nova',
            'binding:host_id': 'alpha', 'binding:profile': _profile('alpha')})
        self._client('list the ports of the server', 'ports', _PORT,
                     'list_ports', device_id=SERVER)

    def _destination_is_bound(self) -> None:
        self._show_binding('beta')
        self._bind('beta')
        self._bind('beta')
        self._bind('alpha')
        self._show_binding('alpha')
        self._show_binding('beta')
        self._show_port()

    def _destination_is_activated(self) -> None:
        self._activate('alpha')
        self._activate('beta')
        self._activate('beta')
        self._show_binding('alpha')
        self._show_port()

    def _source_is_forgotten(self) -> None:
        self._unbind('alpha')
        self._unbind('alpha')
        self._show_binding('alpha')
        self._activate('alpha')
        self._show_port()

    def _another_vf(self) -> None:
        self._update_port('another VF', {
            'binding:host_id': 'beta',
            'binding:profile': _profile('beta', OTHER_VF)})
        self._show_binding('beta')
        self._show_port()

    def _another_type(self) -> None:
        self._update_port('another type', {'binding:vnic_type': 'macvtap'})
        self._show_port()

    def _moved_without_a_live_migration(self) -> None:
        """What a resize or an evacuation asks."""
        self._update_port('move to alpha', {
            'binding:host_id': 'alpha', 'binding:profile': _profile('alpha')})
        self._show_binding('beta')
        self._show_port()

    def _unknown(self) -> None:
        """Hosts without an agent, and ports that do not exist."""
        self._bind('gamma')
        self._unbind('gamma')
        known, self._port = self._port, str(uuid.UUID(int=1))
        for ask in (self._bind, self._show_binding, self._activate,
                    self._unbind):
            ask('beta', of=' of an unknown port')
        self._show_port(of=' that is unknown')
        self._update_port('unknown', {'device_id': ''})
        self._port = known

    def _server_goes(self) -> None:
        self._update_port('unbind', {
            'device_id': '', 'device_owner': '', 'binding:host_id': None,
            'binding:profile': {}})
        self._show_port()
        self._show_binding('alpha')

    def _user_deletes_the_port(self) -> None:
        self._http('DELETE', f'/ports/{self._port}', NOTHING, ())
        self._http('GET', f'/ports/{self._port}', 'port', _PORT)
        self._http('DELETE', f'/ports/{self._port}', NOTHING, ())
        self._http('GET', '/ports?name=vf', 'ports', _PORT)

    # -- requests ------------------------------------------------------------

    def _show_port(self, of: str = '') -> None:
        self._client(f'show the port{of}', 'port', _PORT, 'show_port',
                     self._port)

    def _update_port(self, why: str, body: Document) -> None:
        self._client(f'update the port: {why}', 'port', _PORT, 'update_port',
                     self._port, {'port': body})

    def _show_binding(self, host: str, of: str = '') -> None:
        self._client(f'show the binding to {host}{of}', 'binding', _BINDING,
                     'show_port_binding', self._port, host)

    def _bind(self, host: str, of: str = '') -> None:
        self._client(f'make a binding to {host}{of}', 'binding', _BINDING,
                     'create_port_binding', self._port, {'binding': {
                         'host': host, 'vnic_type': 'direct',
                         'profile': _profile(host)}})

    def _activate(self, host: str, of: str = '') -> None:
        # Nova does not look at what it says.
        self._client(f'activate the binding to {host}{of}', NOTHING, (),
                     'activate_port_binding', self._port, host)

    def _unbind(self, host: str, of: str = '') -> None:
        self._client(f'delete the binding to {host}{of}', NOTHING, (),
                     'delete_port_binding', self._port, host)

    def _http(self, method: str, path: str, kind: str,
              fields: tuple[str, ...], body: Document | None = None,
              ) -> Document:
        code, answer = self._side.http(method, path, body)
        port = getattr(self, '_port', None)
        shown = path.replace(port, 'PORT') if port else path
        self._note(f'{method} {shown}', str(code),
                   answer if code < 300 else {}, kind, fields)
        return answer

    def _client(self, request: str, kind: str, fields: tuple[str, ...],
                method: str, *arguments: typing.Any,
                **keywords: typing.Any) -> None:
        code, answer = asked(getattr(self._side.client, method), *arguments,
                             **keywords)
        self._note(request, code, answer, kind, fields)

    def _note(self, request: str, code: str, answer: Document, kind: str,
              fields: tuple[str, ...]) -> None:
        facts: dict[str, str] = {}
        if kind in answer and kind.endswith('s'):
            facts['number'] = str(len(answer[kind]))
            for item in answer[kind]:
                facts |= _facts(item, fields, self._side.network)
        elif kind in answer:
            facts = _facts(answer[kind], fields, self._side.network)
        number = 1 + sum(one.request.split(' (')[0] == request
                         for one in self.answers)
        if number > 1:
            request = f'{request} ({number})'
        self.answers.append(Answer(request, code, facts))


def asked(method: Callable[..., typing.Any], *arguments: typing.Any,
          **keywords: typing.Any) -> tuple[str, Document]:
    """Ask through a client of Nova: how it went, and the answer."""
    try:
        return 'done', method(*arguments, **keywords) or {}
    except exceptions.NeutronClientException as error:
        return str(error.status_code), {}
    except exception.NovaException as error:
        # No client of Neutron would raise it.
        return type(error).__name__, {}
    except (KeyError, TypeError) as error:
        return f'{type(error).__name__}', {}


def _profile(host: str, vf: str | None = None) -> Document:
    return {'pci_slot': vf or VFS.get(host, VFS['alpha']),
            'pci_vendor_info': '8086:1515', 'physical_network': 'physnet4'}


def _facts(item: Document, fields: tuple[str, ...],
           network: str) -> dict[str, str]:
    facts = {}
    for field in fields:
        value = item.get(field, '(none)')
        if value == network:
            value = 'NETWORK'
        if isinstance(value, dict) and value:
            facts.update({f'{field}.{key}': str(one)
                          for key, one in value.items()})
        else:
            facts[field] = str(value)
    return facts
