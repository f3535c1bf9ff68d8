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

"""Whether udev has finished with a NIC: it renames what it finds.

It tells so with a file, and with a message to the second group of
NETLINK_KOBJECT_UEVENT (libudev(3), "udev" monitors).
"""

import os
import socket
import typing

_PROTOCOL = 15
_GROUP = 2
_CONTROL = '/run/udev/control'
_DATABASE = '/run/udev/data/n%d'


def settled(index: int) -> bool:
    """Whether nobody is going to rename a NIC any more."""
    return not _present() or os.path.exists(_DATABASE % index)


def monitor() -> typing.Optional[socket.socket]:
    """A socket that has something to read when udev has done something."""
    if not _present():
        return None
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _PROTOCOL)
    made.bind((0, _GROUP))
    return made


def _present() -> bool:
    """Whether there is a udev that sees the NICs of this namespace."""
    return os.path.exists(_CONTROL) and (
        os.readlink('/proc/self/ns/net') == os.readlink('/proc/1/ns/net'))
