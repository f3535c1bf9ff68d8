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

"""The guest's NICs, as netlink shows them; which is whose."""

import array
import errno
import fcntl
import socket
import struct
import typing

from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import rtnetlink

IFF_UP = 0x1
IFF_LOWER_UP = 0x10000
# Those that an owner sets: NOARP, PROMISC, ALLMULTI, MULTICAST.
_OWNED_FLAGS = 0x80 | 0x100 | 0x200 | 0x1000

# include/uapi/linux/rtnetlink.h, if_link.h
_ADDRESS, _IFNAME, _MTU, _LINK, _MASTER = 1, 3, 4, 5, 10
_TXQLEN, _LINKINFO, _IFALIAS, _GROUP = 13, 18, 20, 27
_EXT_MASK, _LINK_NETNSID, _TARGET_NETNSID = 29, 37, 46
_INFO_KIND, _INFO_DATA, _VXLAN_LINK = 1, 2, 3
_SKIP_STATS = 0x8
#: the group to be told of changes of links by
CHANGES = 0x1

_SIOCETHTOOL = 0x8946
_ETHTOOL_GDRVINFO = 3
# struct ethtool_drvinfo, include/uapi/linux/ethtool.h
_DRVINFO = struct.Struct('=I32s32s32s32s32s12sIIIII')

# In the first byte of the MAC of a standby that is parked: see Links.
_PARKED = 0x04

# What a NIC says of its kind; "veth" is one in a network namespace.
_OF_HARDWARE = ('', 'veth')

Nic = typing.NamedTuple('Nic', [
    ('index', int), ('name', str), ('mac', str), ('up', bool),
    ('carrier', bool), ('mtu', int), ('master', typing.Optional[int]),
    ('link', typing.Optional[int]), ('kind', str), ('driver', str),
    ('flags', int), ('txqlen', int), ('group', int), ('alias', str)])


#: what its owner has set of a NIC itself
Appearance = typing.NamedTuple('Appearance', [
    ('mtu', int), ('flags', int), ('txqlen', int), ('group', int),
    ('alias', str)])


