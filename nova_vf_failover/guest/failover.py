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

"""Failover as the guest sees it, step by step: to the standbys."""

import contextlib
import logging
import typing

from nova_vf_failover.guest import deliveries
from nova_vf_failover.guest import dressing
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import multicast
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import overlap
from nova_vf_failover.guest import snapshot
from nova_vf_failover.guest import standbys
from nova_vf_failover.guest import switch
from nova_vf_failover.guest import sysctl
from nova_vf_failover.guest import udev
from nova_vf_failover.guest import wire

LOG = logging.getLogger(__name__)

# How often the traffic is led back before its standbys are undressed: whoever
# changes routes meanwhile may keep the kernel from telling of them.
_TRIES = 2

# A primary and its standby, for each port.
Pairs = typing.List[typing.Tuple[links.Nic, links.Nic]]


class Failover:
    """Moves the traffic of ports from their primaries to their standbys.

    :param kernel: the conversation with it
    :param nics: the NICs of the guest
    :param kept: what survives a restart
    :param switched: the way of the traffic
    :param memberships: in multicast groups
    :param both: the time in which both NICs of a port are up
    :param others: the standbys that are in use
    """

    def __init__(self, kernel: netlink.Netlink, nics: links.Links,
                 kept: snapshot.Snapshot, switched: switch.Switch,
                 memberships: multicast.Memberships, both: overlap.Overlap,
                 others: standbys.Standbys) -> None:
        self._kernel = kernel
        self._nics = nics
        self._kept = kept
        self._switch = switched
        self._memberships = memberships
        self._overlap = both
        self._standbys = others

    def move(self, intent: intents.Intent, report: intents.Report,
             arrived: intents.Arrived) -> None:
        """Move to the standbys.

        :param arrived: see :data:`.intent.Arrived`
        :raises intents.Refused: nothing was changed
        :raises overlap.Failed: everything was put back
        """
        if not arrived(lambda: all(self._nics.standby(port.mac)
                                   for port in intent.ports)):
            raise intents.Refused('There is no standby NIC for each of the '
                                  'MACs ' + ', '.join(
                                      port.mac for port in intent.ports))
        pairs = [self._pair(port, report) for port in intent.ports]
        arrived(lambda: all(udev.settled(standby.index)
                            for _, standby in pairs), udev.NAMING)
        pairs = [self._pair(port, report) for port in intent.ports]
        self._keep(pairs)
        opened: typing.List[wire.Wire] = []
        with contextlib.ExitStack() as last, contextlib.ExitStack() as undo:
            # To close them is a change of a link: the kernel makes one at a
            # time, and those that end the overlap come first.
            last.callback(wire.close_later, opened)
            undo.callback(self._undress_standbys, pairs)
            try:
                self._use_standbys(pairs, report, opened, undo)
            except (OSError, overlap.Failed, intents.Refused) as error:
                LOG.exception('The traffic stays where it is')
                raise overlap.Failed(str(error))
        self._kept.write_if_possible()
        self._switch.tidy()

    def _use_standbys(self, pairs: Pairs, report: intents.Report,
                      opened: typing.List[wire.Wire],
                      undo: contextlib.ExitStack) -> None:
        """Switch, and set the primaries down that are of no more use.

        :param opened: is given all wires
        :param undo: is emptied when nothing is to be undone any more
        """
        with report.step('dress'):
            for primary, standby in pairs:
                self._dress_standby(primary, standby)
            prepared = self._switch.prepare(self._standbys.all_away())
        tried = {primary.mac: _open(standby, primary.mac, opened)
                 for primary, standby in pairs}
        with report.step('prove'):
            for primary, standby in pairs:
                self._overlap.prove_standby(
                    primary, standby, tried[primary.mac],
                    _open(primary, primary.mac, opened), report)
        with overlap.urgently(), contextlib.ExitStack() as watched:
            taken_in = {primary.mac: watched.enter_context(
                deliveries.Deliveries(standby.index))
                for primary, standby in pairs}
            with report.step('switch'):
                for primary, standby in pairs:
                    self._show_standby(primary, standby)
                self._switch.throw(prepared)
            with report.step('announce'):
                for primary, standby in pairs:
                    self._overlap.speak_on_standby(primary, standby)
                # With its link a primary loses routes and addresses: what
                # could still be undone has to find it up.
                undo.pop_all()
                for primary, standby in pairs:
                    mac = primary.mac
                    report.ports[mac]['overlap'] = (
                        not self._overlap.end_on_standby(
                            primary, standby, tried[mac], taken_in[mac]))

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
        """:raises intents.Refused: it cannot be kept; nothing was changed
        """
        primaries = [primary for primary, _ in pairs]
        for primary, worn in zip(primaries,
                                 dressing.take(self._kernel, primaries)):
            self._kept.outfits[primary.mac] = worn
            self._kept.groups[primary.mac] = worn.groups
            if primary.mac not in self._kept.owed:
                self._kept.names[primary.mac] = primary.name
        try:
            self._kept.leave({primary.mac for primary in primaries})
        except snapshot.Unwritable as error:
            raise intents.Refused('The traffic stays where it is: %s' % error)

    def _dress_standby(self, primary: links.Nic, standby: links.Nic) -> None:
        worn = self._kept.outfits[primary.mac]
        self._overlap.park(standby, primary.mac)
        dressing.put_on_standby(self._kernel, standby, worn)
        sysctl.write_changed(primary.name, {
            sysctl.RP_FILTER: sysctl.loose_filter(worn.sysctls)})

    def _show_standby(self, primary: links.Nic, standby: links.Nic) -> None:
        worn = self._kept.outfits[primary.mac]
        dressing.show_standby(self._kernel, standby, primary.mac, worn)
        # A switch learns from its reports where a MAC is, and may shut the
        # port for one that it does not know.
        self._memberships.join(standby.index, worn.groups)

    def undo_what_was_cut_off(self) -> None:
        """Put back ports that an agent before this one was about to move.

        It was killed after it had kept that they are away, and before they
        were: their standbys are half dressed, and carry nothing.
        """
        pairs = [(primary, standby) for primary, standby in map(
            self._nics.pair, sorted(self._kept.away))
            if primary and standby and self._stayed(primary, standby)]
        if not pairs:
            return
        for primary, standby in pairs:
            LOG.warning('The traffic has never left %s', primary.name)
            self._undress_standby(primary, standby)
        self._kept.away -= {primary.mac for primary, _ in pairs}
        self._kept.write_if_possible()
        self._switch.tidy()

    def _stayed(self, primary: links.Nic, standby: links.Nic) -> bool:
        """Whether a port that is kept as away is not."""
        if standby.mac != primary.mac:
            # It is parked; it gets its MAC before the switch.
            return True
        # One with this index is no VF that has come since.
        return (primary.up and not self._switch.in_use
                and primary.index == self._kept.outfits[primary.mac].index)

    def _undress_standbys(self, pairs: Pairs) -> None:
        macs = {primary.mac for primary, _ in pairs}
        try:
            self._lead_back(macs)
        finally:
            for primary, standby in pairs:
                self._undress_standby(primary, standby)
            self._kept.away -= macs
            self._kept.write_if_possible()
        self._switch.tidy()

    def _lead_back(self, macs: typing.Set[str]) -> None:
        """Let the traffic of ports go over their primaries again."""
        for _ in range(_TRIES):
            try:
                self._switch.throw(self._switch.prepare(
                    self._standbys.all_away(but=macs)))
                return
            except (OSError, intents.Refused):
                LOG.exception('The way back cannot be taken')
        # While another port is away the upkeep goes on trying.
        self._switch.changes.seen = True

    def _undress_standby(self, primary: links.Nic, standby: links.Nic) -> None:
        worn = self._kept.outfits[primary.mac]
        sysctl.write_changed(primary.name, worn.sysctls)
        with self._memberships.leaving(standby):
            try:
                dressing.take_off_standby(self._kernel, standby)
                self._overlap.park(standby, primary.mac)
            except OSError as error:
                # If it has gone there is nothing left to undress.
                LOG.warning('%s is not undressed: %s', standby.name, error)


def _open(nic: links.Nic, mac: str,
          opened: typing.List[wire.Wire]) -> wire.Wire:
    made = wire.Wire(nic, mac)
    opened.append(made)
    return made
