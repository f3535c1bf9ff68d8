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

"""What the kernel takes in: the addresses that it delivers to itself."""

import errno
import select
import socket
import time
import typing

from nova_vf_failover.guest import addresses
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import release
from nova_vf_failover.guest import rtnetlink

_IPV6_ROUTE_CHANGES = 0x400
_LONGEST_MESSAGE = 64 * 1024


class Deliveries:
    """Waits until the kernel takes in what is sent to new addresses.

    The route that does so for an address of IPv6 is made by a task of the
    kernel's own, some time after the address is there (net/ipv6/addrconf.c,
    addrconf_dad_work). It has to be opened before that.

    Before Linux 4.14 each of these routes leads over the loopback NIC
    (addrconf_dst_alloc): that one is there does not tell whose it is, but the
    kernel makes it when it begins to use an address on a NIC.

    :param index: of the NIC that gets the addresses
    """

    def __init__(self, index: int) -> None:
        self._kernel = netlink.Netlink(strict=True)
        self._changes = netlink.Netlink(_IPV6_ROUTE_CHANGES)
        self._index = index

    def __enter__(self) -> 'Deliveries':
        return self

    def __exit__(self, *_: typing.Any) -> None:
        self._kernel.close()
        self._changes.close()

    def wait(self, wanted: typing.Set[bytes], limit: float) -> bool:
        """Whether all these addresses are taken in, after a wait.

        :param wanted: addresses of IPv6, as bytes
        :param limit: seconds to wait at most
        """
        until = time.monotonic() + limit
        while not wanted <= self._present():
            left = until - time.monotonic()
            if left <= 0 or not select.select(
                    [self._changes.socket], [], [], left)[0]:
                return False
            try:
                self._changes.socket.recv(_LONGEST_MESSAGE)
            except OSError as error:
                # There were more changes than the socket could hold.
                if error.errno != errno.ENOBUFS:
                    raise
        return True

    def _present(self) -> typing.Set[bytes]:
        found = set()
        of_any = release.before(4, 14)
        for body in self._kernel.dump(
                rtnetlink.RTM_GETROUTE, rtnetlink.Rtmsg(
                    rtm_family=socket.AF_INET6,
                    rtm_table=rtnetlink.RT_TABLE_LOCAL).packed()):
            header = rtnetlink.Rtmsg.of(body)
            its = dict(netlink.attributes(body, rtnetlink.RTMSG.size))
            if (header.rtm_type == rtnetlink.RTN_LOCAL
                    and header.rtm_family == socket.AF_INET6
                    and (of_any or netlink.number(its.get(rtnetlink.RTA_OIF))
                         == self._index)):
                found.add(its.get(rtnetlink.RTA_DST, b''))
        return found & self._used() if of_any else found

    def _used(self) -> typing.Set[bytes]:
        return {addresses.destination(body) for body in addresses.in_use(
            addresses.of(self._kernel, self._index))}
