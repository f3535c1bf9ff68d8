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

"""A macvtap in bridge mode on the PF of the VF that it stands in for.

It adds the port's MAC to the PF's unicast filters, so the NIC delivers to it
without a bridge, without learning and without promiscuous mode. Nova has had
this type of VIF since the Juno release; it plugs the VLAN device, writes the
XML and rewrites it for the destination by itself.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
import contextlib
import copy
import hashlib
import itertools
import threading

import nova.exception
from nova.network import model
import nova.pci.utils
from oslo_log import log as logging

from nova_vf_failover import exception
from nova_vf_failover.standby import base
from nova_vf_failover.standby import links

LOG = logging.getLogger(__name__)

# Written as ifalias onto the macvtaps of standbys, and onto the VLAN devices
# that came with them. What the operator has made for something else does not
# have it and is left alone.
MARK = 'nova_vf_failover'

_LONGEST_NAME = 15


class MacvtapStandby(base.Standby):
    """Standbys on the PFs of this host.

    :param host_links: the links of the host
    """

    def __init__(self, host_links: links.HostLinks | None = None) -> None:
        self._links = host_links or links.HostLinks()
        # Held while a VLAN device is looked for and made, or removed.
        self._making = threading.Lock()
        # The VLAN devices on which the standby of a port is to come, with the
        # port, and the number of the plugging since which. Nova plugs them
        # long before libvirt makes the macvtap, and as long as there is none,
        # nothing else tells that they are needed.
        self._awaited: dict[tuple[str, str], int] = {}
        self._pluggings = itertools.count()
        self._plugging: set[tuple[str, str]] = set()
        # Macvtaps that no domain had at the last sweep.
        self._orphans: set[tuple[str, int]] = set()
        # Nova looks at its resources after each live migration, too, and so
        # there may be several sweeps at once.
        self._sweeping = threading.Lock()

    def check(self, vif: base.VIF) -> None:
        pf = self._uplink(vif)
        link = self._links.find(pf)
        if link is None:
            raise exception.CannotSwap(
                exception.ports(vif['id']),
                f'PF {pf} does not exist on this host.',
                'Load its driver or correct [pci] device_spec.')
        _check_link(vif, 'PF', link)
        vlan = _vlan(vif)
        if vlan:
            self._check_vlan(vif, pf, int(vlan))

    def _check_vlan(self, vif: base.VIF, pf: str, vlan: int) -> None:
        """See whether a macvtap could be on this VLAN of the PF."""
        source = _source(pf, str(vlan))
        link = self._links.vlan_of(pf, vlan)
        if link and link.name != source:
            raise exception.CannotSwap(
                exception.ports(vif['id']),
                f'VLAN {vlan} of PF {pf} is already the link '
                f'{link.name}, and the macvtap needs it as {source}.',
                f'Remove {link.name}, or give it the name {source}.')
        if link:
            _check_link(vif, 'VLAN device', link)
        elif self._links.find(source):
            raise exception.CannotSwap(
                exception.ports(vif['id']),
                f'Link {source} is not VLAN {vlan} of PF {pf}, and '
                'the macvtap needs one of this name.',
                f'Give {source} another name.')
        if ((link is None or link.alias == MARK)
                and not self._links.can_keep_host_off()):
            raise exception.CannotSwap(
                exception.ports(vif['id']),
                f'nova-compute may not write to /proc/sys here, so '
                f'this host would hear and answer on VLAN {vlan} of PF {pf}.',
                'Have its container be privileged, or make the link '
                f'{source} yourself.')

    def limit(self) -> tuple[str, str] | None:
        if self._links.can_keep_host_off():
            return None
        return ('nova-compute may not write to /proc/sys here, so this host '
                'would hear and answer on the VLANs of its servers: a port '
                'that is on a VLAN is not swapped.',
                'Have its container be privileged, or make the links of the '
                'VLANs yourself.')

    def out_of_reach(self, vif: base.VIF) -> tuple[str, str] | None:
        # A macvtap and the link it lies on hear nothing of one another
        # (drivers/net/macvlan.c, macvlan_queue_xmit). The host's own IP stack
        # is kept off what is marked.
        pf = self._uplink(vif)
        names = [pf] + [link.name for link in self._links.of_kind('vlan')
                        if link.lower == pf and link.alias != MARK]
        found = [f'{address} on {name}' for name in names
                 for address in self._links.addresses(name)]
        if not found:
            return None
        return (f'This host has {", ".join(found)}: a server on its standby '
                'and the host do not reach each other there, unless a router '
                'is between them.',
                'Where servers need the host in a network of their own, give '
                'it its address on another NIC.')

    def describe(self, vif: base.VIF) -> base.VIF:
        pf = self._uplink(vif)
        vlan = _vlan(vif)
        details = {
            model.VIF_DETAILS_PHYS_INTERFACE: pf,
            model.VIF_DETAILS_MACVTAP_SOURCE: _source(pf, vlan),
            model.VIF_DETAILS_MACVTAP_MODE: 'bridge',
        }
        if vlan:
            details[model.VIF_DETAILS_VLAN] = vlan
        standby = copy.deepcopy(vif)
        standby['type'] = model.VIF_TYPE_MACVTAP
        standby['vnic_type'] = model.VNIC_TYPE_NORMAL
        standby['profile'] = {}
        standby['details'] = details
        return standby

    @contextlib.contextmanager
    def plugging(self, standby: base.VIF) -> Iterator[None]:
        # Nova would make the VLAN device by itself; one that it makes is an
        # operator's until it is marked, and stays where that never happens.
        details = standby['details']
        source = details[model.VIF_DETAILS_MACVTAP_SOURCE]
        lower = details[model.VIF_DETAILS_PHYS_INTERFACE]
        awaited = source, standby['id']
        with self._making:
            self._awaited[awaited] = next(self._pluggings)
            self._plugging.add(awaited)
        try:
            with self._making:
                if source != lower:
                    self._provide(lower, source, int(
                        details[model.VIF_DETAILS_VLAN]))
            yield
        finally:
            with self._making:
                self._plugging.remove(awaited)

    def _provide(self, lower: str, source: str, vlan: int) -> None:
        """Have a VLAN device of our own, unless an operator has one."""
        link = self._links.find(source)
        if link is None:
            self._links.add_vlan(lower, source, vlan, MARK)
        elif link.alias == MARK:
            # An older release may have made it.
            self._links.keep_host_off(source)

    def attached(self, device: str) -> None:
        # A macvtap drops groups that it was not told of (drivers/net/
        # macvlan.c, macvlan_compute_filter), IPv6's neighbour solicitations
        # among them. QEMU tells libvirt which ones the guest has joined, and
        # libvirt passes them on only where the domain's XML trusts the guest
        # (trustGuestRxFilters), which Nova does not write.
        self._links.receive_all_groups(device)
        self._links.mark(device, MARK)
        # The host hears nothing on a macvtap, all of it goes to the guest
        # (drivers/net/tap.c, tap_handle_frame), but as soon as libvirt has it
        # up it says with the guest's MAC which groups it joins, asks for
        # routers, and for others with the guest's link-local address.
        try:
            self._links.keep_host_off(device)
        except OSError as error:
            # /proc/sys is read-only. The guest is none the worse for it.
            LOG.warning('The host stays on macvtap %(device)s: %(error)s',
                        {'device': device, 'error': error})

    def release(self, standby: base.VIF) -> None:
        details = standby['details']
        source = details[model.VIF_DETAILS_MACVTAP_SOURCE]
        if source == details[model.VIF_DETAILS_PHYS_INTERFACE]:
            return
        with self._making:
            self._awaited.pop((source, standby['id']), None)
            self._remove_unused(self._links.find(source))

    def sweep(self, used: Callable[[], Collection[str]],
              arriving: Callable[[], bool]) -> None:
        if not self._sweeping.acquire(blocking=False):
            # One is under way, and what it was told of the host is as new.
            return
        try:
            self._sweep(used, arriving)
        finally:
            self._sweeping.release()

    def _sweep(self, used: Callable[[], Collection[str]],
               arriving: Callable[[], bool]) -> None:
        if self._nothing_here():
            self._orphans = set()
            return
        with self._making:
            given_up = {awaited: number
                        for awaited, number in self._awaited.items()
                        if awaited not in self._plugging}
        if arriving():
            return
        self._sweep_macvtaps(used)
        with self._making:
            self._give_up(given_up)
            # Listed once more: what came while it was asked who arrives may
            # be in use by now.
            for link in self._links.all():
                if link.unfinished:
                    self._links.remove(link.name)
                else:
                    self._remove_unused(link)

    def _give_up(self, awaited: dict[tuple[str, str], int]) -> None:
        """Forget these, unless they were plugged again since they were listed.
        """
        for which, number in awaited.items():
            if self._awaited.get(which) == number:
                del self._awaited[which]

    def _nothing_here(self) -> bool:
        """Whether this host has nothing that a sweep could remove.

        So it is with most hosts at most times, and the conductor need not be
        asked who arrives. What is plugged meanwhile is left to the next sweep.
        """
        with self._making:
            if self._awaited:
                return False
        # A macvtap that is ours without a mark lies on a link that has one.
        return not any(link.alias == MARK or link.unfinished
                       for link in self._links.all())

    def _sweep_macvtaps(self, used: Callable[[], Collection[str]]) -> None:
        """Remove macvtaps whose guest has gone without libvirt.

        One that libvirt is just making is in no domain either: not before
        QEMU has the NIC (qemuDomainAttachNetDevice). So only what was an
        orphan at the last sweep too is removed, and nothing where a standby
        is just being plugged. Not every one has its mark already, but what
        lies on a VLAN device of ours is ours.
        """
        plugging = self._sources()
        there = self._links.all()
        vlans = {link.name for link in there
                 if link.kind == 'vlan' and link.alias == MARK}
        ours = [link for link in there if link.kind == 'macvtap'
                and (link.alias == MARK or link.lower in vlans)]
        known = used() if ours else ()
        plugging |= self._sources()
        orphans = {(link.name, link.index) for link in ours
                   if link.name not in known and link.lower not in plugging}
        for name, _index in sorted(orphans & self._orphans):
            LOG.info('Removing macvtap %s: no domain of this host has it',
                     name)
            self._links.remove(name)
        self._orphans = orphans - self._orphans

    def _sources(self) -> set[str | None]:
        """The links that a standby is just being plugged on."""
        with self._making:
            return {source for source, _ in self._plugging}

    def _remove_unused(self, link: links.Link | None) -> None:
        if (link and link.kind == 'vlan' and link.alias == MARK
                and not link.uppers
                and link.name not in {name for name, _ in self._awaited}):
            LOG.info('Removing VLAN device %s: the last standby on it has '
                     'gone', link.name)
            self._links.remove(link.name)

    def _uplink(self, vif: base.VIF) -> str:
        """The name of the PF of the VIF's VF."""
        address = vif['profile']['pci_slot']
        try:
            return str(nova.pci.utils.get_ifname_by_pci_address(
                address, pf_interface=True))
        except nova.exception.PciDeviceNotFoundById as error:
            raise exception.CannotSwap(
                exception.ports(vif['id']),
                f'VF {address} has gone, or its PF has no network '
                'interface on this host.', 'Load the driver of the PF, or '
                'restart nova-compute if the VF is not to come back.'
            ) from error


