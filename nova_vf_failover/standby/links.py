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

"""The network links of this host, by netlink."""

import collections
from collections.abc import Callable
from collections.abc import Iterable
import contextlib
import dataclasses
import errno
import hashlib
import os
import pathlib
import typing

import pyroute2
from pyroute2 import netlink as protocol
from pyroute2.netlink import exceptions
import tenacity

from nova_vf_failover import netlink
from nova_vf_failover import privileges

# Flags of struct ifinfomsg: "administratively up" and "takes in every
# multicast group", see include/uapi/linux/if.h.
_IFF_UP = 0x1
_IFF_ALLMULTI = 0x200
# What is read of the messages; what else is in them stays undecoded.
_READ = frozenset({
    'IFLA_CARRIER', 'IFLA_IFALIAS', 'IFLA_IFNAME', 'IFLA_LINK',
    'IFLA_LINK_NETNSID', 'IFLA_MASTER', 'IFLA_MTU'})
# The protocol of a VLAN that is not within one of a provider (802.1ad), see
# include/uapi/linux/if_ether.h.
_ETH_P_8021Q = 0x8100
# See include/uapi/linux/rtnetlink.h, RT_SCOPE_LINK: from there on an address
# is of no more than a link.
_LINK_SCOPE = 253


@dataclasses.dataclass(frozen=True)
class Link:
    """What netlink says of one link.

    :ivar master: name of the bridge, bond or switch that it is a port of
    :ivar master_kind: what that is: ``bridge``, ``bond``, ``openvswitch`` …
    :ivar alias: its ``ifalias``
    :ivar uppers: names of the links that lie on top of it
    :ivar kind: ``vlan``, ``macvtap`` …; hardware has none
    :ivar lower: name of the link that it lies on
    :ivar vlan: the VLAN of a link of kind ``vlan``; None if that is one of a
        provider (802.1ad)
    """

    name: str
    index: int
    up: bool
    carrier: bool
    mtu: int
    master: str | None = None
    master_kind: str | None = None
    alias: str | None = None
    uppers: tuple[str, ...] = ()
    kind: str | None = None
    lower: str | None = None
    vlan: int | None = None

    @property
    def unfinished(self) -> bool:
        """Whether :meth:`HostLinks.add_vlan` was cut off while it made it."""
        return self.name.startswith(_UNFINISHED)


# The first letters of a link that is being made; what follows is different
# for each name that it will have.
_UNFINISHED = 'vffnew'
# How often the links are read until nothing has changed meanwhile. A host on
# which servers start at the same time needs a few.
_READINGS = 20
# Of the network namespace of the thread that looks.
_SYSCTLS = pathlib.Path('/proc/sys/net')
# What makes of a link a mere wire, for this host's own IP stack, see
# Documentation/networking/ip-sysctl.rst: no IPv6; no answer to ARP for any
# address of the host; and since no IPv4 address is on it, no source is
# reached by it, which rp_filter asks for.
_WIRE = {
    'ipv6/conf/{}/disable_ipv6': '1',
    'ipv4/conf/{}/arp_ignore': '8',
    'ipv4/conf/{}/rp_filter': '1',
}


