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
"""

import socket

from tests.simulation.fabric import namespace

# include/uapi/linux/if_ether.h and if_packet.h
_ETH_P_ALL = 0x0003
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23

REPLICATING, EXCLUSIVE = 'replicating', 'exclusive'


class Nic:
    """A NIC in a host.

    :param host: the host's namespace, which gets the PF and the VFs
    :param pf: the name of the PF there; VF n is called ``<pf>v<n>``
    :param vfs: the PCI addresses of the VFs
    """

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
        self._add_function(pf, unicast_flood=1)
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
        """Set the administrative MAC of a VF; frames for it go there now."""
        self._deliver(vf, mac, 1, 'add')

    def reset(self, vf: str, mac: str) -> None:
        """Take the MAC of a VF away."""
        self._deliver(vf, mac, 0, 'del')

    def _deliver(self, vf: str, mac: str, flood: int, command: str) -> None:
        if vf in self._ignored:
            return
        if self._mode == REPLICATING:
            self._port(self.vfs[vf], unicast_flood=flood)
        else:
            self._filter(command, self.vfs[vf], mac)

    def become_exclusive(self) -> None:
        """Another NIC in its place; no VF may have a MAC."""
        self._mode = EXCLUSIVE

    def ignore(self, vf: str) -> None:
        """From now on the NIC takes a MAC for a VF and does not filter for it.
        """
        self._ignored.add(vf)

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
