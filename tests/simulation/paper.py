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

"""A host's network that exists on paper, and refuses what a kernel would."""

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
import threading
import typing

from tests.simulation import dataplane
from tests.simulation import errors


@dataclasses.dataclass
class PaperLink:
    """A link of a host: a PF or a VLAN device."""

    name: str
    up: bool = True
    carrier: bool = True
    mtu: int = 1500
    master: str | None = None
    master_kind: str | None = None
    alias: str | None = None
    lower: str | None = None
    vlan: int | None = None


# How a NIC delivers what comes for the MAC of a VF, as in
# :mod:`tests.simulation.fabric.nic`.
REPLICATING, EXCLUSIVE, REFUSING = 'replicating', 'exclusive', 'refusing'


@dataclasses.dataclass
class PaperVF:
    """A VF of a PF; ``owner`` is the guest that has it.

    :ivar mac: the administrative MAC
    :ivar filter: what is delivered to it
    """

    pf: str
    mac: str | None = None
    vlan: int | None = None
    owner: str | None = None
    filter: str | None = None


@dataclasses.dataclass
class PaperMacvtap:
    """A macvtap on a link.

    :ivar all_groups: whether it passes groups on that nobody told it of
    :ivar filtered: whether the PF has taken its MAC
    """

    guest: str
    source: str
    mac: str
    flowing: bool = False
    all_groups: bool = False
    filtered: bool = False
    alias: str | None = None


class PaperGuest:
    """The NICs that a guest sees and the one that it uses, by MAC.

    A NIC is ``primary`` (a VF) or ``standby`` (virtio).
    """

    def __init__(self) -> None:
        self.nics: dict[str, set[str]] = {}
        self.uses: dict[str, str] = {}
        #: called when a VF has appeared
        self.on_arrival: Callable[[], None] = lambda: None

    def add(self, mac: str, role: str) -> None:
        self.nics.setdefault(mac, set()).add(role)
        # What an operating system does with the first NIC of its MAC.
        self.uses.setdefault(mac, role)
        if role == 'primary':
            self.on_arrival()

    def remove(self, mac: str, role: str) -> None:
        self.nics[mac].discard(role)
        if not self.nics[mac]:
            # It begins anew with the next one, and so does a guest that was
            # off.
            self.uses.pop(mac, None)