class HostLinks:
    """Reads links, and marks and removes those that are ours.

    :param open_netlink: makes a netlink socket in the network namespace of
        the links; the process's own unless told otherwise
    """

    def __init__(
        self,
        open_netlink: Callable[[], typing.Any] = netlink.route_socket,
    ) -> None:
        self._open_netlink = open_netlink

    def all(self) -> list[Link]:
        """All links, as they are at one moment."""
        return self._all()

    def find(self, name: str) -> Link | None:
        """The link with this name, or None if there is none."""
        for link in self._all():
            if link.name == name:
                return link
        return None

    def of_kind(self, kind: str) -> list[Link]:
        """The links of this kind."""
        return [link for link in self._all() if link.kind == kind]

    def vlan_of(self, lower: str, vlan: int) -> Link | None:
        """The link that is a VLAN of another one, whoever has made it.

        Each has one at most (net/8021q/vlan.c, ``vlan_check_real_dev``). One
        of 802.1ad, which there may be besides, has other frames than a port
        of this VLAN. One that :meth:`add_vlan` was making is none: it goes
        first.
        """
        for link in self.of_kind('vlan'):
            if ((link.lower, link.vlan) == (lower, vlan)
                    and not link.unfinished):
                return link
        return None

    def addresses(self, name: str) -> list[str]:
        """The IP addresses of a link that more than the link may know."""
        index = getattr(self.find(name), 'index', None)
        return [f"{_address(message)}/{message['prefixlen']}"
                for message in self._dump(lambda route: route.get_addr())
                if message['index'] == index
                and message['scope'] < _LINK_SCOPE]

    def _all(self) -> list[Link]:
        return _links(self._dump(lambda route: route.get_links()))

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(
            exceptions.NetlinkDumpInterrupted),
        stop=tenacity.stop_after_attempt(_READINGS), reraise=True)
    def _dump(
        self, ask: Callable[[typing.Any], Iterable[typing.Any]],
    ) -> list[typing.Any]:
        """What the kernel says of all links, or of all their addresses.

        A link that comes or goes between two parts of its answer may hide
        another one, and the kernel says so (net/netlink/af_netlink.c,
        ``nl_dump_check_consistent``). pyroute2 raises for it up to 0.8 and
        leaves it to its caller from 0.9 on.
        """
        with self._open_netlink() as route:
            messages = list(ask(route))
        if any(message['header']['flags'] & protocol.NLM_F_DUMP_INTR
               for message in messages):
            raise exceptions.NetlinkDumpInterrupted()
        return messages

    def add_vlan(self, lower: str, name: str, vlan: int, alias: str) -> None:
        """Make a VLAN device that has an alias from its first moment on.

        The kernel takes no alias with the request that makes a link
        (net/core/rtnetlink.c, ``rtnl_newlink_create``), so until it has one
        the link is one that is :attr:`Link.unfinished`.

        It is for the frames of a standby alone: before it is up the host is
        kept off it as by :meth:`keep_host_off`.
        """
        _add(lower, name, alias, kind='vlan', vlan_id=vlan)

    def mark(self, name: str, alias: str) -> None:
        """Write an alias onto a link, for :meth:`find` to show."""
        _set_alias(name, alias)

    def receive_all_groups(self, name: str) -> None:
        """Have a link take in every multicast group."""
        _receive_all_groups(name)

    def can_keep_host_off(self) -> bool:
        """Whether sysctls can be written; in containers often not."""
        return not os.statvfs(_SYSCTLS).f_flag & os.ST_RDONLY

    def keep_host_off(self, name: str) -> None:
        """Keep this host's own IP stack off a link.

        :raises OSError: the host does not let its sysctls be written
        """
        _keep_host_off(name)

    def remove(self, name: str) -> None:
        """Delete a link; nothing to do if it has gone."""
        _delete(name)


class _Told:
    """The message of one link.

    ``get_attr`` of pyroute2 goes through some forty attributes for each that
    it is asked for, so it is not asked for each.

    :ivar lower: index of the link that it lies on, in this namespace
    """

    def __init__(self, message: typing.Any) -> None:
        read: dict[str, typing.Any] = {
            slot[0]: slot[1] for slot in message['attrs'] if slot[0] in _READ}
        self.index: int = message['index']
        self.up = bool(message['flags'] & _IFF_UP)
        self.carrier = bool(read.get('IFLA_CARRIER'))
        self.name: str = read['IFLA_IFNAME']
        self.mtu: int = read['IFLA_MTU']
        self.alias: str | None = read.get('IFLA_IFALIAS')
        self.master: int | None = read.get('IFLA_MASTER')
        # A veth names its peer there, which may have the index of another
        # link of this namespace.
        self.lower: int | None = (
            read.get('IFLA_LINK') if 'IFLA_LINK_NETNSID' not in read else None)
        self.kind: str | None = message.get_nested(
            'IFLA_LINKINFO', 'IFLA_INFO_KIND')
        self.vlan = _vlan(message) if self.kind == 'vlan' else None