def _check_link(vif: base.VIF, what: str, link: links.Link) -> None:
    """See whether a macvtap could be on this link.

    :param what: what kind of link it is, as an operator calls it
    :raises exception.CannotSwap: it could not, or would carry nothing
    """
    name = link.name
    if link.master:
        raise exception.CannotSwap(
            exception.ports(vif['id']),
            f'{what} {name} is a port of the {link.master_kind or "switch"} '
            f'{link.master}, where the kernel refuses a macvtap.',
            f'Take {name} out of {link.master}, or use another PF.')
    if not link.up:
        raise exception.CannotSwap(
            exception.ports(vif['id']),
            f'{what} {name} is down, so a macvtap on it would '
            'carry nothing.', f'Set it up: ip link set {name} up.')
    if not link.carrier:
        raise exception.CannotSwap(
            exception.ports(vif['id']),
            f'{what} {name} has no carrier, so a macvtap on it '
            'would carry nothing.', 'Check its cable and its switch port.')
    needed = _mtu(vif)
    if needed and link.mtu < needed:
        raise exception.CannotSwap(
            exception.ports(vif['id']),
            f'{what} {name} has an MTU of {link.mtu} and the '
            f'network of the port {needed}.',
            f'Raise it: ip link set {name} mtu {needed}.')


def _vlan(vif: base.VIF) -> str | None:
    """The VLAN of the port, None on a flat network.

    Neutron's sriovnicswitch writes it as a string, and "0" for flat, which
    Nova would take for a VLAN of a macvtap.
    """
    vlan = vif['details'].get(model.VIF_DETAILS_VLAN)
    return str(vlan) if vlan and int(vlan) else None


def _source(pf: str, vlan: str | None) -> str:
    """The device under the macvtap: the PF, or a VLAN device on it.

    A PF of systemd's naming with a VLAN behind it may be longer than a link's
    name can be (IFNAMSIZ, include/uapi/linux/if.h); a digest takes its place
    then, the same on every call.
    """
    if not vlan:
        return pf
    name = f'{pf}.{vlan}'
    if len(name) > _LONGEST_NAME:
        digest = hashlib.sha256(pf.encode()).hexdigest()
        name = f'vff{digest[:7]}.{vlan}'
    return name


def _mtu(vif: base.VIF) -> int | None:
    network = vif.get('network')
    return network.get_meta('mtu') if network else None
