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

"""QEMU out of an image, where this machine's own is too old for something.

It is run by the image's own loader with the image's own libraries. The image
is mounted in a namespace of mounts of which QEMU is the only process, so
whatever ends QEMU unmounts it as well.
"""

from collections.abc import Mapping
import os
import shutil

from tests.lab import errors
from tests.lab import image as images

TOOLS = ('unshare', 'mount', 'setpriv')
# The folder is the one of this process: nobody else sees what is mounted.
_SCRIPT = 'mount -o ro,loop,noload "$0" "$1" && shift && exec "$@"'
_LIBRARIES = 'usr/lib/x86_64-linux-gnu'
_FIRMWARE = ('usr/share/qemu', 'usr/share/seabios')


def check() -> None:
    """:raises errors.LabError: it cannot be run here, and why"""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise errors.LabError(
            f'QEMU is run out of an image with {" and ".join(missing)}, '
            'which this machine has not.')
    if not os.path.exists('/dev/loop-control'):
        raise errors.LabError(
            'QEMU is run out of an image, for which this machine needs loop '
            'devices: modprobe loop.')


def command(image: images.Image, folder: str) -> list[str]:
    """The first words of QEMU's command.

    :param folder: an empty one, on which the image is mounted
    """
    inside = {path: os.path.join(folder, path)
              for path in (_LIBRARIES, *_FIRMWARE)}
    return ['unshare', '--mount', '--propagation', 'private',
            'sh', '-c', _SCRIPT, image.disk, folder,
            os.path.join(folder, _LIBRARIES, 'ld-linux-x86-64.so.2'),
            '--library-path', inside[_LIBRARIES],
            os.path.join(folder, 'usr/bin/qemu-system-x86_64'),
            *(word for path in _FIRMWARE for word in ('-L', inside[path]))]


def environment(folder: str) -> Mapping[str, str]:
    """What QEMU finds its modules by."""
    return {'QEMU_MODULE_DIR': os.path.join(folder, _LIBRARIES, 'qemu')}