class Links:
    """Looks at the NICs of this network namespace.

    A standby that is not in use is *parked*: it has its MAC with one bit
    turned over. So nobody in the guest ever finds two NICs of one MAC, which
    network managers configure alike and with which cloud-init refuses to
    boot, and what comes in on it is not taken in a second time.

    :param kernel: the conversation with it
    :param standby_drivers: the drivers that a standby has; sysfs names none
        outside of the first network namespace, so ethtool is asked
    """

    def __init__(self, kernel: netlink.Netlink,
                 standby_drivers: typing.FrozenSet[str]) -> None:
        self._kernel = kernel
        self._standby_drivers = standby_drivers
        self._drivers: typing.Dict[typing.Tuple[int, str], str] = {}

    def all(self) -> typing.List[Nic]:
        nics = [_nic(body) for body in self._kernel.dump(
            rtnetlink.RTM_GETLINK, rtnetlink.Ifinfomsg().packed()
            + netlink.numeric(_EXT_MASK, _SKIP_STATS))]
        found = [nic._replace(driver=self._driver(nic)) for nic in nics]
        # A host of containers makes and removes NICs without an end.
        present = {(nic.index, nic.name) for nic in nics}
        self._drivers = {key: driver for key, driver in self._drivers.items()
                         if key in present}
        return found

    def in_namespace(self, namespace: int) -> typing.List[
            typing.Tuple[Nic, typing.Optional[int]]]:
        """The devices of another network namespace that lie on others.

        :param namespace: its number, see network_namespaces(7)
        :returns: each one with the number of the namespace of what it lies
            on; none where a kernel (before 4.15) tells of this one instead
        """
        found = []
        for body in self._kernel.dump(
                rtnetlink.RTM_GETLINK, rtnetlink.Ifinfomsg().packed()
                + netlink.numeric(_EXT_MASK, _SKIP_STATS)
                + netlink.numeric(_TARGET_NETNSID, namespace)):
            its = dict(netlink.attributes(body, rtnetlink.IFINFOMSG.size))
            if _TARGET_NETNSID in its and _LINK_NETNSID in its:
                found.append((
                    _nic(body)._replace(link=netlink.number(its.get(_LINK))),
                    netlink.number(its[_LINK_NETNSID])))
        return found

    def primary(self, mac: str) -> typing.Optional[Nic]:
        """The NIC of a port that is no standby, if it is there: its VF."""
        return self.pair(mac)[0]

    def standby(self, mac: str) -> typing.Optional[Nic]:
        """The NIC that stands in for it, parked or in use, if it is there."""
        return self.pair(mac)[1]

    def pair(self, mac: str) -> typing.Tuple[
            typing.Optional[Nic], typing.Optional[Nic]]:
        """The primary and the standby of a port, as far as they are there.
        """
        primary = standby = None
        for nic in _without_those_above([
                nic for nic in self.all()
                if nic.mac in (mac, parked(mac))]):
            if nic.driver in self._standby_drivers:
                standby = standby or nic
            elif nic.mac == mac:
                primary = primary or nic
        return primary, standby

    def doubled(self) -> typing.Set[str]:
        """The MACs that a primary and a standby have both.

        A member of a bond, a bridge or net_failover has the MAC of its
        master, and is none of ours.
        """
        nics = [nic for nic in self.all() if nic.mac and not nic.master]
        standbys = {nic.mac for nic in nics
                    if nic.driver in self._standby_drivers}
        return {nic.mac for nic in _without_those_above(nics)
                if nic.mac in standbys and nic.kind in _OF_HARDWARE
                and nic.driver not in self._standby_drivers}

    def named(self, name: str) -> typing.Optional[Nic]:
        """The NIC that has a name now; alternative names do not count."""
        for nic in self.all():
            if nic.name == name:
                return nic
        return None

    def candidates(self) -> typing.List[Nic]:
        """The NICs that could be a primary.

        What is made by the guest itself has a kind. A veth has one too: it
        stands for a NIC in a guest that is a network namespace, and is a
        container's if it is a port of something.
        """
        return [nic for nic in self.all()
                if nic.driver not in self._standby_drivers
                and (not nic.kind or nic.kind == 'veth' and not nic.master)
                and len(nic.mac) == len('00:00:00:00:00:00')
                and nic.mac != '00:00:00:00:00:00']

    def set(self, nic: Nic, **changes: typing.Any) -> None:
        """Change a NIC at once; see :func:`changed`."""
        self._kernel.ask([changed(nic, **changes)])

    def _driver(self, nic: Nic) -> str:
        key = (nic.index, nic.name)
        if key not in self._drivers:
            driver = _ask_driver(nic.name)
            if driver is None:
                # It may get the name back, as something with a driver.
                return ''
            self._drivers[key] = driver
        return self._drivers[key]


def mac_text(value: bytes) -> str:
    return ':'.join('%02x' % part for part in value)


def parked(mac: str) -> str:
    """The MAC that a standby has while it is parked."""
    return '%02x%s' % (int(mac[:2], 16) ^ _PARKED, mac[2:])


def changed(nic: Nic, up: typing.Optional[bool] = None,
            name: typing.Optional[str] = None,
            mac: typing.Optional[str] = None,
            mtu: typing.Optional[int] = None) -> netlink.Message:
    """The message that changes something of a NIC."""
    body = rtnetlink.Ifinfomsg(
        ifi_index=nic.index, ifi_flags=IFF_UP if up else 0,
        ifi_change=0 if up is None else IFF_UP).packed()
    if name is not None:
        body += netlink.textual(_IFNAME, name)
    if mac is not None:
        body += netlink.attribute(_ADDRESS, bytes.fromhex(
            mac.replace(':', '')))
    if mtu is not None:
        body += netlink.numeric(_MTU, mtu)
    return netlink.Message(rtnetlink.RTM_NEWLINK, 0, body)


