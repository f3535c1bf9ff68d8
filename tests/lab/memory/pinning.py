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

"""How long a nested host's kernel works for the IOMMU of its guests.

QEMU has guest memory pinned and mapped by ioctls of VFIO's type 1 IOMMU, and
waits for them (Linux, drivers/vfio/vfio_iommu_type1.c). The kernel's function
tracer tells how long each took.
"""

import re

from tests.lab.sriov import host as hosts

FUNCTION = 'vfio_iommu_type1_ioctl'
_START = f"""
set -e
modprobe vfio_iommu_type1
cd /sys/kernel/tracing
echo {FUNCTION} > set_ftrace_filter
echo function_graph > current_tracer
echo 1 > tracing_on
"""
_TAKE = 'cd /sys/kernel/tracing && cat trace && echo > trace'
# One in which something else was traced, or that has changed its processor,
# has its time at its closing brace.
_CALL = re.compile(rf'([\d.]+) us +\|  (?:{FUNCTION}\b|}})')


class Pinning:
    """Listens until its host is no more."""

    def __init__(self, host: hosts.Host) -> None:
        self._host = host
        host.machine.guest.output('sh', '-c', _START)

    def take(self) -> float:
        """The seconds of all calls since it was asked the last time."""
        return seconds(self._host.machine.guest.output('sh', '-c', _TAKE))


def seconds(trace: str) -> float:
    """How long all calls in a trace took together."""
    return sum(map(float, _CALL.findall(trace))) / 1e6
