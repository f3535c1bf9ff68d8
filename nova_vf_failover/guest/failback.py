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

"""Failback as the guest sees it, step by step: to the primaries."""

import contextlib
import logging
import typing

from nova_vf_failover.guest import addresses
from nova_vf_failover.guest import advertised
from nova_vf_failover.guest import configurators
from nova_vf_failover.guest import dressing
from nova_vf_failover.guest import ifupdown
from nova_vf_failover.guest import ingress
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import multicast
from nova_vf_failover.guest import naming
from nova_vf_failover.guest import neighbours
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import networkd
from nova_vf_failover.guest import outfit
from nova_vf_failover.guest import overlap
from nova_vf_failover.guest import profiles
from nova_vf_failover.guest import snapshot
from nova_vf_failover.guest import standbys
from nova_vf_failover.guest import switch
from nova_vf_failover.guest import udev
from nova_vf_failover.guest import wire

LOG = logging.getLogger(__name__)

# Seconds that the guest's own programs may take to configure a VF, a lease
# included; meanwhile the standby carries the traffic. What the agent puts
# there because they are late is there beside theirs, once they come:
# systemd-networkd leads its default route of IPv6 through a nexthop object of
# its own, which to the kernel is another route.
_CONFIGURING = 40.0
# Seconds after which it is looked again how far they are.
_LOOK_AGAIN = 0.05

Wires = typing.Dict[str, wire.Wire]


