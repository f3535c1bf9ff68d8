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

"""How outfits are taken from NICs, and put on others."""

import errno
import logging
import socket
import time
import typing

from nova_vf_failover.guest import addresses
from nova_vf_failover.guest import advertised
from nova_vf_failover.guest import detours
from nova_vf_failover.guest import gateways
from nova_vf_failover.guest import links
from nova_vf_failover.guest import multicast
from nova_vf_failover.guest import neighbours
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import nexthops
from nova_vf_failover.guest import outfit
from nova_vf_failover.guest import qdiscs
from nova_vf_failover.guest import routes
from nova_vf_failover.guest import rtnetlink
from nova_vf_failover.guest import rules
from nova_vf_failover.guest import switch
from nova_vf_failover.guest import sysctl

LOG = logging.getLogger(__name__)

#: a NIC, and what it wears, or is to wear
Dressed = typing.NamedTuple('Dressed', [
    ('nic', links.Nic), ('worn', outfit.Outfit)])

# While a standby is parked nobody may hear from it: its MAC is not ours.
_QUIET = {sysctl.ARP_IGNORE: '8', sysctl.ARP_NOTIFY: '0',
          sysctl.NDISC_NOTIFY: '0'}


def take(kernel: netlink.Netlink,
         nics: typing.Iterable[links.Nic]) -> typing.List[outfit.Outfit]:
    """The outfits of NICs as they are now."""
    hops = nexthops.Nexthops(kernel)
    every = routes.Routes(kernel, hops)
    owners = switch.owners_rules(kernel)
    return [_take(kernel, nic, hops, every, owners) for nic in nics]


def _take(kernel: netlink.Netlink, nic: links.Nic, hops: nexthops.Nexthops,
          every: routes.Routes, owners: typing.List[rules.Rule],
          ) -> outfit.Outfit:
    sysctls = sysctl.snapshot(nic.name)
    leading, others = every.over(nic.index)
    known = neighbours.of(kernel, nic.index)
    own = addresses.of(kernel, nic.index)
    worn = outfit.Outfit(
        nic.name, nic.index, links.appearance(nic), time.time(), sysctls,
        sysctl.unusual(sysctls), multicast.groups(nic.name))
    worn.addresses = own
    worn.neighbours = known
    worn.asked = _asked(known, leading + others)
    worn.nexthops = hops.over(nic.index)
    worn.leading = leading
    worn.routes = others
    worn.rules = _rules(nic, leading + others, own, owners)
    worn.qdiscs = qdiscs.of(kernel, nic.index)
    return worn


def _rules(nic: links.Nic, every: typing.List[bytes],
           own: typing.List[bytes],
           owners: typing.List[rules.Rule]) -> typing.List[bytes]:
    tables = {(rtnetlink.family(body), routes.table(body)) for body in every}
    return [rule.body for rule in rules.concerning(
        owners, tables, nic.name, set(map(addresses.destination, own)))]


# -- on a standby -------------------------------------------------------------

def put_on_standby(kernel: netlink.Netlink, nic: links.Nic,
                   worn: outfit.Outfit) -> None:
    """Dress a parked standby, as far as nobody hears of it."""
    # What the guest may have put there by itself.
    addresses.remove(kernel, nic.index)
    wanted = dict(worn.sysctls)
    if sysctl.is_routers(wanted):
        # The kernel would say that it joins the groups of all routers
        # (net/ipv6/addrconf.c, dev_forward_change).
        del wanted[sysctl.FORWARDING]
    wanted.update(_QUIET)
    wanted.update({sysctl.RP_FILTER: sysctl.loose_filter(worn.sysctls),
                   sysctl.ACCEPT_DAD: '0',
                   sysctl.ACCEPT_RA: '0', sysctl.ADDR_GEN_MODE: '1'})
    sysctl.write_changed(nic.name, wanted)
    kernel.ask([links.dressed(nic, worn.link, flags=False),
                links.changed(nic, up=True)])
    kernel.ask(addresses.put_quietly(
        worn.addresses_of(socket.AF_INET), nic.index))
    _put_qdiscs(kernel, nic, worn)


