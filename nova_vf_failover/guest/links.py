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

IFF_UP = 0x1
IFF_LOWER_UP = 0x10000

_SIOCETHTOOL = 0x8946
_ETHTOOL_GDRVINFO = 3
# struct ethtool_drvinfo, include/uapi/linux/ethtool.h
_DRVINFO = struct.Struct('=I32s32s32s32s32s12sIIIII')

Nic = typing.NamedTuple('Nic', [
    ('index', int), ('name', str), ('mac', str), ('up', bool),
    ('carrier', bool), ('mtu', int), ('master', typing.Optional[int]),
    ('link', typing.Optional[int]), ('kind', str), ('driver', str)])


class Links:
    """Looks at the NICs of this network namespace.

    :param netlink: a ``pyroute2.IPRoute``
    :param standby_drivers: the drivers that a standby has; sysfs names none
        outside of the first network namespace, so ethtool is asked
    """

    def __init__(self, netlink: typing.Any,
                 standby_drivers: typing.FrozenSet[str]) -> None:
        self._netlink = netlink
        self._standby_drivers = standby_drivers
        self._drivers: typing.Dict[int, str] = {}

    def all(self) -> typing.List[Nic]:
        nics = [_nic(message) for message in self._netlink.get_links()]
        return [nic._replace(driver=self._driver(nic)) for nic in nics]

    def with_mac(self, mac: str) -> typing.List[Nic]:
        """The NICs with a MAC, without those that lie on another NIC.

        A VLAN or a bridge takes over the MAC of what is below it.
        """
        nics = [nic for nic in self.all() if nic.mac == mac]
        indexes = {nic.index for nic in nics}
        return [nic for nic in nics
                if nic.kind not in ('bridge', 'bond', 'team')
                and (nic.kind == 'veth' or nic.link not in indexes)]

    def primary(self, mac: str) -> typing.Optional[Nic]:
        for nic in self.with_mac(mac):
            if nic.driver not in self._standby_drivers:
                return nic
        return None

    def standby(self, mac: str) -> typing.Optional[Nic]:
        for nic in self.with_mac(mac):
            if nic.driver in self._standby_drivers:
                return nic
        return None

    def named(self, name: str) -> typing.Optional[Nic]:
        for nic in self.all():
            if nic.name == name:
                return nic
        return None

    def on_top(self, nic: Nic) -> typing.List[str]:
        """The names of VLANs, macvlans and the like on a NIC."""
        return [other.name for other in self.all()
                if other.link == nic.index and other.kind != 'veth']

    def set(self, nic: Nic, **attributes: typing.Any) -> None:
        self._netlink.link('set', index=nic.index, **attributes)

    def _driver(self, nic: Nic) -> str:
        if nic.index not in self._drivers:
            self._drivers[nic.index] = _ask_driver(nic.name)
        return self._drivers[nic.index]


def _nic(message: typing.Any) -> Nic:
    link = message.get_attr('IFLA_LINK')
    if message.get_attr('IFLA_LINK_NETNSID') is not None:
        link = None
    return Nic(
        index=message['index'],
        name=message.get_attr('IFLA_IFNAME'),
        mac=(message.get_attr('IFLA_ADDRESS') or '').lower(),
        up=bool(message['flags'] & IFF_UP),
        carrier=bool(message['flags'] & IFF_LOWER_UP),
        mtu=message.get_attr('IFLA_MTU'),
        master=message.get_attr('IFLA_MASTER'),
        link=link,
        kind=(message.get_nested('IFLA_LINKINFO', 'IFLA_INFO_KIND') or ''),
        driver='')


def _ask_driver(name: str) -> str:
    """ETHTOOL_GDRVINFO; empty where the device does not say."""
    answer = array.array('B', _DRVINFO.pack(
        _ETHTOOL_GDRVINFO, b'', b'', b'', b'', b'', b'', 0, 0, 0, 0, 0))
    request = struct.pack('16sP', name.encode(), answer.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            # The kernel copies a whole struct ifreq: 40 bytes.
            fcntl.ioctl(sock.fileno(), _SIOCETHTOOL, request.ljust(40, b'\0'))
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENODEV):
                return ''
            raise
    return _DRVINFO.unpack(answer.tobytes())[1].split(b'\0')[0].decode()
