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

"""Whether a server could be swapped now, asked before anything is done."""

from __future__ import annotations

from nova import objects

from nova_vf_failover import claims as vf_claims
from nova_vf_failover import conversation as conversations
from nova_vf_failover import domain
from nova_vf_failover import exception
from nova_vf_failover import ports as vf_ports
from nova_vf_failover.standby import base as standbys

Port = vf_ports.Port


class Readiness:
    """What a failover of one server needs; looking changes nothing."""

    def __init__(self, instance: objects.Instance, guest: domain.Domain,
                 claims: vf_claims.ServerClaims, standby: standbys.Standby,
                 conversation: conversations.Conversation) -> None:
        self._instance = instance
        self._guest = guest
        self._claims = claims
        self._standby = standby
        self._conversation = conversation

    def check(self, ports: list[Port]) -> None:
        """:raises exception.CannotSwap: one of these ports cannot leave"""
        for port in ports:
            self._check_port(port)
        self._check_slots(ports)
        if ports:
            self._conversation.check(ports)

    def _check_port(self, port: Port) -> None:
        self._check_mac(port)
        self._claims.find(port.vif)
        self._standby.check(port.vif)
        if self._guest.primary(port.mac) is None:
            raise exception.CannotSwap(
                exception.ports(port.id),
                f'the guest has no VF with the MAC {port.mac}.',
                'Hard reboot the server to have its VF plugged anew.')

    def _check_mac(self, port: Port) -> None:
        """See whether the agent could take another NIC for the standby.

        Neutron has a MAC once in a network; a server may be in several.
        """
        for vif in self._instance.get_network_info():
            if vif['id'] != port.id and vif['address'].lower() == port.mac:
                raise exception.CannotSwap(
                    exception.ports(port.id),
                    f'port {vif["id"]} of the server has the same MAC '
                    f'{port.mac}, by which its guest finds the standby.',
                    'Give one of them another MAC.')

    def _check_slots(self, ports: list[Port]) -> None:
        needed = sum(self._guest.standby(port.mac) is None for port in ports)
        free = self._guest.free_slots()
        if free is not None and free < needed:
            raise exception.CannotSwap(
                exception.server(self._instance.uuid),
                f'the guest has {free} free PCI slots and its standby NICs '
                f'need {needed}.',
                'Raise [libvirt] num_pcie_ports and hard reboot the server.')
