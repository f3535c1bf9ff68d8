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

"""What udev does with NICs: it names them, and knows properties of them.

That it has finished with one it tells with a file, and with a message to the
second group of NETLINK_KOBJECT_UEVENT (libudev(3), "udev" monitors).
"""

import logging
import os
import socket
import time
import typing

LOG = logging.getLogger(__name__)

_PROTOCOL = 15
_GROUP = 2
_CONTROL = '/run/udev/control'
_QUEUE = '/run/udev/queue'
_DATABASE = '/run/udev/data/n%d'
_EVENT = '/sys/class/net/%s/uevent'
#: seconds that it may take to name a NIC; then that is used as it is
NAMING = 5.0
# Of the end of its work udev tells with no message.
_LOOK_AGAIN = 0.05


def settled(index: int) -> bool:
    """Whether nobody is going to rename a NIC any more."""
    return not present() or os.path.exists(_DATABASE % index)


def look_again(name: str) -> None:
    """Have udev ask for the properties of a NIC anew, and tell of them."""
    _tell('change', name)


def introduce(name: str) -> None:
    """Have udev take a NIC for one that comes now, with the name it has.

    Some look at a NIC that has just come only, and know it by its name:
    ifupdown (80-ifupdown.rules).
    """
    _tell('add', name)


def _tell(event: str, name: str) -> None:
    if not present():
        return
    try:
        with open(_EVENT % name, 'w') as file:
            file.write(event)
    except OSError as error:
        LOG.warning('udev is not told of a change of %s: %s', name, error)


def await_idle(limit: float) -> bool:
    """Wait until udev has nothing to do; whether it came to that.

    While a guest starts, that is when the drivers of its NICs are loaded.
    """
    return await_true(
        lambda: not (present() and os.path.exists(_QUEUE)), limit)


def await_true(condition: typing.Callable[[], bool], limit: float) -> bool:
    """Look at what udev has done until it is enough; whether it was."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(_LOOK_AGAIN)
    return True


def monitor() -> typing.Optional[socket.socket]:
    """A socket that has something to read when udev has done something."""
    if not present():
        return None
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _PROTOCOL)
    made.bind((0, _GROUP))
    return made


def present() -> bool:
    """Whether there is a udev that sees the NICs of this namespace."""
    if not os.path.exists(_CONTROL):
        return False
    try:
        first = os.readlink('/proc/1/ns/net')
    except PermissionError:
        # That takes CAP_SYS_PTRACE. Whoever goes without has been started by
        # that first process, and in its namespace.
        return True
    return os.readlink('/proc/self/ns/net') == first
