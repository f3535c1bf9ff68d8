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

"""All that the agent does to the NICs of its guest."""

import logging

from nova_vf_failover.guest import advertised
from nova_vf_failover.guest import dressing
from nova_vf_failover.guest import failback
from nova_vf_failover.guest import failover
from nova_vf_failover.guest import ingress
from nova_vf_failover.guest import inspection
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import multicast
from nova_vf_failover.guest import naming
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import overlap
from nova_vf_failover.guest import snapshot
from nova_vf_failover.guest import standbys
from nova_vf_failover.guest import switch
from nova_vf_failover.guest import udev
from nova_vf_failover.guest import upkeep

LOG = logging.getLogger(__name__)

# Seconds for the drivers of a guest that starts.
_STARTING = 30.0


class Mover:
    """Moves the traffic of ports between their NICs, and looks after them.

    :param kernel: the conversation with it
    :param nics: the NICs of the guest
    :param kept: what survives a restart
    """

    def __init__(self, kernel: netlink.Netlink, nics: links.Links,
                 kept: snapshot.Snapshot) -> None:
        self._nics = nics
        self._kept = kept
        switched = switch.Switch(kernel)
        switched.forget()
        self.inspection = inspection.Inspection(kernel, nics, switched)
        self._memberships = multicast.Memberships()
        coming_in = ingress.Ingress()
        # One that was killed while it dressed a VF has left it shut.
        coming_in.forget()
        both = overlap.Overlap(nics, kept, self._memberships, coming_in)
        self.addresses = both.addresses
        self._routers = advertised.Advertised()
        self._names = naming.Names(nics, kept)
        self._standbys = standbys.Standbys(
            kernel, nics, kept, switched, self._memberships, both)
        self.upkeep = upkeep.Upkeep(switched, self._standbys)
        self._failover = failover.Failover(
            kernel, nics, kept, switched, self._memberships, both,
            self._standbys)
        self._failback = failback.Failback(
            kernel, nics, kept, switched, self._memberships, coming_in, both,
            self._standbys, self._names, self._routers)

    # -- what an intent asks for ----------------------------------------------

    def check(self, intent: intents.Intent) -> None:
        """:raises intents.Refused: it would not work, and why"""
        self.inspection.check(intent.ports)

    def fail_over(self, intent: intents.Intent, report: intents.Report,
                  arrived: intents.Arrived) -> None:
        """Move to the standbys.

        :param arrived: see :data:`.intent.Arrived`
        :raises intents.Refused: nothing was changed
        :raises overlap.Failed: everything was put back
        """
        if any(port.mac in self._kept.away or self._nics.primary(port.mac)
               and self._standbys.in_use_alone(port.mac)
               for port in intent.ports):
            # An earlier move got stuck: start from the primaries.
            self.fail_back(intent, intents.Report(intent),
                           lambda condition, *limits: condition())
        self.check(intent)
        self._failover.move(intent, report, arrived)

    def fail_back(self, intent: intents.Intent, report: intents.Report,
                  arrived: intents.Arrived) -> None:
        """Move to the primaries, which are there.

        :raises overlap.Failed: traffic stays on the standbys
        """
        self._failback.move(intent, report, arrived)

    # -- whenever a NIC has come or gone ------------------------------------

    def tidy(self) -> None:
        """Park what is not in use, and forget what is over."""
        self._standbys.tidy()
        self._routers.tidy()

    def await_names(self) -> None:
        """Wait for udev to name the NICs that are there.

        Who comes after the agent while the guest starts takes the names that
        it finds; and a rule of the agent's own may take its time.
        """
        if not udev.await_true(lambda: all(
                udev.settled(nic.index) for nic in self._nics.all()
                if nic.driver), _STARTING):
            LOG.warning('udev has not named all NICs')
        if self._kept.restarted and self._names.restore_late():
            udev.await_idle(udev.NAMING)

    def rejoin(self) -> None:
        """Be a member again of what another agent before this one was.

        Its memberships went with it, and nobody has listened meanwhile.
        """
        intent = self._kept.intent
        if intent is None or intent.use == intents.STANDBY:
            # What a failback was in the middle of it does once more.
            self._failover.undo_what_was_cut_off()
        if self._kept.away:
            self._let_standbys_speak()
            self.upkeep.want()
        for mac, groups in self._kept.groups.items():
            primary, standby = self._nics.pair(mac)
            nic = standby if mac in self._kept.away else primary
            if nic:
                self._memberships.join(nic.index, groups)

    def _let_standbys_speak(self) -> None:
        """An agent that was killed around the switch has left them quiet."""
        for mac in self._kept.away:
            standby = self._nics.standby(mac)
            if standby and standby.mac == mac:
                dressing.let_standby_speak(standby, self._kept.outfits[mac])

    def start_anew(self) -> None:
        """What was done before the guest was restarted is undone.

        Then whoever configures the NICs has to find them by their names and
        MACs.
        """
        self._kept.away.clear()
        self._kept.alone.clear()
        self._kept.outfits.clear()
        self._kept.groups.clear()
        self._kept.write_if_possible()
        if not self._kept.names:
            return
        if not udev.await_idle(_STARTING):
            LOG.warning('udev is still at work; NICs may be missing')
        self.tidy()
        self._names.restore()
        udev.await_idle(udev.NAMING)
