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

"""Failover and failback as the guest sees them, step by step."""

import contextlib
import logging
import typing

from nova_vf_failover.guest import configurators
from nova_vf_failover.guest import ingress
from nova_vf_failover.guest import inspection
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import multicast
from nova_vf_failover.guest import naming
from nova_vf_failover.guest import neighbours
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import outfit
from nova_vf_failover.guest import overlap
from nova_vf_failover.guest import routes
from nova_vf_failover.guest import snapshot
from nova_vf_failover.guest import standbys
from nova_vf_failover.guest import switch
from nova_vf_failover.guest import sysctl
from nova_vf_failover.guest import udev
from nova_vf_failover.guest import wire

LOG = logging.getLogger(__name__)

# Seconds that udev may take to name a NIC; then it is used as it is.
_NAMING = 5.0

# Seconds that the guest's own programs may take to configure a VF, a lease
# included; meanwhile the standby carries the traffic. What the agent puts
# there because they are late is there beside theirs, once they come:
# systemd-networkd leads its default route of IPv6 through a nexthop object of
# its own, which to the kernel is another route.
_CONFIGURING = 40.0
# Seconds after which it is looked again how far they are.
_LOOK_AGAIN = 0.05

# Seconds for the drivers of a guest that starts.
_STARTING = 30.0

# A primary and its standby, for each port.
Pairs = typing.List[typing.Tuple[links.Nic, links.Nic]]
Wires = typing.Dict[str, wire.Wire]


