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

"""What a NIC wears: all that a guest may have on it.

An outfit is taken from a primary before anything is changed, see
:mod:`.dressing`. It has to survive the agent, as a part of its snapshot.
"""

import socket
import time
import typing

from nova_vf_failover.guest import addresses
from nova_vf_failover.guest import detours
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import routes
from nova_vf_failover.guest import rtnetlink
from nova_vf_failover.guest import sysctl

Bodies = typing.List[bytes]

# What the kernel has printed, and each may be very many: as one text.
_PRINTED = ('addresses', 'neighbours', 'nexthops', 'leading', 'routes',
            'rules', 'qdiscs')
# Of its DNS servers.
_KNOWN = ('nameservers', 'substitute')


class Outfit:
    """What one NIC wore, and what became of it since.

    Addresses and so on are as the kernel has printed them.

    :ivar name: the name of the NIC
    :ivar index: its index
    :ivar link: what its owner has set of the NIC itself
    :ivar taken: when that was, in seconds of the clock
    :ivar sysctls: every value that it had for itself
    :ivar unusual: those that a new NIC would not have
    :ivar groups: the multicast groups that programs listened to
    :ivar addresses: without those that the guest has taken from the standby
    :ivar neighbours: that it could reach, and those that it was a proxy for
    :ivar asked: the family and address of neighbours that can be asked
        something, the gateways first
    :ivar nexthops: the nexthop objects that lead over it
    :ivar leading: its routes before which no other one is used
    :ivar routes: its other routes
    :ivar rules: policy rules that are there for it, without those that were
        removed while it was in use
    :ivar qdiscs: its queueing disciplines
    :ivar replicated: whether the standby got what the primary got, so that
        the primary was set down
    :ivar alone_on: the index of a VF that was seen since to get what the
        standby does not
    :ivar nameservers: what systemd-resolved knew of it, by the settings of
        resolvectl, as long as the standby is to know the same
    :ivar substitute: what NetworkManager knew of it, as long as a substitute
        has the same
    """

    def __init__(self, name: str, index: int, link: links.Appearance,
                 taken: float, sysctls: sysctl.Values, unusual: sysctl.Values,
                 groups: typing.List[str]) -> None:
        self.name = name
        self.index = index
        self.link = link
        self.taken = taken
        self.sysctls = sysctls
        self.unusual = unusual
        self.groups = groups
        self.addresses: Bodies = []
        self.neighbours: Bodies = []
        self.asked: typing.List[typing.Tuple[int, str]] = []
        self.nexthops: Bodies = []
        self.leading: Bodies = []
        self.routes: Bodies = []
        self.rules: Bodies = []
        self.qdiscs: Bodies = []
        self.replicated = False
        self.alone_on: typing.Optional[int] = None
        self.nameservers: typing.Optional[
            typing.Dict[str, typing.List[str]]] = None
        self.substitute: typing.Optional[
            typing.Dict[str, typing.List[str]]] = None

    @classmethod
    def from_document(cls, document: intents.Document) -> 'Outfit':
        """An outfit that was kept, by this release or an earlier one."""
        link = document['link']
        made = cls(
            document['name'], document['index'],
            links.Appearance(*(link[key] for key in links.Appearance._fields)),
            document['taken'], document['sysctls'], document['unusual'],
            document['groups'])
        for key in _PRINTED:
            # Earlier releases kept no rules.
            setattr(made, key, netlink.from_text(document.get(key, '')))
        made.asked = [(family, address)
                      for family, address in document['asked']]
        # What is not so, and what an earlier release did not know, is not
        # there.
        made.replicated = document.get('replicated', False)
        made.alone_on = document.get('alone_on')
        for key in _KNOWN:
            setattr(made, key, document.get(key))
        return made

    def to_document(self) -> intents.Document:
        """What :meth:`from_document` reads, in JSON's own types."""
        document: intents.Document = {
            'name': self.name, 'index': self.index,
            'link': dict(self.link._asdict()), 'taken': self.taken,
            'sysctls': self.sysctls, 'unusual': self.unusual,
            'groups': self.groups, 'asked': self.asked}
        for key in _PRINTED:
            document[key] = netlink.to_text(getattr(self, key))
        if self.replicated:
            document['replicated'] = True
        if self.alone_on is not None:
            document['alone_on'] = self.alone_on
        for key in _KNOWN:
            known = getattr(self, key)
            if known is not None:
                document[key] = known
        return document

    # -- what it is ---------------------------------------------------------

    @property
    def age(self) -> float:
        """Seconds since it was taken, which lives have lost."""
        return time.time() - self.taken

    @property
    def all_routes(self) -> Bodies:
        """The leading ones first."""
        return self.leading + self.routes

    @property
    def is_routers(self) -> bool:
        """Whether others were told that we are a router of IPv6."""
        return sysctl.is_routers(self.sysctls)

    @property
    def settled(self) -> Bodies:
        """The addresses of which nobody doubts that they are ours."""
        return addresses.in_use(self.addresses)

    def addresses_of(self, family: int) -> Bodies:
        return [body for body in self.addresses
                if rtnetlink.family(body) == family]

    def delivered(self) -> typing.Set[bytes]:
        """The addresses of IPv6 for which the other NIC must take over."""
        return {addresses.destination(body) for body in addresses.in_use(
            self.addresses_of(socket.AF_INET6))}

    def voices(self) -> typing.List[typing.Tuple[int, str]]:
        """The address of each family that others are told of.

        One is enough for switches to learn the way to the MAC, and neighbours
        have that already. What is said of another one would draw it to this
        guest: several hosts may have it, and hide it from ARP.
        """
        return [addresses.plain(body)
                for body in addresses.voices(self.settled)]

    def stayed_on(self, nic: links.Nic) -> bool:
        """Whether a primary is as it was left: there, and never down."""
        return (nic.index == self.index and nic.up and nic.carrier
                and not self.replicated)

    def hears_the_same(self, nic: links.Nic) -> bool:
        """Whether what comes in on a VF comes in on the standby as well.

        What is known of that was seen on the NIC that the server comes from;
        of a VF that was looked at since it is not true.
        """
        return self.replicated and self.alone_on != nic.index

    # -- what becomes of it ---------------------------------------------------

    def forget_ways(self, index: int) -> None:
        """Leave out of its routes what leads over another NIC."""
        self.change_routes(lambda bodies: detours.without(bodies, index))

    def change_routes(self, changed: typing.Callable[
            [Bodies], typing.Iterable[bytes]]) -> None:
        """Have other routes, in the same order.

        :param changed: makes those of one kind
        """
        self.leading = list(changed(self.leading))
        self.routes = list(changed(self.routes))

    def forget_rules(self, removed: typing.Iterable[bytes]) -> None:
        """Leave out rules that were removed while the NIC was in use."""
        gone = set(removed)
        self.rules = [body for body in self.rules if body not in gone]

    def places_of_the_kernel(self) -> typing.Set[typing.Any]:
        """Of its routes that the kernel has made for an address."""
        return {routes.same_place(body) for body in self.all_routes
                if routes.of_the_kernel(body)}
