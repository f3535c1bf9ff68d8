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

"""An SR-IOV NIC made of a bridge and veth pairs.

Each function is a cable to the switch inside the NIC: the PF always, a VF as
long as it is on the host or in a guest. The switch learns nothing from them;
it delivers by the filters that are programmed, from the moment they are:

``replicating``
    A frame goes to every function whose filter matches: to the VF that has
    the MAC, and to the PF, where a macvtap takes what is its own. It is what
    was measured on igb.
``exclusive``
    A frame goes to the VF that has the MAC, and to the PF only if none has.
``refusing``
    A frame goes to the function that has asked for its MAC and was not
    refused. The PF is refused what a VF has, and has to ask again; a VF keeps
    what it has, whatever MAC the PF gives it, until it is reset.
"""

import errno
import socket

from pyroute2.netlink import exceptions

from tests.simulation.fabric import namespace

# include/uapi/linux/if_ether.h and if_packet.h
_ETH_P_ALL = 0x0003
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23

REPLICATING, EXCLUSIVE = 'replicating', 'exclusive'
REFUSING = 'refusing'

NO_MAC = '00:00:00:00:00:00'


class Nic:
    """A NIC in a host.

    :param host: the host's namespace, which gets the PF and the VFs
    :param pf: the name of the PF there; VF n is called ``<pf>v<n>``
    :param vfs: the PCI addresses of the VFs
    :ivar macs: the administrative MAC of each VF
    :ivar resets: whether a VF is reset when it is given a MAC, see
        :meth:`.host.Host.set_vf_mac`
    """

    resets = False

    def __init__(self, host: namespace.Namespace, pf: str, vfs: list[str],
                 mode: str = REPLICATING) -> None:
        self.host = host
        self.pf = pf
        self._mode = mode
        self._ignored: set[str] = set()
        self._switch = namespace.Namespace('nic')
        self._switch.netlink.link('add', ifname='switch', kind='bridge')
        self._switch.set('switch', state='up')
        self.vfs = {address: f'{pf}v{number}'
                    for number, address in enumerate(vfs)}
        self.macs = dict.fromkeys(vfs, NO_MAC)
        #: by PCI address, the MAC that is delivered to a VF
        self._filters: dict[str, str] = {}
        #: the MACs that are delivered to the PF and to nobody else
        self._taken: set[str] = set()
        self._add_function(pf, unicast_flood=int(mode != REFUSING))
        for name in self.vfs.values():
            self._add_function(name, unicast_flood=0)

    def close(self) -> None:
        self._switch.close()

    def connect(self, wire: namespace.Namespace, port: str) -> None:
        """Plug the NIC into a switch of the network."""
        self._switch.add_veth('uplink', wire, port)
        self._switch.set('uplink', master=self._switch.index('switch'))
        self._port('uplink', learning=0)

    def program(self, vf: str, mac: str) -> None:
        """Set the MAC of a VF that no guest has; frames for it go there now.
        """
        self.macs[vf] = mac
        self._deliver(vf, mac)

    def reset(self, vf: str) -> None:
        """Take the MAC of a VF away."""
        self.macs[vf] = NO_MAC
        self._deliver(vf, None)

    def set_mac(self, vf: str, mac: str) -> None:
        """Set the administrative MAC of a VF that may be in a guest.

        :raises pyroute2.NetlinkError: EINVAL where there is no such VF
        """
        if vf not in self.vfs:
            raise exceptions.NetlinkError(errno.EINVAL, 'Invalid argument')
        self.macs[vf] = mac
        if self._mode != REFUSING:
            self._deliver(vf, None if mac == NO_MAC else mac)

    def ask(self, mac: str) -> None:
        """The PF is to get what comes for a MAC, of a macvtap on it."""
        if self._mode == REFUSING and mac not in self._filters.values():
            self._filter('add', self.pf, mac)
            self._taken.add(mac)

    def let_go(self, mac: str) -> None:
        """The macvtap with a MAC went down."""
        if mac in self._taken:
            self._taken.remove(mac)
            self._filter('del', self.pf, mac)

    def _deliver(self, vf: str, mac: str | None) -> None:
        """Have the switch deliver to a VF what comes for a MAC, if any."""
        if vf in self._ignored:
            return
        before = self._filters.pop(vf, None)
        if mac:
            self._filters[vf] = mac
            # Between two functions that ask, the VF is the one that gets it.
            self.let_go(mac)
        if self._mode == REPLICATING:
            # The switch floods; what is for others the VF does not take in.
            self._port(self.vfs[vf], unicast_flood=int(bool(mac)))
            return
        if before:
            self._filter('del', self.vfs[vf], before)
        if mac:
            self._filter('add', self.vfs[vf], mac)

    def become(self, mode: str) -> None:
        """Another NIC in its place; no VF may have a MAC."""
        self._mode = mode

    def ignore(self, vf: str) -> None:
        """From now on the NIC takes a MAC for a VF and does not filter for it.
        """
        self._ignored.add(vf)

    def cut(self, vf: str) -> None:
        """A VF has no carrier from now."""
        self._switch.set(self.vfs[vf], state='down')

    def mend(self, vf: str) -> None:
        """It has one again."""
        self._switch.set(self.vfs[vf], state='up')

    def mute(self, vf: str) -> None:
        """From now on what a VF sends is dropped, as if it were spoofed.

        For NICs that replicate: on others the port has an entry for the MAC.
        """
        self._switch.run('bridge', 'link', 'set', 'dev', self.vfs[vf],
                         'locked', 'on')

    def listen(self, function: str) -> socket.socket:
        """A socket that hears every frame that a function sends from now.

        :param function: name of the PF, or PCI address of a VF
        """
        port = self.vfs.get(function, function)

        def listen() -> socket.socket:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                 socket.htons(_ETH_P_ALL))
            made.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            made.bind((port, _ETH_P_ALL))
            return made

        return self._switch.inside(listen)

    def _add_function(self, name: str, **flags: int) -> None:
        self.host.add_veth(name, self._switch, name)
        self._switch.set(name, master=self._switch.index('switch'))
        self._port(name, learning=0, **flags)

    def _port(self, name: str, **flags: int) -> None:
        self._switch.netlink.brport(
            'set', index=self._switch.index(name), **flags)

    def _filter(self, command: str, name: str, mac: str) -> None:
        # include/uapi/linux/neighbour.h: in the bridge's table (NTF_MASTER),
        # and not to be learned anew or aged (NUD_NOARP).
        self._switch.netlink.fdb(
            command, ifindex=self._switch.index(name), lladdr=mac,
            flags=0x04, state=0x40)
