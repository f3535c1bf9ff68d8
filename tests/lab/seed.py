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

"""What one virtual machine has of its own: files laid over its image.

They come as a second archive behind the image's initramfs, which the kernel
unpacks over the first one (its Documentation/driver-api/early-userspace/
buffer-format.rst); a script in there copies them at every boot.
"""

import dataclasses
import os
import stat

_MAGIC = '070701'


@dataclasses.dataclass
class Seed:
    """Files by their path in the guest, without the leading slash."""

    files: dict[str, tuple[bytes, int]] = dataclasses.field(
        default_factory=dict)

    def add(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        if isinstance(content, str):
            content = content.encode()
        self.files[path.lstrip('/')] = (content, stat.S_IFREG | mode)

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        self.files[path.lstrip('/')] = (target.encode(),
                                        stat.S_IFLNK | 0o777)

    def write(self, initrd: str, target: str) -> None:
        """Write an initramfs with these files behind it."""
        with open(initrd, 'rb') as file:
            first = file.read()
        with open(target, 'wb') as file:
            file.write(first.ljust(_aligned(len(first)), b'\0'))
            file.write(self.archive())

    def archive(self) -> bytes:
        """These files below ``seed``, in the form "newc"."""
        folders: dict[str, None] = {'seed': None}
        for path in self.files:
            parts = os.path.join('seed', path).split('/')
            for count in range(1, len(parts)):
                folders['/'.join(parts[:count])] = None
        made = [_entry(folder, b'', stat.S_IFDIR | 0o755)
                for folder in folders]
        made += [_entry(os.path.join('seed', path), content, mode)
                 for path, (content, mode) in self.files.items()]
        return b''.join(made) + _entry('TRAILER!!!', b'', 0)


def _entry(path: str, content: bytes, mode: int) -> bytes:
    name = path.encode() + b'\0'
    # inode, mode, uid, gid, links, time, size, four device numbers, length
    # of the name, checksum
    numbers = [0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0]
    header = (_MAGIC + ''.join(f'{number:08x}' for number in numbers)
              ).encode() + name
    return (header.ljust(_aligned(len(header)), b'\0')
            + content.ljust(_aligned(len(content)), b'\0'))


def _aligned(size: int) -> int:
    return (size + 3) // 4 * 4