def appearance(nic: Nic) -> Appearance:
    """What the owner has set of the NIC itself."""
    return Appearance(nic.mtu, nic.flags & _OWNED_FLAGS, nic.txqlen, nic.group,
                      nic.alias)


def dressed(nic: Nic, worn: Appearance, flags: bool) -> netlink.Message:
    """The message that gives a NIC an appearance.

    :param flags: those of the owner too
    """
    body = rtnetlink.Ifinfomsg(
        ifi_index=nic.index, ifi_flags=worn.flags,
        ifi_change=_OWNED_FLAGS if flags else 0).packed()
    for kind, key in ((_MTU, 'mtu'), (_TXQLEN, 'txqlen'), (_GROUP, 'group')):
        if getattr(nic, key) != getattr(worn, key):
            body += netlink.numeric(kind, getattr(worn, key))
    if nic.alias != worn.alias:
        body += netlink.textual(_IFALIAS, worn.alias)
    return netlink.Message(rtnetlink.RTM_NEWLINK, 0, body)


def above(nic: Nic, every: typing.Iterable[Nic]) -> typing.List[Nic]:
    """VLANs, macvlans, tunnels and the like on a NIC."""
    return [other for other in every
            if other.link == nic.index and other.kind != 'veth']


def _without_those_above(nics: typing.List[Nic]) -> typing.List[Nic]:
    """Without NICs that lie on another NIC.

    A VLAN or a bridge takes over the MAC of what is below it.
    """
    indexes = {nic.index for nic in nics}
    return [nic for nic in nics
            if nic.kind not in ('bridge', 'bond', 'team')
            and (nic.kind == 'veth' or nic.link not in indexes)]


def _nic(body: bytes) -> Nic:
    header = rtnetlink.Ifinfomsg.of(body)
    found = dict(netlink.attributes(body, rtnetlink.IFINFOMSG.size))
    info = dict(netlink.attributes(found.get(_LINKINFO, b''), 0))
    return Nic(
        index=header.ifi_index,
        name=netlink.text(found[_IFNAME]),
        mac=mac_text(found.get(_ADDRESS, b'')),
        up=bool(header.ifi_flags & IFF_UP),
        carrier=bool(header.ifi_flags & IFF_LOWER_UP),
        mtu=netlink.number(found.get(_MTU)) or 0,
        master=netlink.number(found.get(_MASTER)),
        # The other end may be in another namespace.
        link=(None if _LINK_NETNSID in found
              else netlink.number(found.get(_LINK) or _lower(info))),
        kind=netlink.text(info.get(_INFO_KIND, b'')),
        driver='',
        flags=header.ifi_flags,
        txqlen=netlink.number(found.get(_TXQLEN)) or 0,
        group=netlink.number(found.get(_GROUP)) or 0,
        alias=netlink.text(found.get(_IFALIAS, b'')))


def _lower(info: typing.Dict[int, bytes]) -> typing.Optional[bytes]:
    """The index of the NIC below, of a VXLAN, which says it elsewhere."""
    if netlink.text(info.get(_INFO_KIND, b'')) != 'vxlan':
        return None
    return dict(netlink.attributes(info.get(_INFO_DATA, b''), 0)).get(
        _VXLAN_LINK)


def _ask_driver(name: str) -> typing.Optional[str]:
    """ETHTOOL_GDRVINFO; empty where the device does not say.

    :returns: None if no NIC has that name any more
    """
    answer = array.array('B', _DRVINFO.pack(
        _ETHTOOL_GDRVINFO, b'', b'', b'', b'', b'', b'', 0, 0, 0, 0, 0))
    request = struct.pack('16sP', name.encode(), answer.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            # The kernel copies a whole struct ifreq: 40 bytes.
            fcntl.ioctl(sock.fileno(), _SIOCETHTOOL, request.ljust(40, b'\0'))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            if error.errno == errno.EOPNOTSUPP:
                return ''
            raise
    driver: bytes = _DRVINFO.unpack(answer.tobytes())[1]
    return driver.split(b'\0')[0].decode()