class PaperDataPlane:
    """One host.

    :param guests: the guests of all hosts
    """

    def __init__(self, host: str, guests: dict[str, PaperGuest]) -> None:
        self.host = host
        self.guests = guests
        self.links: dict[str, PaperLink] = {}
        self.vfs: dict[str, PaperVF] = {}
        self.macvtaps: dict[str, PaperMacvtap] = {}
        self.mode = REPLICATING
        #: the kernel's driver of the PFs
        self.driver = 'ice'
        #: whether VFs keep their MAC when they come back from a guest
        self.forgetful = False
        #: the names of the methods called, for a test of the order
        self.calls: list[str] = []
        self._faults: dict[str, list[Exception]] = {}
        self._lock = threading.RLock()

    def add_pf(self, name: str, vfs: Iterable[str]) -> None:
        """A PF that is up, and its VFs by PCI address."""
        self.links[name] = PaperLink(name)
        for address in vfs:
            self.vfs[address] = PaperVF(name)

    def add_vlan(self, lower: str, name: str, vlan: int) -> None:
        """A VLAN device on a link, as ``ip link add … type vlan`` makes it."""
        with self._lock:
            self._need(lower)
            if len(name) > 15:
                raise errors.internal(f'name {name} too long for a link')
            self.links[name] = PaperLink(name, lower=lower, vlan=vlan)

    def remove_link(self, name: str) -> None:
        with self._lock:
            self.links.pop(name, None)
            self.macvtaps.pop(name, None)

    def find(self, name: str) -> PaperLink | PaperMacvtap:
        """A link by its name, whatever it is."""
        return self.links.get(name) or self.macvtaps[name]

    def uppers(self, name: str) -> tuple[str, ...]:
        """The links that lie on a link."""
        with self._lock:
            return tuple(
                [link.name for link in self.links.values()
                 if link.lower == name]
                + [target for target, macvtap in self.macvtaps.items()
                   if macvtap.source == name])

    def fail_next(self, method: str, error: Exception, times: int = 1) -> None:
        """Let the next calls of a method fail before they do anything."""
        self._faults.setdefault(method, []).extend([error] * times)

    def snapshot(self) -> dict[str, typing.Any]:
        """Everything that a move may leave behind on the host."""
        with self._lock:
            return {
                'links': sorted(self.links),
                'macvtaps': sorted(
                    (macvtap.source, macvtap.mac, macvtap.flowing)
                    for macvtap in self.macvtaps.values()),
                'vfs': sorted((address, vf.mac, vf.vlan)
                              for address, vf in self.vfs.items()
                              if vf.owner or vf.mac),
            }

    def reaches(self, guest: str, mac: str, vlan: int) -> bool:
        """Whether frames for the MAC come to a guest that takes them in.

        One that uses its standby does so on its VF as well.

        :param vlan: that of the frames; 0 if they have no tag
        """
        uses = self.guests[guest].uses.get(mac)
        if uses is None or uses not in self.guests[guest].nics.get(mac, ()):
            return False
        return vlan in self.delivers(guest, mac, uses) or (
            uses == 'standby'
            and vlan in self.delivers(guest, mac, 'primary'))

    def delivers(self, guest: str, mac: str, role: str) -> set[int]:
        """The VLANs of the frames for the MAC that come to a guest's NIC.

        0 is for frames without a tag.
        """
        with self._lock:
            if role == 'primary':
                return {vf.vlan or 0 for vf in self.vfs.values()
                        if vf.owner == guest and vf.filter == mac}
            return {
                self._vlan(macvtap.source)
                for macvtap in self.macvtaps.values()
                if (macvtap.guest, macvtap.mac, macvtap.flowing)
                == (guest, mac, True) and self._working(macvtap.source)
                and self._filtered(macvtap)}

    def _vlan(self, name: str) -> int:
        return self.links[name].vlan or 0

    def _filtered(self, macvtap: PaperMacvtap) -> bool:
        """Whether the NIC does, as far as its filters go."""
        if self.mode == REPLICATING:
            return True
        if self.mode == REFUSING:
            return macvtap.filtered
        return not self._held(macvtap.mac)

    def _held(self, mac: str) -> bool:
        return any(vf.filter == mac for vf in self.vfs.values())

    def set_vf_mac(self, address: str, mac: str) -> None:
        """``ip link set PF vf N mac MAC``."""
        with self._called('set_vf_mac'):
            vf = self.vfs[address]
            vf.mac = mac if int(mac.replace(':', ''), 16) else None
            if self.mode != REFUSING:
                vf.filter = vf.mac

    def renew_filter(self, device: str) -> None:
        """Set a macvtap down and up."""
        with self._called('renew_filter'):
            macvtap = self.macvtaps[device]
            macvtap.filtered = not self._held(macvtap.mac)

    def _working(self, name: str) -> bool:
        link = self.links.get(name)
        return bool(link and link.up and link.carrier and (
            link.lower is None or self._working(link.lower)))

    def assign_vf(self, guest: str, nic: dataplane.Nic) -> None:
        with self._called('assign_vf'):
            vf = self.vfs.get(nic.vf or '')
            if vf is None:
                raise errors.no_device(nic.vf or '')
            if vf.owner:
                raise errors.in_use(nic.vf or '', vf.owner)
            vf.mac, vf.vlan, vf.owner = nic.mac, nic.vlan, guest
            vf.filter = nic.mac
        self._guest(guest).add(nic.mac, 'primary')

    def return_vf(self, guest: str, nic: dataplane.Nic) -> None:
        with self._called('return_vf'):
            self._guest(guest).remove(nic.mac, 'primary')
            vf = self.vfs[nic.vf or '']
            if not self.forgetful:
                vf.mac = None
            vf.vlan = vf.owner = vf.filter = None

    def plug_macvtap(self, guest: str, nic: dataplane.Nic) -> None:
        with self._called('plug_macvtap'):
            link = self._need(nic.source or '')
            if link.master:
                raise errors.system(
                    f'error creating macvtap interface {nic.target}@'
                    f'{nic.source} ({nic.mac}): Device or resource busy')
            self.macvtaps[nic.target or ''] = PaperMacvtap(
                guest, link.name, nic.mac)

    def connect_macvtap(self, guest: str, nic: dataplane.Nic) -> None:
        with self._called('connect_macvtap'):
            macvtap = self.macvtaps[nic.target or '']
            macvtap.flowing = True
            macvtap.filtered = not self._held(nic.mac)
        guest_nics = self._guest(guest)
        if 'standby' not in guest_nics.nics.get(nic.mac, ()):
            guest_nics.add(nic.mac, 'standby')

    def disconnect_macvtap(self, guest: str, nic: dataplane.Nic,
                           keep_guest_nic: bool) -> None:
        with self._called('disconnect_macvtap'):
            self.macvtaps[nic.target or ''].flowing = False
            if not keep_guest_nic:
                self._guest(guest).remove(nic.mac, 'standby')

    def unplug_macvtap(self, guest: str, nic: dataplane.Nic) -> None:
        with self._called('unplug_macvtap'):
            self.macvtaps.pop(nic.target or '', None)

    def _called(self, method: str) -> threading.RLock:
        self.calls.append(method)
        if self._faults.get(method):
            raise self._faults[method].pop(0)
        return self._lock

    def _need(self, name: str) -> PaperLink:
        if name not in self.links:
            raise errors.system(
                f"Cannot get interface MTU on '{name}': No such device")
        return self.links[name]

    def _guest(self, guest: str) -> PaperGuest:
        return self.guests.setdefault(guest, PaperGuest())
