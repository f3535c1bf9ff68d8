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

"""What a move would do to the ports of a guest, and what is in its way."""

import collections
import socket
import typing

from nova_vf_failover.guest import addresses
from nova_vf_failover.guest import attachments
from nova_vf_failover.guest import configurators
from nova_vf_failover.guest import dressing
from nova_vf_failover.guest import firewall
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import multicast
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import obstacles
from nova_vf_failover.guest import outfit
from nova_vf_failover.guest import routes
from nova_vf_failover.guest import rtnetlink
from nova_vf_failover.guest import switch

Ports = typing.List[intents.Port]
Found = typing.Dict[str, typing.List[str]]
Primaries = typing.Dict[str, dressing.Dressed]


class Inspection:
    """Looks, and changes nothing."""

    def __init__(self, kernel: netlink.Netlink, nics: links.Links,
                 switch_: switch.Switch) -> None:
        self._kernel = kernel
        self._nics = nics
        self._switch = switch_

    def check(self, ports: Ports) -> None:
        """:raises intents.Refused: it would not work, and all reasons"""
        found = self._obstacles(ports, self._primaries(ports))
        sentences = [sentence for port in ports
                     for sentence in found[port.mac]]
        if sentences:
            raise intents.Refused(in_one(sentences))

    def candidates(self) -> Ports:
        """Each NIC that could be a primary, by its name."""
        return [intents.Port(nic.name, nic.mac)
                for nic in self._nics.candidates()]

    def describe(self, ports: Ports) -> typing.List[intents.Document]:
        """What there is of each port, in numbers and sentences."""
        primaries = self._primaries(ports)
        found = self._obstacles(ports, primaries)
        return [dict(self._describe(port, primaries.get(port.mac)),
                     obstacles=found[port.mac]) for port in ports]

    def _primaries(self, ports: Ports) -> Primaries:
        """Those that are there, by MAC."""
        nics = [nic for nic in (
            self._nics.primary(port.mac) for port in ports) if nic]
        return {nic.mac: dressing.Dressed(nic, worn) for nic, worn in zip(
            nics, dressing.take(self._kernel, nics))}

    def _obstacles(self, ports: Ports,
                   primaries: Primaries) -> Found:
        found = self._rules(primaries)
        for port in ports:
            if port.mac in primaries:
                found[port.mac] = obstacles.of(
                    self._kernel, self._nics,
                    primaries[port.mac].nic) + found.get(port.mac, [])
            else:
                found[port.mac] = [obstacles.missing(port)]
        return found

    def _rules(self, primaries: Primaries) -> Found:
        """Why the rules leave no place for the twins of each port."""
        found: Found = {}
        try:
            self._twins(primaries.values())
        except intents.Refused as together:
            for mac, primary in primaries.items():
                try:
                    self._twins([primary])
                except intents.Refused as alone:
                    found[mac] = ['%s: %s' % (primary.nic.name, alone)]
            if not found:
                found = {mac: [str(together)] for mac in primaries}
        return found

    def _twins(self, primaries: typing.Iterable[dressing.Dressed]) -> int:
        """How many rules would get a twin.

        :raises intents.Refused: see :class:`.switch.Switch`
        """
        # There need be no standby yet, and how many there are does not depend
        # on its name.
        return self._switch.check([
            switch.Away(worn, nic.index, standby=nic, stayed=True)
            for nic, worn in primaries])

    def _describe(
            self, port: intents.Port,
            primary: typing.Optional[dressing.Dressed]) -> intents.Document:
        standby = self._nics.standby(port.mac)
        document: intents.Document = {
            'id': port.id, 'mac': port.mac, 'primary': None,
            'standby': standby.name if standby else None, 'warnings': []}
        if primary:
            nic = primary.nic
            document.update(
                primary=nic.name, driver=nic.driver,
                rules=self._number_of_twins(primary), **_counts(primary.worn))
            document['warnings'] = _tentative(primary) + _virtual(
                primary) + _leases(primary) + attachments.of(
                    self._kernel, nic) + firewall.Firewall().warnings(
                    nic, standby)
        return document

    def _number_of_twins(self, primary: dressing.Dressed) -> int:
        try:
            return self._twins([primary])
        except intents.Refused:
            return 0


def in_one(sentences: typing.List[str]) -> str:
    """Sentences as one text, none of them twice."""
    return ' '.join(sorted(set(sentences), key=sentences.index))


def _counts(worn: outfit.Outfit) -> intents.Document:
    found = [rtnetlink.family(body) for body in worn.addresses]
    tables = collections.Counter(
        str(routes.table(body)) for body in worn.all_routes)
    return {
        'addresses': {'ipv4': found.count(socket.AF_INET),
                      'ipv6': found.count(socket.AF_INET6)},
        'routes': {'total': sum(tables.values()), 'tables': dict(tables)},
        'neighbours': len(worn.neighbours),
        'groups': len(worn.groups)}


def _leases(primary: dressing.Dressed) -> typing.List[str]:
    """A program that is bound to the old index knows nothing of a new VF."""
    if configurators.renews(primary.nic):
        return []
    return ['Nobody is known to renew %s of %s after a move; it ends with its '
            'lease.' % (addresses.plain(body)[1], primary.nic.name)
            for body in addresses.leased(primary.worn.addresses)]


def _virtual(primary: dressing.Dressed) -> typing.List[str]:
    """A program that loses its NIC tells nobody to give its addresses up."""
    if multicast.VRRP.isdisjoint(primary.worn.groups):
        return []
    return ['A program speaks VRRP on %s: its virtual addresses go along to '
            'the standby and the program does not, so that another router may '
            'take them over meanwhile.' % primary.nic.name]


def _tentative(primary: dressing.Dressed) -> typing.List[str]:
    return ['It is not known yet whether %s of %s is free; it is not moved.'
            % (addresses.plain(body)[1], primary.nic.name)
            for body in addresses.in_doubt(primary.worn.addresses)]
