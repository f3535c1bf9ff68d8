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

"""Looks at links as two migrations at once in green threads do.

A program, for a process in which Nova runs native threads can import no
eventlet. It says how often each of them has found the loopback.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from nova.tests import functional  # noqa: F401  # isort: skip

import eventlet

from nova_vf_failover.standby import links

_TIMES = 20


def main() -> None:
    watchers = [eventlet.spawn(look) for _watcher in range(4)]
    print([watcher.wait() for watcher in watchers])


def look() -> int:
    host = links.HostLinks()
    return sum(host.find('lo') is not None for _time in range(_TIMES))


if __name__ == '__main__':
    main()