def _vlan(message: typing.Any) -> int | None:
    data = 'IFLA_LINKINFO', 'IFLA_INFO_DATA'
    if message.get_nested(*data, 'IFLA_VLAN_PROTOCOL') != _ETH_P_8021Q:
        return None
    vlan: int | None = message.get_nested(*data, 'IFLA_VLAN_ID')
    return vlan


def _address(message: typing.Any) -> str:
    # The other one is the peer's, if there is one.
    address: str = (message.get_attr('IFA_LOCAL')
                    or message.get_attr('IFA_ADDRESS'))
    return address


def _links(messages: Iterable[typing.Any]) -> list[Link]:
    links = {message['index']: _Told(message) for message in messages}
    uppers: dict[int | None, list[str]] = collections.defaultdict(list)
    for link in links.values():
        if link.lower != link.index:
            uppers[link.lower].append(link.name)
    return [_link(link, links, tuple(uppers[link.index]))
            for link in links.values()]


def _link(told: _Told, links: dict[int, _Told],
          uppers: tuple[str, ...]) -> Link:
    master = links.get(told.master) if told.master else None
    lower = links.get(told.lower) if told.lower else None
    return Link(
        name=told.name, index=told.index, up=told.up, carrier=told.carrier,
        mtu=told.mtu, master=master.name if master else None,
        master_kind=master.kind if master else None, alias=told.alias,
        uppers=uppers, kind=told.kind, lower=lower.name if lower else None,
        vlan=told.vlan)


@privileges.sys_admin
def _set_alias(name: str, alias: str) -> None:
    with pyroute2.IPRoute() as route:
        for index in route.link_lookup(ifname=name):
            route.link('set', index=index, ifalias=alias)


@privileges.sys_admin
def _add(lower: str, name: str, alias: str,
         **kind: typing.Any) -> None:
    unfinished = _UNFINISHED + hashlib.sha256(name.encode()).hexdigest()[:8]
    with pyroute2.IPRoute() as route:
        # One that was cut off has the VLAN of the PF, and there is only one.
        for index in route.link_lookup(ifname=unfinished):
            route.link('del', index=index)
        for parent in route.link_lookup(ifname=lower):
            route.link('add', ifname=unfinished, link=parent, **kind)
        for index in route.link_lookup(ifname=unfinished):
            # One of which that cannot be done is left unfinished.
            _make_wire(unfinished)
            route.link('set', index=index, ifalias=alias)
            route.link('set', index=index, ifname=name)
            route.link('set', index=index, state='up')


@privileges.sys_admin
def _receive_all_groups(name: str) -> None:
    with pyroute2.IPRoute() as route:
        for index in route.link_lookup(ifname=name):
            route.link('set', index=index, flags=_IFF_ALLMULTI,
                       change=_IFF_ALLMULTI)


@privileges.sys_admin
def _keep_host_off(name: str) -> None:
    _make_wire(name)


def _make_wire(name: str) -> None:
    """Have the host not use a link; its settings outlive a new name."""
    for sysctl, value in _WIRE.items():
        # IPv6 is off on this host, or the link has gone.
        with contextlib.suppress(FileNotFoundError):
            (_SYSCTLS / sysctl.format(name)).write_text(value)


@privileges.sys_admin
def _delete(name: str) -> None:
    with pyroute2.IPRoute() as route:
        for index in route.link_lookup(ifname=name):
            try:
                route.link('del', index=index)
            except exceptions.NetlinkError as error:
                # Somebody was faster.
                if error.code != errno.ENODEV:
                    raise