class Failback:
    """Moves the traffic of ports from their standbys to their primaries.

    :param kernel: the conversation with it
    :param nics: the NICs of the guest
    :param kept: what survives a restart
    :param switched: the way of the traffic
    :param memberships: in multicast groups
    :param coming_in: what may come in on primaries
    :param both: the time in which both NICs of a port are up
    :param others: the standbys that are in use
    :param names: of the NICs
    :param routers: what the kernel makes of their advertisements
    """

    def __init__(self, kernel: netlink.Netlink, nics: links.Links,
                 kept: snapshot.Snapshot, switched: switch.Switch,
                 memberships: multicast.Memberships,
                 coming_in: ingress.Ingress, both: overlap.Overlap,
                 others: standbys.Standbys, names: naming.Names,
                 routers: advertised.Advertised) -> None:
        self._kernel = kernel
        self._nics = nics
        self._kept = kept
        self._switch = switched
        self._memberships = memberships
        self._ingress = coming_in
        self._overlap = both
        self._standbys = others
        self._names = names
        self._routers = routers

    def move(self, intent: intents.Intent, report: intents.Report,
             arrived: intents.Arrived) -> None:
        """Move to the primaries, which are there.

        :param arrived: see :data:`.intent.Arrived`
        :raises overlap.Failed: traffic stays on the standbys
        """
        arrived(lambda: all(nic and udev.settled(nic.index) for nic in (
            self._nics.primary(port.mac) for port in intent.ports)),
            udev.NAMING)
        macs = {port.mac for port in intent.ports}
        with contextlib.ExitStack() as undo:
            undo.callback(self._ingress.open)
            undo.callback(self._set_useless_down, macs)
            primaries = self._come_back(intent, report, arrived)
        self._kept.away -= macs
        self._kept.alone -= macs
        self._kept.write_if_possible()
        self._switch.tidy()
        # That looks at all routes: no frame may wait for it.
        for nic in primaries:
            self._put_doubtful(nic)

    def _come_back(self, intent: intents.Intent, report: intents.Report,
                   arrived: intents.Arrived) -> typing.List[links.Nic]:
        """:returns: the primaries, which are in use"""
        tried: Wires = {}
        try:
            primaries = self._prepare_primaries(intent, report, arrived,
                                                tried)
            with overlap.urgently():
                with report.step('switch'):
                    self._ingress.open()
                    self._switch.throw(self._switch.prepare(
                        self._standbys.all_away(but=set(tried))))
                    self._lead_away(set(tried))
                with report.step('announce'):
                    for nic in primaries:
                        self._overlap.end_on_primary(nic, tried[nic.mac])
        finally:
            wire.close_later(tried.values())
        for nic in primaries:
            report.ports[nic.mac]['primary'] = self._take_name(nic)
        return primaries

    def _take_name(self, nic: links.Nic) -> str:
        """Give a VF that is in use its name, and the guest's programs the VF.

        :returns: the name
        """
        standby = self._nics.standby(nic.mac)
        # systemd-networkd would configure a VF in use anew, which it knows by
        # the name; what the agent has put there would go meanwhile.
        later = standby is not None and configurators.configured(
            standby) and not configurators.configured(nic)
        # While it has the name that it is known by.
        brought_up = standby is not None and self._release(standby)
        name = self._names.take(nic, later)
        if brought_up and name != nic.name:
            ifupdown.take(name)
        if nic.mac in self._kept.owed and not configurators.renews(nic):
            self._let_last(nic)
        return name

    def _let_last(self, nic: links.Nic) -> None:
        """Who asks for its leases looks for a NIC with another name."""
        try:
            self._kernel.ask(addresses.lasting(
                addresses.of(self._kernel, nic.index)))
        except OSError as error:
            # The traffic is on it already.
            LOG.warning('Leases of %s end, for nobody renews them: %s',
                        nic.name, error)

    def _lead_away(self, macs: typing.Iterable[str]) -> None:
        """No rule leads to a standby that the guest was started anew on.

        Its routes come first until it goes down, and what is sent meanwhile
        is dropped (net/sched/sch_generic.c, dev_deactivate_many).
        """
        for mac in macs:
            standby = self._started_anew_on(mac)
            try:
                if standby:
                    dressing.lead_away(self._kernel, standby)
            except OSError as error:
                LOG.warning('Packets are lost while %s goes down: %s', mac,
                            error)

    @staticmethod
    def _release(standby: links.Nic) -> bool:
        """Have the guest's own programs leave a standby alone, if they do not.

        So it is after a start of the guest.

        :returns: whether it was ifupdown, which knows NICs by their names
        """
        if configurators.manages(standby):
            profiles.let_go(standby)
        elif configurators.configured(standby):
            networkd.let_go(standby)
        return ifupdown.let_go(standby)

    def _put_doubtful(self, nic: links.Nic) -> None:
        worn = self._kept.outfits.get(nic.mac)
        if worn is None:
            return
        try:
            dressing.put_doubtful(nic, worn)
        except OSError as error:
            # The others are there, and the standby is parked.
            LOG.warning('%s goes without the addresses that were in doubt: '
                        '%s', nic.name, error)

    def _prepare_primaries(
            self, intent: intents.Intent, report: intents.Report,
            arrived: intents.Arrived, tried: Wires) -> typing.List[links.Nic]:
        """All that has to be done before they can be used.

        :param tried: is given a wire for each
        :raises overlap.Failed: the traffic stays where it is
        """
        try:
            self._standbys.forget_withdrawn()
            for port in intent.ports:
                self._adopt(port.mac)
            configured = self._await_configurators(intent, report, arrived)
            # That may have taken long.
            self._standbys.forget_withdrawn()
            with overlap.urgently():
                with report.step('dress'):
                    primaries = [self._dress_primary(port, report, configured)
                                 for port in intent.ports]
                with report.step('carrier'):
                    self._await_carrier(primaries, arrived)
            tried.update((nic.mac, wire.Wire(nic, nic.mac))
                         for nic in primaries)
            with overlap.urgently(), report.step('prove'):
                for nic in primaries:
                    self._overlap.prove_primary(nic, tried[nic.mac], report)
            with report.step('routes'):
                self._put_routes(primaries)
        except OSError as error:
            LOG.exception('The traffic stays on the standbys')
            raise overlap.Failed(str(error))
        return primaries

    def _await_configurators(
            self, intent: intents.Intent, report: intents.Report,
            arrived: intents.Arrived) -> bool:
        """Let the guest's own programs do first what they do to a new NIC.

        :returns: whether they have done something
        """
        sharing = profiles.Sharing(self._nics, [
            port.mac for port in intent.ports
            if self._started_anew_on(port.mac)])

        def busy() -> typing.Dict[str, str]:
            found = {nic.name: configurators.busy(nic) for nic in [
                self._primary(port.mac) for port in intent.ports]}
            return {name: unit for name, unit in found.items() if unit}

        if not busy() and not sharing:
            return False
        shut: typing.Set[str] = set()

        def go_on() -> bool:
            """Do what can be done by now; whether nothing is left to do."""
            self._let_in(shut)
            if not sharing.done:
                sharing.advance()
                return False
            return not busy()

        with report.step('configure'):
            for port in intent.ports:
                nic = self._primary(port.mac)
                if not self._in_use(nic):
                    self._open(nic)
                    shut.add(nic.mac)
            if not arrived(go_on, _CONFIGURING, _LOOK_AGAIN):
                LOG.warning('Still not configured: %s', busy())
        return True

    def _set_useless_down(self, macs: typing.Iterable[str]) -> None:
        """Let a VF carry nothing beside a standby that the guest has alone.

        No rule leads its traffic past the routes over the VF then, and IPv6
        shares it between two routes of one metric.
        """
        for mac in macs:
            primary = self._nics.primary(mac)
            if primary and self._standbys.in_use_alone(mac):
                self._nics.set(primary, up=False)

    def _open(self, nic: links.Nic) -> None:
        """Bring a VF up that has nothing yet.

        From the moment it is attached a NIC may deliver to it only; what
        comes in for the addresses of the standby is taken in.
        """
        worn = self._kept.outfits.get(nic.mac)
        if worn:
            nic = self._names.return_to(nic, worn)
            if self._hears_the_same(nic):
                self._ingress.shut(nic)
            dressing.open_primary(
                nic, worn, configurators.chooses_link_local(nic))
        self._nics.set(nic, up=True)

    def _let_in(self, shut: typing.Set[str]) -> None:
        """Open VFs that alone hear, before anybody has configured them.

        What is known of that was seen on the NIC that the server comes from;
        of the very VF that it was seen on it is true.

        :param shut: the MACs of VFs that may be shut; those that could be
            tried are removed
        """
        if not self._ingress.is_shut:
            return
        for nic in map(self._primary, sorted(shut)):
            if not nic.carrier:
                continue
            shut.remove(nic.mac)
            worn = self._kept.outfits.get(nic.mac)
            if (worn and self._hears_the_same(nic)
                    and nic.index != worn.index
                    and self._overlap.hears_alone(nic)):
                worn.alone_on = nic.index
                self._ingress.open()

    def _in_use(self, nic: links.Nic) -> bool:
        """Whether a VF carries the traffic: nobody has heard of its move."""
        return (nic.up and nic.mac not in self._kept.away
                and not self._started_anew_on(nic.mac))

    def _hears_the_same(self, nic: links.Nic) -> bool:
        """Whether what comes in on a VF comes in on its standby as well.

        An outfit outlives the failback, as long as the standby is there; and
        this VF, if the next try is on another host.
        """
        if nic.mac not in self._kept.away:
            return False
        return self._kept.outfits[nic.mac].hears_the_same(nic)

    def _started_anew_on(self, mac: str) -> typing.Optional[links.Nic]:
        """The standby that the guest was started anew on, if it was."""
        standby = self._nics.standby(mac)
        return (standby if standby and standby.up
                and mac not in self._kept.away else None)

    def _primary(self, mac: str) -> links.Nic:
        """:raises overlap.Failed: it is not there"""
        nic = self._nics.primary(mac)
        if nic is None:
            raise overlap.Failed('The VF with the MAC %s has gone.' % mac)
        return nic

    def _dress_primary(
            self, port: intents.Port, report: intents.Report,
            configured: bool) -> links.Nic:
        """Bring the VF up with its addresses before anything else.

        From the moment it is attached a NIC may deliver to it only.

        :param configured: leave what is there as it is
        """
        nic = self._primary(port.mac)
        standby = self._nics.standby(port.mac)
        worn = self._kept.outfits.get(nic.mac)
        if worn:
            nic = self._names.return_to(nic, worn)
            if self._hears_the_same(nic):
                self._ingress.shut(nic)
            dressing.put_on_primary(
                self._kernel, nic, worn, self._neighbours(worn, standby),
                configured)
            self._memberships.join(nic.index, worn.groups)
        else:
            self._nics.set(nic, up=True)
        report.ports[port.mac]['primary'] = nic.name
        return nic

    def _adopt(self, mac: str) -> None:
        """After a start of the guest: the VF is to wear what the standby does.
        """
        standby = self._started_anew_on(mac)
        worn = self._kept.outfits.get(mac)
        # An earlier try has left what was worn then.
        if standby is None or worn and worn.index != standby.index:
            return
        nic = self._primary(mac)
        worn, = dressing.take(self._kernel, [standby])
        # The guest's own programs may have configured the VF already.
        worn.forget_ways(nic.index)
        worn.name = self._kept.names.get(mac, nic.name)
        self._kept.outfits[mac] = worn
        self._kept.alone.add(mac)
        self._kept.write_if_possible()

    def _neighbours(
            self, worn: outfit.Outfit,
            standby: typing.Optional[links.Nic]) -> typing.List[bytes]:
        """Those known before, and those that the standby knows now."""
        fresh = (neighbours.of(self._kernel, standby.index)
                 if standby else [])
        return neighbours.newest(worn.neighbours, fresh)

    def _await_carrier(self, primaries: typing.List[links.Nic],
                       arrived: intents.Arrived) -> None:
        indexes = {nic.index for nic in primaries}
        if not arrived(lambda: indexes <= {
                nic.index for nic in self._nics.all() if nic.carrier}):
            raise overlap.Failed('No carrier on ' + ', '.join(
                nic.name for nic in primaries))

    def _put_routes(self, primaries: typing.List[links.Nic]) -> None:
        dressed = [dressing.Dressed(nic, self._kept.outfits[nic.mac])
                   for nic in primaries if nic.mac in self._kept.outfits]
        dressing.put_routes(self._kernel, dressed, self._routers)
        dressing.put_rules(self._kernel, dressed)
