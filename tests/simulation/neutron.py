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

"""The stand-in for Neutron: Nova's own, and direct ports as Neutron has them.

What Nova asks of a direct port in a boot and a migration is answered as a real
Neutron with ``sriovnicswitch`` does; ``tox -e neutron`` asks both the same and
names what is different still.
"""

import copy
import typing

from neutronclient.common import exceptions
from nova.tests.functional.libvirt import base as nova_base

Document = dict[str, typing.Any]

ACTIVE, INACTIVE, DOWN = 'ACTIVE', 'INACTIVE', 'DOWN'

_UNBOUND: Document = {'vif_type': 'unbound', 'vif_details': {}}


class SimulatedNeutron(nova_base.LibvirtNeutronFixture):
    """Ports, their bindings, and networks."""

    def __init__(self, test: typing.Any) -> None:
        super().__init__(test)
        #: by ID of the ports that were added here, the VLAN; 0 is a flat one
        self._vlans: dict[str, str] = {}

    def add_direct_port(self, port: Document, vlan: str) -> None:
        """A port that nobody has bound yet."""
        port.update({
            'device_id': '', 'device_owner': '', 'status': DOWN,
            'binding:host_id': '', 'binding:vif_type': 'unbound',
            'binding:vnic_type': 'direct', 'binding:vif_details': {},
            'binding:profile': {}})
        self._vlans[port['id']] = vlan
        self._ports[port['id']] = port

    def vlan_of(self, port_id: str) -> int:
        """That of a port which was added here; 0 on a flat network."""
        return int(self._vlans[port_id])

    # -- ports ---------------------------------------------------------------

    def show_port(self, port_id: str, **parameters: typing.Any) -> Document:
        self._find(port_id)
        return super().show_port(port_id, **parameters)

    def update_port(self, port_id: str,
                    body: Document | None = None) -> Document:
        port = self._find(port_id)
        if port_id not in self._vlans:
            return super().update_port(port_id, body)
        changes = copy.deepcopy((body or {})['port'])
        self._validate_type(port, changes)
        self._rebind(port, changes)
        port.update(changes)
        return {'port': self.show_port(port_id)['port']}

    def _validate_type(self, port: Document, changes: Document) -> None:
        wanted = changes.get('binding:vnic_type', port['binding:vnic_type'])
        if (port['binding:vif_type'] != 'unbound'
                and wanted != port['binding:vnic_type']):
            raise _refused(409, f'Port {port["id"]} is in use.')

    def _rebind(self, port: Document, changes: Document) -> None:
        """The active binding is changed, and never left beside a new one.

        :param changes: those to the port; those to its binding are taken out
        """
        bindings = self._port_bindings[port['id']]
        before, binding = self._get_active_binding(port['id'])
        host = changes.pop('binding:host_id', before) or ''
        profile = changes.pop('binding:profile',
                              binding.get('profile', {})) or {}
        bindings.pop(before, None)
        bound = self._bound(port, host, profile) if host else _UNBOUND
        if host:
            bindings[host] = {**bound, 'status': ACTIVE}
        port.update({
            'status': ACTIVE if host else DOWN, 'binding:host_id': host,
            'binding:profile': profile,
            'binding:vif_type': bound['vif_type'],
            'binding:vif_details': copy.deepcopy(bound['vif_details'])})

    def delete_port(self, port_id: str, **parameters: typing.Any) -> None:
        self._find(port_id)
        super().delete_port(port_id, **parameters)

    def _merge_in_active_binding(self, port: Document) -> None:
        super()._merge_in_active_binding(port)
        if port['id'] in self._vlans and port['binding:host_id']:
            port['binding:vif_details'] = {
                **port['binding:vif_details'],
                'bound_drivers': {'0': 'sriovnicswitch'}}

    # -- bindings ------------------------------------------------------------

    def create_port_binding(self, port_id: str, body: Document) -> Document:
        port, wanted = self._find(port_id), body['binding']
        bindings = self._port_bindings[port_id]
        if wanted['host'] in bindings:
            raise _refused(409, f'Binding for port {port_id} on host '
                                f'{wanted["host"]} already exists.')
        if port_id not in self._vlans:
            return super().create_port_binding(port_id, body)
        host, _ = self._get_active_binding(port_id)
        binding = bindings[wanted['host']] = {
            **self._bound(port, wanted['host'], wanted.get('profile') or {}),
            'status': INACTIVE if host else ACTIVE}
        return {'binding': copy.deepcopy(binding)}

    def activate_port_binding(self, port_id: str, host_id: str) -> None:
        self._validate_port_binding(port_id, host_id)
        before, binding = self._get_active_binding(port_id)
        if before == host_id:
            raise _refused(409, f'Binding for port {port_id} on host '
                                f'{host_id} is already active.')
        super().activate_port_binding(port_id, host_id)
        if port_id in self._vlans and binding:
            self._port_bindings[port_id][before].update(
                copy.deepcopy(_UNBOUND))

    def _validate_port_binding(self, port_id: str, host_id: str) -> None:
        port = self._find(port_id)
        if (port_id in self._vlans
                and not port['device_owner'].startswith('compute:')):
            raise _refused(400, f'Invalid port {port_id}. Operation only '
                                'valid on compute ports.')
        super()._validate_port_binding(port_id, host_id)

    def _bound(self, port: Document, host: str,
               profile: Document) -> Document:
        """What ``sriovnicswitch`` makes of a binding, on whatever host."""
        return {'host': host, 'vnic_type': port['binding:vnic_type'],
                'vif_type': 'hw_veb', 'profile': copy.deepcopy(profile),
                'vif_details': {'port_filter': False, 'connectivity': 'l2',
                                'vlan': self._vlans[port['id']]}}

    def _find(self, port_id: str) -> Document:
        if port_id not in self._ports:
            raise exceptions.PortNotFoundClient(
                message=f'Port {port_id} could not be found.')
        return self._ports[port_id]


def _refused(code: int, why: str) -> exceptions.NeutronClientException:
    return exceptions.NeutronClientException(status_code=code, message=why)
