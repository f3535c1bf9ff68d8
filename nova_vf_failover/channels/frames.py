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

"""What a guest says on its standby: report frames.

A report frame is a gratuitous ARP (RFC 5227) whose padding up to the shortest
Ethernet frame carries the report. After the 42 bytes of Ethernet and ARP::

    offset  bytes
        42      4   magic, "vffR"
        46      1   version of this form, 1
        47      8   generation
        55      1   NIC to use: 1 standby, 2 primary
        56      1   state, see STATES
        57      1   whether traffic was seen: 0 not known, 1 yes, 2 no
        58      1   1 if the VF is still the one that hears the network
        59      1   zero

All numbers are in network byte order. Only what the guest itself sends counts:
for the host that is a frame which *leaves* through the macvtap. A frame that
comes in from the network with the port's MAC is anybody's.
"""

import dataclasses
import struct

from nova_vf_failover.channels import intent as intents
from nova_vf_failover.guest import packetfilter

MAGIC = b'vffR'
VERSION = 1
LENGTH = 60

STATES = {1: intents.ReportState.ARMED, 2: intents.ReportState.WORKING,
          3: intents.ReportState.DONE, 4: intents.ReportState.REFUSED,
          5: intents.ReportState.FAILED, 6: intents.ReportState.NONE}
USES = {1: intents.Use.STANDBY, 2: intents.Use.PRIMARY}
PROVEN = {0: None, 1: True, 2: False}

_ETH_P_ARP = 0x0806
_REQUEST = 1
_REPORT = struct.Struct('!4sBQBBBBB')
_OFFSET = 42


@dataclasses.dataclass(frozen=True)
class Report:
    """What one frame says."""

    generation: int
    use: intents.Use
    state: intents.ReportState
    proven: bool | None
    overlap: bool = False


def parse(frame: bytes) -> Report | None:
    """Read a frame that the filter has let through; None if it is nonsense.
    """
    if len(frame) < LENGTH:
        return None
    magic, version, generation, use, state, proven, overlap, zero = (
        _REPORT.unpack_from(frame, _OFFSET))
    if ((magic, version, zero) != (MAGIC, VERSION, 0) or use not in USES
            or state not in STATES or proven not in PROVEN or overlap > 1):
        return None
    return Report(generation, USES[use], STATES[state], PROVEN[proven],
                  bool(overlap))


def conditions(mac: str,
               generation: int) -> tuple[packetfilter.Condition, ...]:
    """What is true of the bytes of a report of this port on this intent."""
    sender = bytes.fromhex(mac.replace(':', ''))
    high, low = struct.unpack('!IH', sender)
    older, newer = divmod(generation, 1 << 32)
    return (
        (2, 12, _ETH_P_ARP), (2, 20, _REQUEST),
        # In the Ethernet header and once more in the ARP.
        (4, 6, high), (2, 10, low), (4, 22, high), (2, 26, low),
        (4, _OFFSET, int.from_bytes(MAGIC, 'big')),
        (1, _OFFSET + 4, VERSION),
        (4, _OFFSET + 5, older), (4, _OFFSET + 9, newer))
