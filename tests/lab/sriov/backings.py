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

"""What the memory of a guest is made of on its host."""

import dataclasses

from tests.lab import errors
from tests.lab.sriov import host as hosts

# In MiB: what x86 has beside its pages of 4 KiB.
_HUGE = 2
_SCRIPT = """
set -e
echo {transparent} > /sys/kernel/mm/transparent_hugepage/enabled
# What was freed is in pieces.
echo 3 > /proc/sys/vm/drop_caches
echo 1 > /proc/sys/vm/compact_memory
echo {pages} > /proc/sys/vm/nr_hugepages
cat /proc/sys/vm/nr_hugepages
"""


@dataclasses.dataclass(frozen=True)
class Backing:
    """A kind of memory.

    :ivar inner: what is in libvirt's <memoryBacking>
    :ivar reserved: whether the host sets huge pages aside for it
    :ivar transparent: whether the host gives it huge pages by itself
    """

    name: str
    inner: str = ''
    reserved: bool = False
    transparent: bool = True

    @property
    def unprepared(self) -> bool:
        """Whether a host as it has booted is right for it."""
        return self.transparent and not self.reserved

    @property
    def xml(self) -> str:
        return f'<memoryBacking>{self.inner}</memoryBacking>'

    def prepare(self, host: hosts.Host, megabytes: int) -> None:
        """Have a host without a guest ready for one with so much of it.

        :raises errors.LabError: it has not enough
        """
        pages = megabytes // _HUGE if self.reserved else 0
        found = int(host.machine.guest.output('sh', '-c', _SCRIPT.format(
            transparent='always' if self.transparent else 'never',
            pages=pages)))
        if found < pages:
            raise errors.LabError(
                f'The nested host can set {found} huge pages aside, and '
                f'{pages} are needed.')


EVERY = (
    # As libvirt and Debian do it: no page is there before it is touched, and
    # then it is a huge one where the host has one.
    Backing('plain'),
    Backing('small', transparent=False),
    Backing('locked', '<locked/>'),
    Backing('prealloc', "<allocation mode='immediate'/>"),
    Backing('hugepages', '<hugepages/>', reserved=True))
