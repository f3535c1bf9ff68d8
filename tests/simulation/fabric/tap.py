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

"""TAP devices and the character devices of macvtaps."""

import fcntl
import os
import struct
import tempfile

from tests.simulation.fabric import namespace

# include/uapi/linux/if_tun.h
_TUNSETIFF = 0x400454ca
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000


def add_tap(where: namespace.Namespace, name: str, mac: str) -> int:
    """Make a TAP device.

    :returns: the file descriptor of its other side
    """
    def make() -> int:
        descriptor = os.open('/dev/net/tun', os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack(
            '16sH22x', name.encode(), _IFF_TAP | _IFF_NO_PI))
        return descriptor

    descriptor = where.inside(make)
    where.set(name, address=mac, txqlen=5000)
    return descriptor


def add_macvtap(where: namespace.Namespace, name: str, mac: str,
                below: str) -> int:
    """Make a macvtap in bridge mode, down.

    :returns: the file descriptor of its character device
    :raises pyroute2.NetlinkError: EBUSY where the link below is a port of a
        bridge
    """
    where.netlink.link('add', ifname=name, kind='macvtap',
                       link=where.index(below), macvtap_mode='bridge',
                       address=mac)
    where.set(name, txqlen=5000)
    return _open_character_device(where, name)


def _open_character_device(where: namespace.Namespace, name: str) -> int:
    # Only the sysfs of the namespace has the number.
    numbers = where.run('sh', '-c', f'cat /sys/class/net/{name}/macvtap/*/dev')
    major, minor = (int(part) for part in numbers.strip().split(':'))
    with tempfile.TemporaryDirectory() as folder:
        node = os.path.join(folder, name)
        os.mknod(node, 0o600 | 0o020000, os.makedev(major, minor))
        descriptor = os.open(node, os.O_RDWR | os.O_CLOEXEC)
    # Without a header in front of each frame, which is the default here.
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack(
        '16sH22x', b'', _IFF_TAP | _IFF_NO_PI))
    return descriptor