def show_standby(kernel: netlink.Netlink, nic: links.Nic, mac: str,
                 worn: outfit.Outfit) -> None:
    """Give a dressed standby its MAC, and what is seen by others."""
    # With a MAC a NIC forgets its neighbours (net/core/neighbour.c,
    # neigh_changeaddr).
    kernel.ask([links.changed(nic, mac=mac)])
    if worn.is_routers:
        # Before an address is asked for, for the answer tells of it.
        sysctl.write_changed(nic.name, {
            sysctl.FORWARDING: worn.sysctls[sysctl.FORWARDING]})
    kernel.ask(addresses.put_quietly(
        worn.addresses_of(socket.AF_INET6), nic.index)
        + neighbours.put(worn.neighbours, nic.index))


def has_lost(kernel: netlink.Netlink, nic: links.Nic,
             worn: outfit.Outfit) -> bool:
    """Whether a standby in use has been set down, if only for a moment.

    The kernel takes the addresses of IPv6 from what is set down, and every
    route over it.
    """
    wanted = {addresses.plain(body) for body in addresses.in_use(
        worn.addresses_of(socket.AF_INET6))}
    present = {addresses.plain(body)
               for body in addresses.of(kernel, nic.index)}
    return not nic.up or not wanted <= present


def let_standby_speak(nic: links.Nic, worn: outfit.Outfit) -> None:
    """Give a standby its outfit's values for those that kept it quiet."""
    sysctl.write_changed(nic.name, {
        name: worn.sysctls[name] for name in _QUIET
        if name in worn.sysctls})


def end_overlap(nic: links.Nic, worn: outfit.Outfit) -> None:
    """On a standby beside which the primary is down."""
    sysctl.write_changed(nic.name, {
        sysctl.RP_FILTER: worn.sysctls[sysctl.RP_FILTER]})


def take_off_standby(kernel: netlink.Netlink, nic: links.Nic) -> None:
    """Leave nothing on a standby that is of no more use."""
    kernel.ask([links.changed(nic, up=False)])
    addresses.remove(kernel, nic.index)
    mine = routes.Routes(kernel, nexthops.Nexthops(kernel)).over(nic.index)
    kernel.ask(detours.remove(mine[0] + mine[1]), detours.HARMLESS)


def lead_away(kernel: netlink.Netlink, nic: links.Nic) -> None:
    """Have nothing sent over a NIC any more, where there are other ways."""
    mine = routes.Routes(kernel, nexthops.Nexthops(kernel)).over(nic.index)
    kernel.ask(detours.remove(detours.only(mine[0] + mine[1], nic.index)),
               detours.HARMLESS)


# -- on a primary -----------------------------------------------------------

def open_primary(nic: links.Nic, worn: outfit.Outfit,
                 link_local: bool = False) -> None:
    """Set what a VF has to have before it is up.

    :param link_local: leave it to others to have that address made
    """
    wanted = dict(worn.unusual, **{
        sysctl.RP_FILTER: sysctl.loose_filter(worn.sysctls),
        sysctl.ACCEPT_DAD: '0',
        sysctl.ADDR_GEN_MODE: '1'})
    if link_local:
        del wanted[sysctl.ADDR_GEN_MODE]
    sysctl.write_changed(nic.name, wanted)


def put_on_primary(kernel: netlink.Netlink, nic: links.Nic,
                   worn: outfit.Outfit, known: typing.List[bytes],
                   configured: bool) -> None:
    """Dress a VF, with what is left of the lives of its addresses.

    :param known: neighbours
    :param configured: addresses that it has got meanwhile have newer lives
    """
    open_primary(nic, worn)
    present = ({addresses.plain(body)
                for body in addresses.of(kernel, nic.index)}
               if configured else set())
    kernel.ask([links.dressed(nic, worn.link, flags=True),
                links.changed(nic, up=True)]
               + addresses.put(
                   [body for body in worn.settled
                    if addresses.plain(body) not in present],
                   nic.index, worn.age)
               + neighbours.put(known, nic.index))
    _put_qdiscs(kernel, nic, worn)


