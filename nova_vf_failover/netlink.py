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

"""nova-compute's own questions to the kernel about links.

What changes something is asked in the process of privsep, see
:mod:`nova_vf_failover.privileges`.
"""

from collections.abc import Iterator
import contextlib
import threading
import typing

import pyroute2

# From 0.9 on pyroute2 runs asyncio, of which each thread can have one loop at
# a time, and all green threads of nova-compute are one to it: "This event
# loop is already running".
_turn = threading.Lock()


@contextlib.contextmanager
def route_socket() -> Iterator[typing.Any]:
    """A ``pyroute2.IPRoute`` of this network namespace, one after the other.
    """
    with _turn, pyroute2.IPRoute() as netlink:
        yield netlink
