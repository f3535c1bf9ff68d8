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

"""The standbys of a guest between two intents, when NICs come and go."""

import logging
import typing

from nova_vf_failover.guest import dressing
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import multicast
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import overlap
from nova_vf_failover.guest import snapshot
from nova_vf_failover.guest import switch
from nova_vf_failover.guest import udev
from nova_vf_failover.guest import withdrawn

LOG = logging.getLogger(__name__)


class Standbys:
    """Keeps those that are in use, and parks the others.

    :param kernel: the conversation with it
    :param nics: the NICs of the guest
    :param kept: what survives a restart
    :param switched: the way of the traffic
    :param memberships: in multicast groups
    :param parking: parks a NIC
    """

    def __init__(self, kernel: netlink.Netlink, nics: links.Links,
                 kept: snapshot.Snapshot, switched: switch.Switch,
                 memberships: multicast.Memberships,
                 parking: overlap.Overlap) -> None:
        self._kernel = kernel
        self._nics = nics
        self._kept = kept
        self._switch = switched
        self._memberships = memberships
        self._overlap = parking
        self._given_up: typing.Set[int] = set()

    def all_away(
            self, but: typing.Container[str] = ()) -> typing.List[switch.Away]:
        """The ports whose traffic is to go over their standbys."""
        away = []
        for mac in sorted(self._kept.away):
            primary, standby = self._nics.pair(mac)
            if mac not in but and standby:
                worn = self._kept.outfits[mac]
                away.append(switch.Away(
                    worn, primary.index if primary else None, standby,
                    primary is not None and worn.stayed_on(primary)))
        return away

    def all_gone(self) -> bool:
        """Whether no port that is away has a NIC any more.

        One that is renamed has no driver for a moment, so that it is not
        known whether it is the standby.
        """
        return bool(self._kept.away) and not any(
            any(self._nics.pair(mac)) for mac in self._kept.away)

    def forget_withdrawn(self) -> None:
        """Forget addresses that the guest has taken from standbys in use."""
        for mac in self._kept.away:
            standby = self._nics.standby(mac)
            if standby and standby.mac == mac:
                withdrawn.forget(self._kernel, standby,
                                 self._kept.outfits[mac])

    def tidy(self) -> None:
        """Park what is not in use, and forget what is over."""
        self._forget_those_that_left()
        over = [mac for mac in self._kept.outfits
                if mac not in self._kept.away and not self._nics.standby(mac)]
        for mac in over:
            del self._kept.outfits[mac]
        named = [mac for mac in self._kept.names
                 if mac not in self._kept.away | self._kept.owed
                 and not self._nics.standby(mac) and self._nics.primary(mac)]
        for mac in named:
            del self._kept.names[mac]
        if over or named:
            self._kept.write_if_possible()
        self._kept.catch_up()
        self._memberships.keep_only({nic.index for nic in self._nics.all()})
        self._remember_those_alone()
        for mac in self._kept.macs - self._kept.away:
            self._tidy(mac)
        self.forget_withdrawn()
        for mac in self._kept.away:
            self._revive(mac)
        for mac in self._nics.doubled() - self._kept.macs:
            standby = self._nics.standby(mac)
            # One that nobody has told of, and nobody uses.
            if standby and not standby.up:
                self._park_new(standby, mac)

    def _forget_those_that_left(self) -> None:
        """Forget that ports are away which have come back by another way.

        Such a port was detached while it was away, and attached once more:
        its owner has configured the new VF, and nothing of the old one is
        meant for it.
        """
        back = {mac for mac in self._kept.away if self._has_come_anew(mac)}
        if not back:
            return
        LOG.warning('No longer away without an intent: %s',
                    ', '.join(sorted(back)))
        self._kept.away -= back
        try:
            self._switch.throw(self._switch.prepare(self.all_away()))
            self._switch.tidy()
        except (OSError, intents.Refused):
            LOG.exception('The routes over standbys that have gone stay')

    def _has_come_anew(self, mac: str) -> bool:
        primary, standby = self._nics.pair(mac)
        # One that is down may have come before its intent, which dresses it;
        # and a NIC that is renamed meanwhile, such as the standby, has no
        # driver at the first look.
        return (primary is not None and standby is None
                and primary.up and primary.driver != ''
                and primary.index != self._kept.outfits[mac].index)

    def in_use_alone(self, mac: str) -> typing.Optional[links.Nic]:
        """The standby that a guest uses by itself, beside a VF or without.

        A VF may have come that is good for nothing; as long as nothing has
        moved the traffic, to park the standby would be to end it.
        """
        if mac not in self._kept.alone:
            return None
        standby = self._nics.standby(mac)
        return (standby if standby and standby.up and standby.mac == mac
                else None)

    def _remember_those_alone(self) -> None:
        before = set(self._kept.alone)
        for mac in self._kept.macs - self._kept.away:
            primary, standby = self._nics.pair(mac)
            if standby and not primary:
                self._kept.alone.add(mac)
            elif not self.in_use_alone(mac):
                self._kept.alone.discard(mac)
        if self._kept.alone != before:
            self._kept.write_if_possible()

    def _tidy(self, mac: str) -> None:
        primary, standby = self._nics.pair(mac)
        if standby is None or primary and self.in_use_alone(mac):
            return
        if primary and standby.mac == mac:
            self._park_new(standby, mac)
        elif primary is None and standby.mac != mac:
            # It is the only NIC that the port has left.
            self._nics.set(standby, mac=mac)
            udev.look_again(standby.name)

    def _revive(self, mac: str) -> None:
        """Dress the only NIC of a port again that somebody has set down.

        "netplan apply" does so, to give it the name that is meant for its
        MAC. IPv6 addresses and all routes have gone with that.
        """
        primary, standby = self._nics.pair(mac)
        worn = self._kept.outfits.get(mac)
        if primary or standby is None or worn is None or (
                standby.index in self._given_up
                or not dressing.has_lost(self._kernel, standby, worn)):
            return
        index = standby.index
        LOG.warning('%s was set down by somebody else, while it is in use',
                    standby.name)
        before = None
        while standby and standby.name != before:
            # Who has set it down is about to rename it.
            before = standby.name
            try:
                self._dress_again(standby, mac)
            except OSError:
                LOG.exception('%s cannot be dressed again', standby.name)
            standby = self._nics.standby(mac)
        if standby and dressing.has_lost(self._kernel, standby, worn):
            # Each try is a change of a link, which would bring the next one.
            self._given_up.add(index)

    def _dress_again(self, standby: links.Nic, mac: str) -> None:
        worn = self._kept.outfits[mac]
        dressing.put_on_standby(self._kernel, standby, worn)
        dressing.show_standby(self._kernel, standby, mac, worn)
        dressing.let_standby_speak(standby, worn)
        self._memberships.join(standby.index, worn.groups)
        self._switch.throw(self._switch.prepare(self.all_away()))
        self._switch.tidy()

    def _park_new(self, standby: links.Nic, mac: str) -> None:
        """Park one that udev may have seen before its VF."""
        self._overlap.park(standby, mac)
        udev.look_again(standby.name)
