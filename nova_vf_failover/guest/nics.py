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

"""The guest's NICs: which of them is a port's primary, which its standby."""

import array
import errno
import fcntl
import logging
import socket
import struct
from typing import Dict, FrozenSet, Iterable, List, NamedTuple, Optional

from nova_vf_failover.guest import rtnetlink as rtnl

LOG = logging.getLogger(__name__)

IFF_UP = 0x1
IFF_PROMISC = 0x100
IFF_ALLMULTI = 0x200
IFF_LOWER_UP = 0x10000

_IFINFO = struct.Struct('=BxHiII')
IFLA_ADDRESS = 1
IFLA_IFNAME = 3
IFLA_MTU = 4
IFLA_LINK = 5
IFLA_MASTER = 10
IFLA_TXQLEN = 13
IFLA_LINKINFO = 18
IFLA_IFALIAS = 20
IFLA_GROUP = 27
IFLA_EXT_MASK = 29
IFLA_LINK_NETNSID = 37
_INFO_KIND = 1
# RTEXT_FILTER_SKIP_STATS: a dump without counters is shorter.
_SKIP_STATS = 1 << 3

_SIOCETHTOOL = 0x8946
_ETHTOOL_GDRVINFO = 3
_DRVINFO = struct.Struct('=I32s32s32s32s32s12sIIIII')

# These have the MAC of one of their ports without being that NIC.
_AGGREGATES = frozenset(['bridge', 'bond', 'team', 'openvswitch'])


class Nic(NamedTuple):
    """A network interface as the kernel described it last.

    :param mac: lower case with colons; empty for one without an address
    :param flags: IFF_*
    :param master: index of the bridge, bond, team or VRF it is a port of, 0
    :param link: index of the interface below it in this namespace, 0
    :param kind: rtnl_link kind ('veth', 'macvlan'...); empty for hardware
    :param driver: what ETHTOOL_GDRVINFO says; empty where it says nothing.
        sysfs has no driver link for a device outside the first network
        namespace, and none for a virtual one.
    """

    index: int
    name: str
    mac: str
    flags: int
    mtu: int
    txqlen: int
    group: int
    alias: str
    master: int
    link: int
    kind: str
    driver: str

    @property
    def up(self) -> bool:
        return bool(self.flags & IFF_UP)

    @property
    def carrier(self) -> bool:
        return bool(self.flags & IFF_LOWER_UP)


class Ambiguous(Exception):
    """Several NICs have one MAC and the same part; the message names them."""