def put_rules(kernel: netlink.Netlink, dressed: typing.List[Dressed]) -> None:
    """Put the rules of these outfits that are there no more.

    Who has removed them with a NIC has put them again already, if it was
    quick enough: a kernel before 4.2 would have them twice.
    """
    kept = dict.fromkeys(
        body for _, worn in dressed for body in worn.rules)
    kernel.ask(rules.put(rules.missing(kept, switch.owners_rules(kernel))),
               (errno.EEXIST,))


def put_doubtful(nic: links.Nic, worn: outfit.Outfit) -> None:
    """Give a VF in use the addresses about which the kernel has to ask.

    While both NICs were up it would have heard itself; without a question
    they would be taken from whoever has them.
    """
    doubtful = addresses.in_doubt(worn.addresses)
    if not doubtful:
        return
    with netlink.Netlink() as kernel:
        present = {addresses.plain(body)
                   for body in addresses.of(kernel, nic.index)}
        for _, refusal in kernel.attempt(addresses.put(
                [body for body in doubtful
                 if addresses.plain(body) not in present],
                nic.index, worn.age)):
            LOG.warning('%s goes without an address that was in doubt: %s',
                        nic.name, refusal)
        _drop_unwanted_routes(kernel, [Dressed(nic, worn)])


def put_routes(kernel: netlink.Netlink, dressed: typing.List[Dressed],
               routers: advertised.Advertised) -> None:
    """Put the routes of all these outfits into their own tables.

    :param routers: what the kernel makes of their advertisements
    """
    indexes = {worn.index: nic.index for nic, worn in dressed}
    present = nexthops.Nexthops(kernel).bodies
    objects = {nexthops.identity(body): body for _, worn in dressed
               for body in worn.nexthops}
    leading = [worn.leading for _, worn in dressed]
    parts = [(routers.behind(nic, worn.routes, worn.sysctls), worn.age)
             for nic, worn in dressed]
    ways = switch.ways_for(objects.values(), indexes)
    for bodies in leading + [bodies for bodies, _ in parts]:
        its = detours.ways(bodies, indexes)
        ways |= its | switch.ways_looked_up(its)
    with switch.looking_up([nic for nic, _ in dressed], kernel), (
            gateways.accepted(kernel, ways)):
        kernel.ask(nexthops.put(objects.values(), indexes, {}, present))
        kernel.ask(detours.put(parts, indexes, {}), detours.HARMLESS)
        for bodies in leading:
            kernel.ask(detours.put_first(bodies, indexes, {}),
                       detours.HARMLESS)
    _drop_unwanted_routes(kernel, dressed)


def _drop_unwanted_routes(kernel: netlink.Netlink,
                          dressed: typing.List[Dressed]) -> None:
    """Remove what the kernel made for an address and its owner had removed.
    """
    every = routes.Routes(kernel, nexthops.Nexthops(kernel))
    for nic, worn in dressed:
        kept = worn.places_of_the_kernel()
        leading, others = every.over(nic.index)
        kernel.ask(detours.remove([
            body for body in leading + others if routes.of_the_kernel(body)
            and routes.same_place(body) not in kept]), detours.HARMLESS)


# -- both -----------------------------------------------------------------

def _asked(known: typing.List[bytes],
           every: typing.List[bytes],
           ) -> typing.List[typing.Tuple[int, str]]:
    """Neighbours that can be asked something, the gateways first."""
    first = routes.next_hops(every)
    known = sorted(known, key=lambda body: neighbours.address(body)
                   not in first)
    return [asked for asked in map(neighbours.plain, known) if asked]


def _put_qdiscs(kernel: netlink.Netlink, nic: links.Nic,
                worn: outfit.Outfit) -> None:
    try:
        kernel.ask(qdiscs.put(worn.qdiscs, nic.index))
    except netlink.NetlinkError as error:
        # A NIC without its shaping is better than none.
        LOG.warning('%s goes without its queueing discipline: %s', nic.name,
                    error)
