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

"""What the host hears of this guest: a gratuitous ARP with a report in it.

The report is in the padding behind the 42 bytes of Ethernet and ARP: magic,
version, generation (8 bytes), NIC to use, state, whether traffic was seen,
whether the VF is still the one that hears it, a zero byte. Switches and
neighbours see nothing but the ARP.
"""

import socket
import struct
import typing

from nova_vf_failover.guest import frames
from nova_vf_failover.guest import intent as intents

_REPORT = struct.Struct('!4sBQBBBBB')
_MAGIC = b'vffR'
_VERSION = 1
_USES = {intents.STANDBY: 1, intents.PRIMARY: 2}
_STATES = {intents.ARMED: 1, intents.WORKING: 2, intents.DONE: 3,
           intents.REFUSED: 4, intents.FAILED: 5, intents.NONE: 6}
_PROVEN = {None: 0, True: 1, False: 2}


def build(mac: str, own: typing.List[typing.Tuple[int, str]],
          report: intents.Report) -> bytes:
    """The frame of one port.

    :param own: an address in each family; without one of IPv4 the ARP is about
        nobody's
    """
    addresses = [address for family, address in own
                 if family == socket.AF_INET]
    # In an ARP frame; no socket is bound to it.
    nobody = '0.0.0.0'  # nosec B104
    announced = frames.announcement(
        socket.AF_INET, mac, addresses[0] if addresses else nobody)
    known = report.ports.get(mac, {})
    return announced + _REPORT.pack(
        _MAGIC, _VERSION, report.generation, _USES[report.use or ''],
        _STATES[report.state], _PROVEN[known.get('proven')],
        known.get('overlap', False), 0)
