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

"""How two hosts agree to swap, inside the objects that Nova exchanges anyway.

The source's offer and the destination's answer lie in the ``meta`` of each
``VIFMigrateData.source_vif``, which Nova carries from host to host and does
not look into. A host without the plugin returns it as it came.
"""

from collections.abc import Container
import copy
import typing

from nova.network import model
from nova.objects import migrate_data as migrate_data_objects

from nova_vf_failover import nova_types

MigrateData = nova_types.MigrateData
MigrateVIF = nova_types.MigrateVIF

KEY = 'vf_failover'
VERSION = 1


def is_vf(vif: model.VIF) -> bool:
    """Whether this is a port on a VF that is not switched by the NIC.

    Ports of other types, VFs in switchdev mode and whole PFs among them, stay
    with Nova.
    """
    return bool(
        vif['vnic_type'] == model.VNIC_TYPE_DIRECT
        and vif['type'] == model.VIF_TYPE_HW_VEB
        and (vif.get('profile') or {}).get('pci_slot'))


class Offer:
    """The source's offer to swap one port, as both hosts see it."""

    def __init__(self, migrate_vif: MigrateVIF) -> None:
        self._migrate_vif = migrate_vif

    @property
    def source_vif(self) -> model.VIF:
        """The port on the source; also its binding there."""
        return self._migrate_vif.source_vif

    @property
    def required(self) -> bool:
        """Whether the server is not to be migrated without a standby."""
        return self._terms.get('policy') == 'required'

    @property
    def answered(self) -> bool:
        """Whether the destination will plug a standby for it."""
        return bool(self._terms.get('standby'))

    @property
    def declined(self) -> str:
        """Why the destination wants it done without a standby, or empty."""
        return str(self._terms.get('declined', ''))

    def destination_vif(self) -> model.VIF:
        """The port with its binding on the destination."""
        return self._migrate_vif.get_dest_vif()

    def destination_profile(self) -> model.VIF:
        """The port with the VF claimed for it, before it has a binding."""
        vif = copy.deepcopy(self.source_vif)
        vif['profile'] = self._migrate_vif.profile
        return vif

    def answer(self, standby: dict[str, typing.Any]) -> None:
        """Say that this VIF is what the guest will find on arrival.

        Nova plugs it on the destination, and the source writes it into the
        XML that the guest arrives with (``_update_vif_xml``).
        """
        self._migrate_vif.vif_type = standby['type']
        self._migrate_vif.vnic_type = standby['vnic_type']
        self._migrate_vif.vif_details = standby['details']
        self._migrate_vif.profile = standby['profile']
        self._say(standby=standby['type'])

    def decline(self, reason: str) -> None:
        """Say that this port has to be migrated as Nova does by itself."""
        self._say(declined=reason)

    @property
    def _terms(self) -> dict[str, typing.Any]:
        terms: dict[str, typing.Any] = self.source_vif['meta'][KEY]
        return terms

    def _say(self, **terms: str) -> None:
        # Nova sends on only what has been set.
        vif = copy.deepcopy(self.source_vif)
        vif['meta'][KEY].update(terms)
        self._migrate_vif.source_vif = vif


def offer(data: MigrateData, network_info: model.NetworkInfo,
          required: bool, away: Container[str] = ()) -> None:
    """Put an offer for every VF port into what goes to the destination.

    :param required: it is not to be migrated as Nova does by itself
    :param away: the ports that cannot be, for they are on their standby
    """
    data.vifs = migrate_data_objects.VIFMigrateData \
        .create_skeleton_migrate_vifs(copy.deepcopy(list(network_info)))
    for migrate_vif in data.vifs:
        vif = migrate_vif.source_vif
        if is_vf(vif):
            vif['meta'][KEY] = {
                'version': VERSION, 'policy': 'required' if (
                    required or vif['id'] in away) else 'native'}


def offers(
    data: MigrateData | None,
) -> list[Offer]:
    """The offers that have not been declined."""
    return [offer for offer in _all(data) if not offer.declined]


def source_vfs(
    data: MigrateData | None,
) -> list[model.VIF]:
    """The VF ports of the server with their binding on the source."""
    return [migrate_vif.source_vif for migrate_vif in _vifs(data)
            if is_vf(migrate_vif.source_vif)]


def unanswered(
    data: MigrateData | None,
) -> set[str]:
    """The ports whose offer the destination has left without an answer."""
    return {offer.source_vif['id'] for offer in offers(data)
            if not offer.answered}


def _all(
    data: MigrateData | None,
) -> list[Offer]:
    return [Offer(migrate_vif) for migrate_vif in _vifs(data)
            if KEY in migrate_vif.source_vif['meta']]


def _vifs(
    data: MigrateData | None,
) -> list[MigrateVIF]:
    if not data or 'vifs' not in data:
        return []
    return [migrate_vif for migrate_vif in data.vifs
            if 'source_vif' in migrate_vif and migrate_vif.source_vif]
