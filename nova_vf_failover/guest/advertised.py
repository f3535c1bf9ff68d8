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

"""Routes that the kernel itself takes from router advertisements.

For each router that it hears the kernel keeps a route, and renews it. One that
the agent has put in its place is in its way: the kernel finds no route of its
own, cannot add one, and reads no further, so that addresses are not renewed
either (net/ipv6/ndisc.c, ndisc_router_discovery). So on a VF such a route is
put right behind the place of the kernel's own, and goes when that has come.
"""

import ipaddress
import socket
import typing

from nova_vf_failover.guest import detours
from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import routes
from nova_vf_failover.guest import rtnetlink
from nova_vf_failover.guest import sysctl

#: RTMGRP_IPV6_PREFIX and RTMGRP_IPV6_IFINFO: the kernel tells there that it
#: has read an advertisement, in which there was a prefix or something new
HEARD = 0x20000 | 0x800

# IP6_RT_PRIO_USER: of the kernel's routes to other places than all, and of all
# before Linux 5.12 (net/ipv6/route.c, rt6_add_dflt_router)
_METRIC = 1024

# Where to, over which gateway and NIC, and at which metric.
Place = typing.NamedTuple('Place', [
    ('length', int), ('destination', bytes), ('gateway', bytes),
    ('index', int), ('metric', int)])


class Advertised:
    """Puts routes behind the kernel's own, and takes them away after that."""

    def __init__(self) -> None:
        self._awaited: typing.Set[Place] = set()

    def behind(self, nic: links.Nic, bodies: typing.Iterable[bytes],
               sysctls: sysctl.Values) -> typing.List[bytes]:
        """Routes as they are to be put on a NIC.

        :param bodies: as they were printed, for another NIC
        :param sysctls: that the NIC has
        """
        made = []
        for body in bodies:
            if _of_a_router(body, sysctls):
                metric = _metric(body, sysctls)
                self._awaited.add(_place(body)._replace(
                    index=nic.index, metric=metric))
                body = _at(body, metric + 1)
            made.append(body)
        return made

    def tidy(self) -> None:
        """Remove those that the kernel's own have come before."""
        if not self._awaited:
            return
        with netlink.Netlink(strict=True) as kernel:
            present = _present(kernel)
            for own in list(self._awaited):
                late = present.get(own._replace(metric=own.metric + 1))
                if late and own in present:
                    kernel.ask(detours.remove([late]), detours.HARMLESS)
                if late is None or own in present:
                    # Its life has ended, or its NIC has gone.
                    self._awaited.discard(own)


def _present(kernel: netlink.Netlink) -> typing.Dict[Place, bytes]:
    wanted = rtnetlink.Rtmsg(
        rtm_family=socket.AF_INET6, rtm_table=rtnetlink.RT_TABLE_MAIN,
        rtm_protocol=rtnetlink.RTPROT_RA).packed()
    return {_place(body): body
            for body in kernel.dump(rtnetlink.RTM_GETROUTE, wanted)
            if _is_advertised(body)}


def _of_a_router(body: bytes, sysctls: sysctl.Values) -> bool:
    """Whether it is one that the kernel makes, or one that was put behind it.
    """
    if not _is_advertised(body) or not sysctl.heeds_routers(sysctls):
        return False
    if _is_default(body) and sysctls.get(
            sysctl.ACCEPT_RA_DEFRTR) == '0':
        return False
    metric = _metric(body, sysctls)
    return _place(body).metric in (metric, metric + 1)


def _metric(body: bytes, sysctls: sysctl.Values) -> int:
    """The metric that the kernel's own route to that place has."""
    default = sysctls.get(sysctl.RA_DEFRTR_METRIC) if (
        _is_default(body)) else None
    return int(default or _METRIC)


def _is_default(body: bytes) -> bool:
    """Whether a route leads to all places."""
    return rtnetlink.Rtmsg.of(body).rtm_dst_len == 0


def _is_advertised(body: bytes) -> bool:
    """Whether a route looks as those do that the kernel makes of its own.

    It has an end, and leads to a router by an address of its link. Network
    managers make such ones as well, where the kernel does not.
    """
    header = rtnetlink.Rtmsg.of(body)
    if (header.rtm_family != socket.AF_INET6
            or header.rtm_protocol != rtnetlink.RTPROT_RA
            or header.rtm_type != rtnetlink.RTN_UNICAST
            or routes.table(body) != rtnetlink.RT_TABLE_MAIN):
        return False
    found = dict(netlink.attributes(body, rtnetlink.RTMSG.size))
    gateway = found.get(rtnetlink.RTA_GATEWAY)
    return bool(gateway and ipaddress.ip_address(gateway).is_link_local
                and rtnetlink.RTA_OIF in found
                and rtnetlink.RTA_CACHEINFO in found
                and routes.life(found[rtnetlink.RTA_CACHEINFO]))


def _place(body: bytes) -> Place:
    found = dict(netlink.attributes(body, rtnetlink.RTMSG.size))
    return Place(rtnetlink.Rtmsg.of(body).rtm_dst_len,
                 found.get(rtnetlink.RTA_DST, b''),
                 found.get(rtnetlink.RTA_GATEWAY, b''),
                 netlink.number(found.get(rtnetlink.RTA_OIF)) or 0,
                 netlink.number(found.get(rtnetlink.RTA_PRIORITY)) or 0)


def _at(body: bytes, metric: int) -> bytes:
    return body[:rtnetlink.RTMSG.size] + b''.join(
        netlink.numeric(kind, metric) if kind == rtnetlink.RTA_PRIORITY
        else netlink.attribute(kind, value)
        for kind, value in netlink.attributes(body, rtnetlink.RTMSG.size))
