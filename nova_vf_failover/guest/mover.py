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

import logging
import socket
import typing

from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import outfit
from nova_vf_failover.guest import snapshot
from nova_vf_failover.guest import switch
from nova_vf_failover.guest import sysctl
from nova_vf_failover.guest import wire

LOG = logging.getLogger(__name__)

# Neighbours that are asked, per family: enough that one of them lives.
_MOST_ASKED = 4


# A primary and its standby, for each port.
Pairs = typing.List[typing.Tuple[links.Nic, links.Nic]]


class Failed(Exception):
    """It did not work and was put back; the message says why."""


class Mover:
    """Moves the traffic of ports between their NICs.

    :param netlink: a ``pyroute2.IPRoute``
    :param nics: the NICs of the guest
    :param kept: what survives a restart
    """

    def __init__(self, netlink: typing.Any, nics: links.Links,
                 kept: snapshot.Snapshot) -> None:
        self._netlink = netlink
        self._nics = nics
        self._kept = kept

    # -- before ---------------------------------------------------------------

    def check(self, intent: intents.Intent) -> None:
        """:raises intents.Refused: it would not work, and why"""
        for port in intent.ports:
            nic = self._nics.primary(port.mac)
            if nic is None:
                raise intents.Refused(
                    'There is no VF with the MAC %s.' % port.mac)
            self._check_nic(nic)

    def _check_nic(self, nic: links.Nic) -> None:
        if not nic.up or not nic.carrier:
            raise intents.Refused(
                '%s is down or has no carrier.' % nic.name)
        if nic.master:
            master = [other.name for other in self._nics.all()
                      if other.index == nic.master]
            raise intents.Refused('%s is a port of %s.' % (
                nic.name, master[0] if master else 'another device'))
        above = self._nics.on_top(nic)
        if above:
            raise intents.Refused('%s lies on %s.' % (above[0], nic.name))
        sentence = outfit.unsupported(self._netlink, nic, switch.TABLES)
        if sentence:
            raise intents.Refused(sentence)

    # -- primary -> standby ----------------------------------------------

    def fail_over(self, intent: intents.Intent, report: intents.Report,
                  arrived: typing.Any) -> None:
        """Move to the standbys.

        :param arrived: waits for a condition of the NICs, see the service
        :raises intents.Refused: nothing was changed
        :raises Failed: everything was put back
        """
        macs = {port.mac for port in intent.ports}
        if macs & self._kept.away:
            # An earlier move got stuck: start from the primaries.
            self.fail_back(intent, intents.Report(intent),
                           lambda condition: condition())
        self.check(intent)
        if not arrived(lambda: all(self._nics.standby(port.mac)
                                   for port in intent.ports)):
            raise intents.Refused('There is no standby NIC for each of the '
                                  'MACs ' + ', '.join(
                                      port.mac for port in intent.ports))
        pairs = [self._pair(port, report) for port in intent.ports]
        self._keep(pairs)
        try:
            with report.step('dress'):
                for primary, standby in pairs:
                    self._dress_standby(primary, standby)
            with report.step('prove'):
                for primary, standby in pairs:
                    self._prove_standby(primary, standby, report)
            with report.step('switch'):
                self._switch(self._kept.away)
        except Exception as error:
            LOG.exception('The traffic stays where it is')
            self._undress_standbys(pairs)
            raise Failed(str(error))
        with report.step('announce'):
            for primary, standby in pairs:
                wire.announce(standby, self._addresses(standby.mac))
                self._end_overlap(primary, standby, report)

    def _pair(
            self, port: intents.Port, report: intents.Report,
    ) -> typing.Tuple[links.Nic, links.Nic]:
        primary = self._nics.primary(port.mac)
        standby = self._nics.standby(port.mac)
        if primary is None or standby is None:
            raise intents.Refused('A NIC with the MAC %s has gone.' % port.mac)
        report.ports[port.mac].update(primary=primary.name,
                                      standby=standby.name)
        return primary, standby

    def _keep(
            self, pairs: Pairs,
    ) -> None:
        for primary, _ in pairs:
            self._kept.outfits[primary.mac] = outfit.take(
                self._netlink, primary)
            self._kept.away.add(primary.mac)
        self._kept.write()

    def _switch(self, away: typing.Set[str]) -> None:
        """Send the traffic of these MACs over their standbys.

        That of every other NIC goes where the main table sends it.
        """
        standbys = {mac: nic for mac, nic in (
            (mac, self._nics.standby(mac)) for mac in away) if nic}
        if not standbys:
            switch.off(self._netlink)
            return
        dressed = {
            self._kept.outfits[mac]['index']: nic.index
            for mac, nic in standbys.items()}
        left = [nic.index for nic in map(self._nics.primary, standbys) if nic]
        wanted = [route for route in outfit.routes(self._netlink)
                  if not outfit.uses(route, left)]
        for mac in sorted(standbys):
            wanted += self._kept.outfits[mac]['routes']
        switch.to_table(self._netlink, wanted, dressed)

    def _dress_standby(self, primary: links.Nic, standby: links.Nic) -> None:
        worn = self._kept.outfits[primary.mac]
        if standby.up:
            # Whatever the guest has put there by itself.
            self._netlink.flush_addr(index=standby.index)
        wanted = dict(worn['sysctls'])
        wanted.update({sysctl.RP_FILTER: '2', sysctl.ACCEPT_DAD: '0',
                       sysctl.ACCEPT_RA: '0', sysctl.ADDR_GEN_MODE: '1'})
        sysctl.write_changed(standby.name, wanted)
        sysctl.write_changed(primary.name, {sysctl.RP_FILTER: '2'})
        self._nics.set(standby, mtu=worn['mtu'])
        self._nics.set(standby, state='up')
        outfit.put_addresses_quietly(self._netlink, standby, worn)
        outfit.put_neighbours(self._netlink, standby, worn['neighbours'])

    def _prove_standby(self, primary: links.Nic, standby: links.Nic,
                       report: intents.Report) -> None:
        asked = self._asked(primary.mac)
        own = self._addresses(primary.mac)
        with wire.Wire(standby) as tried, wire.Wire(primary) as other:
            proof = wire.prove(tried, other, own, asked)
            if proof.answered or proof.unicast:
                report.ports[primary.mac]['proven'] = True
            elif asked and wire.prove(other, tried, own, asked).answered:
                raise Failed('Neighbours answer over %s and not over %s.'
                             % (primary.name, standby.name))

    def _end_overlap(self, primary: links.Nic, standby: links.Nic,
                     report: intents.Report) -> None:
        """Set the NIC that is not in use down, if the other one gets all.

        A NIC that delivers to one of the two only must be left both: the
        host moves its filter.
        """
        with wire.Wire(standby) as tried:
            proof = wire.prove(tried, None, self._addresses(primary.mac),
                               self._asked(primary.mac))
        if proof.unicast:
            self._nics.set(primary, state='down')
        else:
            report.ports[primary.mac]['overlap'] = True

    def _undress_standbys(self, pairs: Pairs) -> None:
        macs = {primary.mac for primary, _ in pairs}
        self._switch(self._kept.away - macs)
        for primary, standby in pairs:
            self._nics.set(standby, state='down')
            self._netlink.flush_addr(index=standby.index)
            sysctl.write_changed(
                primary.name, self._kept.outfits[primary.mac]['sysctls'])
        self._kept.away -= macs
        self._kept.write()

    # -- standby -> primary ----------------------------------------------

    def fail_back(self, intent: intents.Intent, report: intents.Report,
                  arrived: typing.Any) -> None:
        """Move to the primaries, which are there.

        :raises Failed: traffic stays on the standbys
        """
        with report.step('dress'):
            primaries = [self._dress_primary(port, report)
                         for port in intent.ports]
        with report.step('carrier'):
            self._await_carrier(primaries, arrived)
        with report.step('prove'):
            self._put_routes(primaries)
            for nic in primaries:
                self._prove_primary(nic, report)
        with report.step('switch'):
            self._switch(self._kept.away - {nic.mac for nic in primaries})
        with report.step('announce'):
            for nic in primaries:
                wire.announce(nic, self._addresses(nic.mac))
            report.on_leaving(report)
            for nic in primaries:
                self._end_standby(nic)
                self._restore_sysctls(nic)
        self._kept.away -= {nic.mac for nic in primaries}
        self._kept.write()

    def _dress_primary(
            self, port: intents.Port, report: intents.Report) -> links.Nic:
        """Bring the VF up with its addresses before anything else.

        From the moment it is attached a NIC may deliver to it only.
        """
        nic = self._nics.primary(port.mac)
        if nic is None:
            raise Failed('The VF with the MAC %s has gone.' % port.mac)
        worn = self._kept.outfits.get(port.mac)
        if worn:
            nic = self._rename(nic, worn['name'])
            sysctl.write_changed(nic.name, dict(
                worn['unusual'], **{sysctl.RP_FILTER: '2',
                                    sysctl.ACCEPT_DAD: '0',
                                    sysctl.ADDR_GEN_MODE: '1'}))
            if nic.mtu != worn['mtu']:
                self._nics.set(nic, mtu=worn['mtu'])
            self._nics.set(nic, state='up')
            outfit.put_addresses(self._netlink, nic, worn)
            outfit.put_neighbours(self._netlink, nic, self._neighbours(nic))
        else:
            self._nics.set(nic, state='up')
        report.ports[port.mac]['primary'] = nic.name
        return nic

    def _rename(self, nic: links.Nic, name: str) -> links.Nic:
        """Give it the name that the guest's configuration knows."""
        if nic.name == name:
            return nic
        if self._nics.named(name):
            LOG.warning('The name %s is taken; the VF stays %s', name,
                        nic.name)
            return nic
        if nic.up:
            # Linux before 6.2 renames only what is down.
            self._nics.set(nic, state='down')
        self._nics.set(nic, ifname=name)
        return nic._replace(name=name)

    def _neighbours(
            self, nic: links.Nic) -> typing.List[typing.Dict[str, typing.Any]]:
        """Those that the standby knows now, and those known before."""
        standby = self._nics.standby(nic.mac)
        fresh = outfit.neighbours(self._netlink, standby) if standby else []
        before = self._kept.outfits[nic.mac]['neighbours']
        known = {(entry['family'], entry['dst']): entry
                 for entry in before + fresh}
        return list(known.values())

    def _await_carrier(self, primaries: typing.List[links.Nic],
                       arrived: typing.Any) -> None:
        indexes = {nic.index for nic in primaries}
        if not arrived(lambda: indexes <= {
                nic.index for nic in self._nics.all() if nic.carrier}):
            raise Failed('No carrier on ' + ', '.join(
                nic.name for nic in primaries))

    def _put_routes(self, primaries: typing.List[links.Nic]) -> None:
        pairs = [(nic, self._kept.outfits[nic.mac]) for nic in primaries
                 if nic.mac in self._kept.outfits]
        dressed = {worn['index']: nic.index for nic, worn in pairs}
        for nic, worn in pairs:
            outfit.put_routes(self._netlink, worn['routes'], dressed,
                              outfit.MAIN_TABLE)
            outfit.drop_unwanted_routes(self._netlink, nic, worn['routes'])

    def _end_standby(self, primary: links.Nic) -> None:
        standby = self._nics.standby(primary.mac)
        if standby and standby.up:
            self._nics.set(standby, state='down')

    def _prove_primary(self, nic: links.Nic, report: intents.Report) -> None:
        standby = self._nics.standby(nic.mac)
        asked, own = self._asked(nic.mac), self._addresses(nic.mac)
        with wire.Wire(nic) as tried:
            other = wire.Wire(standby) if standby and standby.up else None
            try:
                proof = wire.prove(tried, other, own, asked)
                if proof.unicast:
                    report.ports[nic.mac]['proven'] = True
                elif other and wire.prove(other, tried, own, asked).answered:
                    raise Failed('Neighbours answer over %s and not over %s.'
                                 % (other.nic.name, nic.name))
            finally:
                if other:
                    other.socket.close()

    def _restore_sysctls(self, nic: links.Nic) -> None:
        worn = self._kept.outfits.get(nic.mac)
        if worn:
            sysctl.write_changed(nic.name, worn['sysctls'])

    def tidy(self) -> None:
        """Forget the outfits of the NICs whose standby has gone."""
        over = [mac for mac in self._kept.outfits
                if mac not in self._kept.away and not self._nics.standby(mac)]
        for mac in over:
            del self._kept.outfits[mac]
        if over:
            self._kept.write()

    # -- what both need --------------------------------------------------

    def _addresses(self, mac: str) -> typing.List[typing.Tuple[int, str]]:
        worn = self._kept.outfits.get(mac, {})
        return [(address['family'], address.get('local')
                 or address['address'])
                for address in worn.get('addresses', [])]

    def _asked(self, mac: str) -> typing.List[typing.Tuple[int, str]]:
        """Neighbours to ask: the gateways first."""
        worn = self._kept.outfits.get(mac, {})
        gateways = {route.get('gateway') for route in worn.get('routes', [])}
        known = sorted(
            worn.get('neighbours', []),
            key=lambda entry: entry['dst'] not in gateways)
        asked: typing.List[typing.Tuple[int, str]] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            asked += [(family, entry['dst']) for entry in known
                      if entry['family'] == family][:_MOST_ASKED]
        return asked