class Nics:
    """Every NIC of this network namespace, kept current by link events.

    :param standby_drivers: the drivers by which a standby is known
    """

    def __init__(self, netlink: rtnl.Rtnetlink,
                 standby_drivers: Iterable[str]) -> None:
        self._netlink = netlink
        self._standby_drivers = frozenset(
            standby_drivers)  # type: FrozenSet[str]
        self._nics = {}  # type: Dict[int, Nic]
        self._ioctl = socket.socket(
            socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def close(self) -> None:
        self._ioctl.close()

    def refresh(self) -> None:
        """Look at all of them: at start, and after lost events."""
        before = self._nics
        self._nics = {}
        body = _IFINFO.pack(0, 0, 0, 0, 0) + rtnl.pack(
            [(IFLA_EXT_MASK, rtnl.u32(_SKIP_STATS))])
        for message in self._netlink.dump(rtnl.RTM_GETLINK, body):
            self._learn(message.body, before)

    def note(self, message: rtnl.Message) -> None:
        """Take in one link event."""
        if message.type == rtnl.RTM_NEWLINK:
            self._learn(message.body, self._nics)
        elif message.type == rtnl.RTM_DELLINK:
            family, _, index, _, _ = _IFINFO.unpack_from(message.body)
            # A bridge announces a port that leaves it as family AF_BRIDGE.
            if family == socket.AF_UNSPEC:
                self._nics.pop(index, None)

    def get(self, index: int) -> Optional[Nic]:
        return self._nics.get(index)

    def named(self, name: str) -> Optional[Nic]:
        for nic in self._nics.values():
            if nic.name == name:
                return nic
        return None

    def primary(self, mac: str) -> Optional[Nic]:
        """The NIC of this MAC that is no standby.

        :raises Ambiguous: there are several
        """
        return self._one(mac, False)

    def standby(self, mac: str) -> Optional[Nic]:
        """The standby of this MAC.

        :raises Ambiguous: there are several
        """
        return self._one(mac, True)

    def above(self, nic: Nic) -> List[Nic]:
        """The VLAN, macvlan and other devices that stand on this NIC."""
        return [other for other in self._nics.values()
                if other.link == nic.index and other.kind != 'veth']

    def _one(self, mac: str, standby: bool) -> Optional[Nic]:
        found = [nic for nic in self._nics.values()
                 if nic.mac == mac and
                 (nic.driver in self._standby_drivers) == standby and
                 not self._is_copy(nic)]
        if len(found) > 1:
            raise Ambiguous('%s all have the MAC %s.' % (
                ', '.join(sorted(nic.name for nic in found)), mac))
        return found[0] if found else None

    def _is_copy(self, nic: Nic) -> bool:
        """Whether its MAC is only that of a NIC below it."""
        if nic.kind in _AGGREGATES:
            return True
        below = self._nics.get(nic.link)
        return (below is not None and below.mac == nic.mac and
                nic.kind != 'veth')

    def _learn(self, body: bytes, before: Dict[int, Nic]) -> None:
        family, _, index, flags, _ = _IFINFO.unpack_from(body)
        if family != socket.AF_UNSPEC:
            return
        found = rtnl.unpack_dict(body[_IFINFO.size:])
        name = rtnl.text(found.get(IFLA_IFNAME, b''))
        info = rtnl.unpack_dict(found.get(IFLA_LINKINFO, b''))
        link = 0
        if IFLA_LINK in found and IFLA_LINK_NETNSID not in found:
            link = rtnl.from_u32(found[IFLA_LINK])
        known = before.get(index)
        kind = rtnl.text(info.get(_INFO_KIND, b''))
        self._nics[index] = Nic(
            index=index, name=name,
            mac=':'.join('%02x' % b for b in found.get(IFLA_ADDRESS, b'')),
            flags=flags,
            mtu=rtnl.from_u32(found.get(IFLA_MTU, b'\0' * 4)),
            txqlen=rtnl.from_u32(found.get(IFLA_TXQLEN, b'\0' * 4)),
            group=rtnl.from_u32(found.get(IFLA_GROUP, b'\0' * 4)),
            alias=rtnl.text(found.get(IFLA_IFALIAS, b'')),
            master=rtnl.from_u32(found.get(IFLA_MASTER, b'\0' * 4)),
            link=link, kind=kind,
            driver=known.driver if known else self._driver(name))

    def _driver(self, name: str) -> str:
        """ETHTOOL_GDRVINFO; it goes by name (the ioctl knows no index)."""
        answer = array.array('B', _DRVINFO.pack(
            _ETHTOOL_GDRVINFO, b'', b'', b'', b'', b'', b'', 0, 0, 0, 0, 0))
        request = struct.pack('16sP', name.encode(), answer.buffer_info()[0])
        # The kernel copies a whole struct ifreq, which has 40 bytes on
        # 64-bit machines.
        request = request.ljust(40, b'\0')
        try:
            fcntl.ioctl(self._ioctl.fileno(), _SIOCETHTOOL, request)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENODEV):
                LOG.warning('Cannot ask for the driver of %s: %s',
                            name, error)
            return ''
        return rtnl.text(_DRVINFO.unpack(answer.tobytes())[1])


def set_link(nic: Nic, up: Optional[bool] = None, name: Optional[str] = None,
             mtu: Optional[int] = None, txqlen: Optional[int] = None,
             group: Optional[int] = None, alias: Optional[str] = None,
             extra_flags: int = 0) -> rtnl.Request:
    """A request that changes a NIC; what is None stays as it is.

    :param extra_flags: IFF_* to be set beside IFF_UP
    """
    flags = extra_flags
    change = extra_flags
    if up is not None:
        change |= IFF_UP
        if up:
            flags |= IFF_UP
    attributes = []
    if name is not None:
        attributes.append((IFLA_IFNAME, name.encode() + b'\0'))
    for kind, value in ((IFLA_MTU, mtu), (IFLA_TXQLEN, txqlen),
                        (IFLA_GROUP, group)):
        if value is not None:
            attributes.append((kind, rtnl.u32(value)))
    if alias:
        attributes.append((IFLA_IFALIAS, alias.encode()))
    return rtnl.Request(
        rtnl.RTM_NEWLINK, 0,
        _IFINFO.pack(0, 0, nic.index, flags, change) + rtnl.pack(attributes))
