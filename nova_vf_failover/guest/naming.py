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

"""The names of NICs: a port keeps the one that the guest's owner knows."""

import errno
import logging

from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import outfit
from nova_vf_failover.guest import snapshot
from nova_vf_failover.guest import udev

LOG = logging.getLogger(__name__)


class Names:
    """Gives NICs the names that they should have.

    :param nics: the NICs of the guest
    :param kept: the names of the primaries
    """

    def __init__(self, nics: links.Links, kept: snapshot.Snapshot) -> None:
        self._nics = nics
        self._kept = kept

    def rename(self, nic: links.Nic, name: str) -> links.Nic:
        """Give it a name, if nobody else has it."""
        if nic.name == name:
            return nic
        if self._nics.named(name):
            LOG.warning('The name %s is taken; %s stays', name, nic.name)
            return nic
        if nic.up:
            # Linux before 6.2 renames only what is down.
            self._nics.set(nic, up=False)
        self._nics.set(nic, name=name)
        return nic._replace(name=name)

    def return_to(self, nic: links.Nic, worn: outfit.Outfit) -> links.Nic:
        """Give a VF that has come the name that it had, or should have had."""
        name = (self._kept.names.get(nic.mac, worn.name)
                if nic.mac in self._kept.owed else worn.name)
        return self.rename(nic, name)

    def restore(self) -> None:
        """After a start of the guest: the NIC that a port has gets its name.

        Nobody has configured them yet.
        """
        for mac in list(self._kept.names):
            self._restore(mac)

    def restore_late(self) -> bool:
        """The same, for NICs that were found after that.

        The driver of a VF may be loaded when its standby has the name already.

        :returns: whether there were any
        """
        late = [mac for mac in self._kept.names if self._is_unnamed(mac)]
        for mac in late:
            self._restore(mac)
        return bool(late)

    def _is_unnamed(self, mac: str) -> bool:
        """Whether nobody has configured a port's NIC, nor given it its name.
        """
        primary, standby = self._nics.pair(mac)
        nic = primary or standby
        return bool(nic and nic.name != self._kept.names[mac] and not nic.up)

    def _restore(self, mac: str) -> None:
        name = self._kept.names[mac]
        primary, standby = self._nics.pair(mac)
        if primary and standby and standby.name == name:
            # It was found first.
            self._set_aside(standby)
        nic = primary or standby
        if nic:
            nic = self.rename(nic, name)
            self._settle(mac, nic.name == name)
            udev.introduce(nic.name)

    def take(self, nic: links.Nic, later: bool = False) -> str:
        """Give a VF its name, where its standby had it, which is parked now.

        After a start of the guest the standby was configured in its place,
        and is to be left alone from now on.

        :param later: not while the VF is in use
        :returns: the name that the VF has
        """
        name = self._kept.names.get(nic.mac, nic.name)
        standby = self._nics.standby(nic.mac)
        self._settle(nic.mac, nic.name == name)
        if standby is None or standby.up:
            return nic.name
        if standby.name != name:
            udev.look_again(standby.name)
            return nic.name
        self._set_aside(standby)
        if later:
            self._kept.owed.add(nic.mac)
            return nic.name
        try:
            self._nics.set(nic, name=name)
        except netlink.NetlinkError as error:
            if error.errno != errno.EBUSY:
                raise
            # Linux before 6.2, see above; it will have it at the next start.
            LOG.warning('%s is not called %s before the next start: %s',
                        nic.name, name, error)
            self._kept.owed.add(nic.mac)
            return nic.name
        self._settle(nic.mac, True)
        return name

    def _settle(self, mac: str, named: bool) -> None:
        """Owe a NIC no name any more that it has."""
        if named:
            self._kept.owed.discard(mac)

    def _set_aside(self, standby: links.Nic) -> None:
        """Let another NIC have the name of a standby, which is down."""
        name = 'standby%d' % standby.index
        self._nics.set(standby, name=name)
        udev.look_again(name)
