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

"""In the course of what something goes wrong."""

import enum

from tests.faults import faults
from tests.faults import points

#: what has gone wrong before, and how
Accident = tuple[points.Point, faults.Fault]


class Scene(enum.Enum):
    """What is done while a call is spoilt.

    Recovery's part begins where an accident has ended a live migration. By
    itself none of these violates anything, and recovery puts it right.
    """

    #: a live migration
    MOVE = 'move'
    #: one between NICs that do not deliver a MAC to the PF while a VF has it
    STEERED = 'steered'
    #: one of a guest that is told through Nova's metadata service
    METADATA = 'metadata'
    #: recovery of a server on its standby, whose agent has failed once
    DEGRADED = 'degraded'
    #: recovery of a server whose source has died in the failover
    CRASHED = 'crashed'

    @property
    def accident(self) -> Accident | None:
        """What it begins with."""
        return _ACCIDENTS.get(self)


_ACCIDENTS: dict[Scene, Accident] = {
    Scene.DEGRADED: (
        points.Point.parse(
            'destination:agent:apply --wait@_send_to_primary#1'),
        faults.Fault.ERROR),
    Scene.CRASHED: (
        points.Point.parse('source:libvirt:detachDeviceFlags@_detach_sync#1'),
        faults.Fault.KILLED_AFTER),
}
