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

"""A switch port of one VLAN, for a kernel that has no VLANs.

Frames that come out of it have lost their tag, frames that go in get it.
"""

import contextlib
import os
import select
import struct
import threading

_LONGEST = 2048
# The two addresses in front of the tag.
_ADDRESSES = 12
_TPID = 0x8100
# Its low bits; the others are priority.
_VLAN = 0x0fff
# It stands in for hardware, and must not wait behind what is measured.
_PRIORITY = 60


class AccessPort:
    """Carries frames between two taps until it is closed.

    :param access: the file descriptor of a tap, for frames without a tag
    :param trunk: that of the other one
    """

    def __init__(self, access: int, trunk: int, vlan: int) -> None:
        self._access = access
        self._trunk = trunk
        self._vlan = vlan
        self._over, self._end = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def close(self) -> None:
        os.close(self._end)
        self._thread.join()
        os.close(self._over)

    def _carry(self) -> None:
        with contextlib.suppress(PermissionError):
            # Of this thread.
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
        inputs = [self._access, self._trunk, self._over]
        while True:
            ready = select.select(inputs, [], [])[0]
            if self._over in ready:
                return
            if self._access in ready:
                os.write(self._trunk, tagged(
                    os.read(self._access, _LONGEST), self._vlan))
            if self._trunk in ready:
                bare = untagged(os.read(self._trunk, _LONGEST), self._vlan)
                if bare:
                    os.write(self._access, bare)


def tagged(frame: bytes, vlan: int) -> bytes:
    return (frame[:_ADDRESSES] + struct.pack('!HH', _TPID, vlan)
            + frame[_ADDRESSES:])


def untagged(frame: bytes, vlan: int) -> bytes:
    """A frame without its tag; nothing if it is of another VLAN, or none."""
    kind, tag = struct.unpack_from('!HH', frame, _ADDRESSES)
    if kind != _TPID or tag & _VLAN != vlan:
        return b''
    return frame[:_ADDRESSES] + frame[_ADDRESSES + 4:]
