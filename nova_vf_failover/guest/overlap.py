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

"""The time in which the two NICs of a port both hear the network.

Before it the NIC that is not in use yet is proven; it ends with the other one
out of the way, as early as nothing can be on its way to that one any more.
"""

import contextlib
import logging
import os
import socket
import typing

from nova_vf_failover.guest import deliveries
from nova_vf_failover.guest import dressing
from nova_vf_failover.guest import ingress
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import multicast
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import snapshot
from nova_vf_failover.guest import sysctl
from nova_vf_failover.guest import wire

LOG = logging.getLogger(__name__)

# Neighbours that are asked, per family: enough that one of them lives.
_MOST_ASKED = 4

# Seconds that the kernel may take to deliver to the addresses of a NIC.
_TAKING_OVER = 1.0

# A priority of sched(7).
_URGENT = 20


class Failed(Exception):
    """It did not work and was put back; the message says why."""


class Overlap:
    """Proves NICs, and ends the overlap of two.

    :param nics: the NICs of the guest
    :param kept: the outfits of the primaries
    :param memberships: in multicast groups
    :param coming_in: what may come in on primaries
    """

    def __init__(self, nics: links.Links, kept: snapshot.Snapshot,
                 memberships: multicast.Memberships,
                 coming_in: ingress.Ingress) -> None:
        self._nics = nics
        self._kept = kept
        self._memberships = memberships
        self._ingress = coming_in

    def prove_standby(self, primary: links.Nic, standby: links.Nic,
                      tried: wire.Wire, other: wire.Wire,
                      report: intents.Report) -> None:
        """See that traffic comes in over a standby before it is used.

        :param tried: on the standby
        :param other: on the primary
        :raises Failed: neighbours answer over the primary only
        """
        mac = primary.mac
        asked, own = self._asked(mac), self.addresses(mac)
        proof = wire.prove(tried, other, own, asked, _answered)
        if proof.answered or proof.unicast:
            report.ports[mac]['proven'] = True
        elif asked and wire.prove(other, tried, own, asked,
                                  _answered).answered:
            raise Failed('Neighbours answer over %s and not over %s.'
                         % (primary.name, standby.name))

    def prove_primary(self, nic: links.Nic, tried: wire.Wire,
                      report: intents.Report) -> None:
        """See that traffic comes in over a VF before it is used.

        A VF that is shut is opened, unless its standby hears the same.

        :param tried: on the VF
        :raises Failed: neighbours answer over the standby only
        """
        standby = self._nics.standby(nic.mac)
        other = (wire.Wire(standby, nic.mac)
                 if standby and standby.up else None)
        asked, own = self._asked(nic.mac), self.addresses(nic.mac)
        try:
            if self._ingress.is_shut and not wire.prove(
                    tried, other, own, asked, _elsewhere,
                    wire.BRIEF).elsewhere:
                self._ingress.open()
            report.ports[nic.mac]['proven'] = self._try_primary(
                nic, tried, other)
        finally:
            wire.close_later([other] if other else [])

    def hears_alone(self, nic: links.Nic) -> bool:
        """Whether answers come in on a VF, and not on its standby.

        What comes in meanwhile is lost if it is so: it is asked once more only
        without an answer.
        """
        standby = self._nics.standby(nic.mac)
        if standby is None or not standby.up:
            return True
        own, asked = self.addresses(nic.mac), self._asked(nic.mac)
        if not asked:
            return False
        opened: typing.List[wire.Wire] = []
        try:
            for each in (nic, standby):
                opened.append(wire.Wire(each, nic.mac))
            for patience in wire.THOROUGH:
                proof = wire.prove(opened[0], opened[1], own, asked,
                                   _elsewhere, (patience,))
                if proof.answered:
                    return not proof.elsewhere
        finally:
            wire.close_later(opened)
        return False

    def _try_primary(
            self, nic: links.Nic, tried: wire.Wire,
            other: typing.Optional[wire.Wire]) -> typing.Optional[bool]:
        """Whether traffic goes out and comes in; None if nobody can tell.

        :param other: on the standby, if that carries the traffic
        :raises Failed: neighbours answer over the standby only
        """
        asked, own = self._asked(nic.mac), self.addresses(nic.mac)
        both = _both if asked else _unicast
        proof = wire.prove(tried, other, own, asked, both)
        if not both(proof) and other and wire.prove(
                other, tried, own, asked, _answered).answered:
            raise Failed('Neighbours answer over %s and not over %s.'
                         % (other.name, nic.name))
        return proof.unicast or None

    def speak_on_standby(self, primary: links.Nic,
                         standby: links.Nic) -> None:
        """Let the standby speak for the port."""
        mac = primary.mac
        dressing.let_standby_speak(standby, self._kept.outfits[mac])
        self._announce(standby, mac)

    def end_on_standby(self, primary: links.Nic, standby: links.Nic,
                       tried: wire.Wire,
                       taken_in: deliveries.Deliveries) -> bool:
        """Set the primary down as soon as the standby gets all.

        A NIC that delivers to one of the two only must be left both: the
        host moves its filter.

        :returns: whether it is; where it stays up frames come in twice
        """
        mac = primary.mac
        worn = self._kept.outfits[mac]
        try:
            if not (taken_in.wait(worn.delivered(), _TAKING_OVER)
                    and wire.answered_on(tried, self.addresses(mac),
                                         self._asked(mac))):
                return False
            self._nics.set(primary, up=False)
        except OSError as error:
            # The traffic has left it, and comes back to it no more.
            LOG.warning('%s stays up: %s', primary.name, error)
            return False
        worn.replicated = True
        dressing.end_overlap(standby, worn)
        return True

    def end_on_primary(self, primary: links.Nic, tried: wire.Wire) -> None:
        """Park the standby, and let the primary speak for the port."""
        mac = primary.mac
        worn = self._kept.outfits.get(mac)
        standby = self._nics.standby(mac)
        if standby and standby.up:
            # What was sent over it has left when an answer comes back.
            wire.answered_on(tried, self.addresses(mac), self._asked(mac))
            with deliveries.Deliveries(primary.index) as taken_in:
                taken_in.wait(worn.delivered() if worn else set(),
                              _TAKING_OVER)
            with self._memberships.leaving(standby):
                self.park(standby, mac)
        self._announce(primary, mac)
        if worn:
            sysctl.write_changed(primary.name, worn.sysctls)

    def _announce(self, nic: links.Nic, mac: str) -> None:
        worn = self._kept.outfits.get(mac)
        wire.announce(wire.Mouth(nic), mac, self.addresses(mac),
                      bool(worn and worn.is_routers))

    def park(self, standby: links.Nic, mac: str) -> None:
        """Set a standby down, with a MAC that nobody has."""
        self._nics.set(standby, up=False)
        try:
            self._nics.set(standby, mac=links.parked(mac))
        except netlink.NetlinkError as error:
            # It goes without; frames come in twice for longer.
            LOG.warning('%s keeps its MAC: %s', standby.name, error)

    def addresses(self, mac: str) -> typing.List[wire.Address]:
        """One of each family that was on the primary of a port."""
        worn = self._kept.outfits.get(mac)
        return worn.voices() if worn else []

    def _asked(self, mac: str) -> typing.List[wire.Address]:
        """Neighbours to ask: the gateways first."""
        worn = self._kept.outfits.get(mac)
        known = worn.asked if worn else []
        asked: typing.List[wire.Address] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            asked += [(its, address) for its, address in known
                      if its == family][:_MOST_ASKED]
        return asked


def _answered(proof: wire.Proof) -> bool:
    return proof.answered


def _unicast(proof: wire.Proof) -> bool:
    return proof.unicast


def _elsewhere(proof: wire.Proof) -> bool:
    return proof.elsewhere


def _both(proof: wire.Proof) -> bool:
    """A question has left, and the answer came in here."""
    return proof.answered and proof.unicast


@contextlib.contextmanager
def urgently() -> typing.Iterator[None]:
    """Before all else that this guest has to do: frames come in twice.

    A guest that does not let the agent do so goes without.
    """
    with contextlib.ExitStack() as hurry:
        try:
            usual = os.sched_getscheduler(0), os.sched_getparam(0)
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_URGENT))
            hurry.callback(os.sched_setscheduler, 0, *usual)
        except OSError as error:
            # What is not changed is not to be put back: that may be forbidden
            # altogether, and would be taken for a failure of the switch.
            LOG.info('The switch is not hurried: %s', error)
        yield