class Mover:
    """Moves the traffic of ports between their NICs.

    :param kernel: the conversation with it
    :param nics: the NICs of the guest
    :param kept: what survives a restart
    """

    def __init__(self, kernel: netlink.Netlink, nics: links.Links,
                 kept: snapshot.Snapshot) -> None:
        self._kernel = kernel
        self._nics = nics
        self._kept = kept
        self._switch = switch.Switch(kernel)
        self.inspection = inspection.Inspection(kernel, nics, self._switch)
        self._memberships = multicast.Memberships()
        self._ingress = ingress.Ingress()
        # One that was killed while it dressed a VF has left it shut.
        self._ingress.forget()
        self._overlap = overlap.Overlap(nics, kept, self._memberships,
                                        self._ingress)
        self._names = naming.Names(nics, kept)
        self._standbys = standbys.Standbys(
            kernel, nics, kept, self._switch, self._memberships,
            self._overlap)
        self.addresses = self._overlap.addresses

    # -- before ---------------------------------------------------------------

    def check(self, intent: intents.Intent) -> None:
        """:raises intents.Refused: it would not work, and why"""
        self.inspection.check(intent.ports)

    # -- primary -> standby ----------------------------------------------

    def fail_over(self, intent: intents.Intent, report: intents.Report,
                  arrived: typing.Any) -> None:
        """Move to the standbys.

        :param arrived: waits for a condition of the NICs, see the service
        :raises intents.Refused: nothing was changed
        :raises overlap.Failed: everything was put back
        """
        macs = {port.mac for port in intent.ports}
        if macs & self._kept.away:
            # An earlier move got stuck: start from the primaries.
            self.fail_back(intent, intents.Report(intent),
                           lambda condition, *limits: condition())
        self.check(intent)
        if not arrived(lambda: all(self._nics.standby(port.mac)
                                   for port in intent.ports)):
            raise intents.Refused('There is no standby NIC for each of the '
                                  'MACs ' + ', '.join(
                                      port.mac for port in intent.ports))
        pairs = [self._pair(port, report) for port in intent.ports]
        arrived(lambda: all(udev.settled(standby.index)
                            for _, standby in pairs), _NAMING)
        pairs = [self._pair(port, report) for port in intent.ports]
        self._keep(pairs)
        with contextlib.ExitStack() as undo:
            undo.callback(self._undress_standbys, pairs)
            try:
                self._prepare_standbys(pairs, report)
            except (OSError, overlap.Failed, intents.Refused) as error:
                LOG.exception('The traffic stays where it is')
                raise overlap.Failed(str(error))
            undo.pop_all()
        self._kept.write()
        self._switch.tidy()

    def _prepare_standbys(self, pairs: Pairs, report: intents.Report) -> None:
        with report.step('dress'):
            for primary, standby in pairs:
                self._dress_standby(primary, standby)
            prepared = self._switch.prepare(self._standbys.all_away())
        tried = {primary.mac: wire.Wire(standby, primary.mac)
                 for primary, standby in pairs}
        other = {primary.mac: wire.Wire(primary, primary.mac)
                 for primary, _ in pairs}
        try:
            with report.step('prove'):
                for primary, standby in pairs:
                    self._overlap.prove_standby(
                        primary, standby, tried[primary.mac],
                        other[primary.mac], report)
            with overlap.urgently(), contextlib.ExitStack() as opened:
                deliveries = {primary.mac: opened.enter_context(
                    routes.Deliveries(standby.index))
                    for primary, standby in pairs}
                with report.step('switch'):
                    for primary, standby in pairs:
                        outfit.show_standby(
                            self._kernel, standby, primary.mac,
                            self._kept.outfits[primary.mac])
                    self._switch.throw(prepared)
                with report.step('announce'):
                    for primary, standby in pairs:
                        self._overlap.end_on_standby(
                            primary, standby, tried[primary.mac],
                            deliveries[primary.mac], report)
        finally:
            wire.close_later(list(tried.values()) + list(other.values()))

    def _pair(
            self, port: intents.Port, report: intents.Report,
    ) -> typing.Tuple[links.Nic, links.Nic]:
        primary, standby = self._nics.pair(port.mac)
        if primary is None or standby is None:
            raise intents.Refused('A NIC with the MAC %s has gone.' % port.mac)
        report.ports[port.mac].update(primary=primary.name,
                                      standby=standby.name)
        return primary, standby

    def _keep(self, pairs: Pairs) -> None:
        primaries = [primary for primary, _ in pairs]
        for primary, worn in zip(primaries,
                                 outfit.take(self._kernel, primaries)):
            self._kept.outfits[primary.mac] = worn
            self._kept.groups[primary.mac] = worn['groups']
            self._kept.names[primary.mac] = primary.name
            self._kept.away.add(primary.mac)
        self._kept.write()

    def _dress_standby(self, primary: links.Nic, standby: links.Nic) -> None:
        worn = self._kept.outfits[primary.mac]
        self._overlap.park(standby, primary.mac)
        outfit.put_on_standby(self._kernel, standby, worn)
        sysctl.write_changed(primary.name, {
            sysctl.RP_FILTER: sysctl.loose_filter(worn['sysctls'])})
        self._memberships.join(standby.index, worn['groups'])

    def _undress_standbys(self, pairs: Pairs) -> None:
        macs = {primary.mac for primary, _ in pairs}
        self._switch.throw(self._switch.prepare(
            self._standbys.all_away(but=macs)))
        for primary, standby in pairs:
            worn = self._kept.outfits[primary.mac]
            outfit.take_off_standby(self._kernel, standby, worn)
            self._memberships.leave(standby.index)
            self._overlap.park(standby, primary.mac)
            sysctl.write_changed(primary.name, worn['sysctls'])
        self._kept.away -= macs
        self._kept.write()
        self._switch.tidy()

    # -- standby -> primary ----------------------------------------------

    def fail_back(self, intent: intents.Intent, report: intents.Report,
                  arrived: typing.Any) -> None:
        """Move to the primaries, which are there.

        :raises overlap.Failed: traffic stays on the standbys
        """
        arrived(lambda: all(nic and udev.settled(nic.index) for nic in (
            self._nics.primary(port.mac) for port in intent.ports)), _NAMING)
        try:
            self._come_back(intent, report, arrived)
        finally:
            self._ingress.open()
        macs = {port.mac for port in intent.ports}
        self._kept.away -= macs
        self._kept.write()
        self._switch.tidy()

    def _come_back(self, intent: intents.Intent, report: intents.Report,
                   arrived: typing.Any) -> None:
        tried: Wires = {}
        try:
            primaries = self._prepare_primaries(intent, report, arrived,
                                                tried)
            with overlap.urgently():
                with report.step('switch'):
                    self._ingress.open()
                    self._switch.throw(self._switch.prepare(
                        self._standbys.all_away(but=set(tried))))
                with report.step('announce'):
                    for nic in primaries:
                        self._overlap.end_on_primary(nic, tried[nic.mac])
        finally:
            wire.close_later(tried.values())
        for nic in primaries:
            report.ports[nic.mac]['primary'] = self._names.take(nic)

    def _prepare_primaries(
            self, intent: intents.Intent, report: intents.Report,
            arrived: typing.Any, tried: Wires) -> typing.List[links.Nic]:
        """All that has to be done before they can be used.

        :param tried: is given a wire for each
        :raises overlap.Failed: the traffic stays where it is
        """
        try:
            configured = self._await_configurators(intent, report, arrived)
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
            arrived: typing.Any) -> bool:
        """Let the guest's own programs do first what they do to a new NIC.

        :returns: whether they have done something
        """
        def busy() -> typing.Dict[str, str]:
            found = {nic.name: configurators.busy(nic) for nic in [
                self._primary(port.mac) for port in intent.ports]}
            return {name: unit for name, unit in found.items() if unit}

        if not busy():
            return False
        with report.step('configure'):
            for port in intent.ports:
                self._open(self._primary(port.mac))
            if not arrived(lambda: not busy(), _CONFIGURING, _LOOK_AGAIN):
                LOG.warning('Still not configured: %s', busy())
        return True

    def _open(self, nic: links.Nic) -> None:
        """Bring a VF up that has nothing yet.

        From the moment it is attached a NIC may deliver to it only; what
        comes in for the addresses of the standby is taken in.
        """
        worn = self._kept.outfits.get(nic.mac)
        if worn:
            nic = self._names.rename(nic, worn['name'])
            if worn.get('replicated'):
                self._ingress.shut(nic)
            outfit.open_primary(nic, worn)
        self._nics.set(nic, up=True)

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
        worn = self._kept.outfits.get(port.mac)
        if worn is None and standby and standby.up:
            # The guest was started anew with nothing but its standby.
            worn = self._adopt(nic, standby)
        if worn:
            nic = self._names.rename(nic, worn['name'])
            if worn.get('replicated'):
                # What comes in on it will come in on the standby as well.
                self._ingress.shut(nic)
            outfit.put_on_primary(
                self._kernel, nic, worn, self._neighbours(worn, standby),
                configured)
            self._memberships.join(nic.index, worn['groups'])
        else:
            self._nics.set(nic, up=True)
        report.ports[port.mac]['primary'] = nic.name
        return nic

    def _adopt(self, nic: links.Nic,
               standby: links.Nic) -> outfit.Document:
        worn, = outfit.take(self._kernel, [standby])
        # The guest's own programs may have configured the VF already.
        outfit.forget_ways(worn, nic.index)
        worn['name'] = self._kept.names.get(nic.mac, nic.name)
        self._kept.outfits[nic.mac] = worn
        self._kept.write()
        return worn

    def _neighbours(
            self, worn: outfit.Document,
            standby: typing.Optional[links.Nic]) -> typing.List[bytes]:
        """Those known before, and those that the standby knows now."""
        fresh = (neighbours.of(self._kernel, standby.index)
                 if standby else [])
        return neighbours.newest(
            netlink.from_text(worn['neighbours']), fresh)

    def _await_carrier(self, primaries: typing.List[links.Nic],
                       arrived: typing.Any) -> None:
        indexes = {nic.index for nic in primaries}
        if not arrived(lambda: indexes <= {
                nic.index for nic in self._nics.all() if nic.carrier}):
            raise overlap.Failed('No carrier on ' + ', '.join(
                nic.name for nic in primaries))

    def _put_routes(self, primaries: typing.List[links.Nic]) -> None:
        outfit.put_routes(self._kernel, [
            (nic, self._kept.outfits[nic.mac]) for nic in primaries
            if nic.mac in self._kept.outfits])

    # -- whenever a NIC has come or gone ------------------------------------

    def tidy(self) -> None:
        """Park what is not in use, and forget what is over."""
        self._standbys.tidy()

    def await_names(self) -> None:
        """Wait for udev to name the NICs that are there.

        Who comes after the agent while the guest starts takes the names that
        it finds; and a rule of the agent's own may take its time.
        """
        if not udev.await_true(lambda: all(
                udev.settled(nic.index) for nic in self._nics.all()
                if nic.driver), _STARTING):
            LOG.warning('udev has not named all NICs')

    def rejoin(self) -> None:
        """Be a member again of what another agent before this one was.

        Its memberships went with it.
        """
        for mac, groups in self._kept.groups.items():
            primary, standby = self._nics.pair(mac)
            nic = standby if mac in self._kept.away else primary
            if nic:
                self._memberships.join(nic.index, groups)

    def start_anew(self) -> None:
        """What was done before the guest was restarted is undone.

        Then whoever configures the NICs has to find them by their names and
        MACs.
        """
        self._kept.away.clear()
        self._kept.outfits.clear()
        self._kept.groups.clear()
        self._kept.write()
        if not self._kept.names:
            return
        if not udev.await_idle(_STARTING):
            LOG.warning('udev is still at work; NICs may be missing')
        self.tidy()
        self._names.restore()
        udev.await_idle(_NAMING)
