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

"""When a failback begins and ends, as the kernel of the guest tells it."""

import select
import sys
import threading
import time

from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from tests.simulation.fabric import namespace

RTM_NEWLINK, RTM_DELRULE = 16, 33
# RTMGRP_IPV4_RULE and the bit of RTNLGRP_IPV6_RULE
_RULES = 0x80 | 1 << 18


class Watch(threading.Thread):
    """Notes when the VF has appeared, and when the last rule has gone."""

    def __init__(self, guest: namespace.Namespace) -> None:
        super().__init__(daemon=True)
        # The standby has the VF's MAC, and changes as well.
        self._known = {link['index']
                       for link in guest.netlink.get_links()}
        self._kernel = guest.inside(
            lambda: netlink.Netlink(links.CHANGES | _RULES))
        self._over = threading.Event()
        self.appeared: float | None = None
        self.switched: float | None = None
        self.start()

    def run(self) -> None:
        while not self._over.is_set():
            if select.select([self._kernel.socket], [], [], 0.05)[0]:
                self._note(self._kernel.socket.recv(65536))

    def _note(self, data: bytes) -> None:
        kind = int.from_bytes(data[4:6], sys.byteorder)
        if kind == RTM_NEWLINK and self.appeared is None:
            # Behind the header: family, type, index.
            index = int.from_bytes(data[20:24], sys.byteorder)
            if index not in self._known:
                self.appeared = time.monotonic()
        elif kind == RTM_DELRULE:
            self.switched = time.monotonic()

    def stop(self) -> float:
        """Seconds from the one to the other."""
        self._over.set()
        self.join()
        self._kernel.close()
        if self.appeared is None or self.switched is None:
            raise RuntimeError('the kernel did not tell of the failback')
        return self.switched - self.appeared
