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

"""Root file systems of Debian releases as images that QEMU boots.

An image is built once from the mirror that this machine's own apt uses, and
kept; what one virtual machine has of its own comes in at boot, see
:mod:`tests.lab.seed`.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import contextlib
import dataclasses
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import typing

from tests.lab import errors

TOOLS = ('mmdebstrap', 'mke2fs', 'unshare')
# More than a tree, its image and the packages need while it is built.
_ROOM = 4 * 2 ** 30
_LIST = 'mirror+file:'
# What mmdebstrap mounts in its tree (the host's own /dev/shm is among it) and
# whom it starts go with it: nobody else sees those mounts, and the kernel ends
# all of a namespace of processes with the first of them.
_ALONE = ('unshare', '--mount', '--propagation', 'private', '--pid', '--fork',
          '--kill-child', '--mount-proc')

Progress = Callable[[str], None]

# What an initramfs needs to find the root file system. Debian's own has the
# drivers of all NICs, so that they have their names before anything starts.
_INITRAMFS = {
    'etc/initramfs-tools/conf.d/lab':
        'MODULES=list\nCOMPRESS=gzip\nBUSYBOX=y\n',
    'etc/initramfs-tools/modules':
        'virtio_pci\nvirtio_blk\ncrc32c_generic\next4\n'
        'virtio_net\ne1000e\n',
    'etc/initramfs-tools/scripts/init-bottom/seed':
        '#!/bin/sh\n'
        '[ "$1" = prereqs ] && exit 0\n'
        '[ -d /seed ] && cp -a /seed/. "$rootmnt/"\n'
        'exit 0\n',
}
# With a journal, for guests are started anew without a word of warning.
_FILE_SYSTEM = ('-t', 'ext4', '-J', 'size=16')
_ESSENTIAL = ('linux-image-amd64', 'initramfs-tools', 'busybox', 'systemd',
              'systemd-sysv', 'udev', 'dbus', 'kmod', 'iproute2',
              'qemu-guest-agent')


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What an image is made of.

    :ivar release: the code name of a Debian release
    :ivar packages: beside those that every image has
    :ivar masked: units that are never to start
    :ivar commands: run by a shell in the finished tree
    :ivar size: of the file system, in MiB
    """

    release: str
    packages: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    size: int = 2048

    @property
    def key(self) -> str:
        """Tells apart what is built differently."""
        text = json.dumps([dataclasses.astuple(self), _INITRAMFS, _ESSENTIAL,
                           _FILE_SYSTEM])
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclasses.dataclass(frozen=True)
class Image:
    """A finished image.

    :ivar folder: has the files below, and ``packages``: each with its version
    """

    folder: str

    @property
    def disk(self) -> str:
        """A raw ext4 file system."""
        return os.path.join(self.folder, 'disk')

    @property
    def kernel(self) -> str:
        return os.path.join(self.folder, 'kernel')

    @property
    def initrd(self) -> str:
        return os.path.join(self.folder, 'initrd')

    @property
    def versions(self) -> Mapping[str, str]:
        """The version of each package that is in it."""
        with open(os.path.join(self.folder, 'packages')) as lines:
            return dict(line.split() for line in lines)


def get(recipe: Recipe, cache: str, say: Progress) -> Image:
    """The image of a recipe, built if it is not in the cache.

    :param cache: a folder
    :param say: is told what is done, for it takes minutes
    :raises errors.LabError: what is missing, or what failed
    """
    name = f'{recipe.release}-{recipe.key}'
    folder = os.path.join(os.path.abspath(cache), name)
    if not os.path.isdir(folder):
        check(cache)
        with tempfile.TemporaryDirectory(
                dir=cache, prefix=f'{name}.') as building:
            _build(recipe, building, say)
            # Nobody ever sees half an image.
            os.rename(os.path.join(building, 'image'), folder)
    return Image(folder)


def check(cache: str) -> None:
    """:raises errors.LabError: an image cannot be built here, and why"""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise errors.LabError(
            f'Images are built with {" and ".join(missing)}, which this '
            'machine has not.')
    os.makedirs(cache, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if free < _ROOM:
        raise errors.LabError(
            f'{cache} has {free >> 20} MiB left; an image needs '
            f'{_ROOM >> 20} MiB while it is built.')


def _build(recipe: Recipe, building: str, say: Progress) -> None:
    tree = os.path.join(building, 'tree')
    image = os.path.join(building, 'image')
    os.mkdir(image)
    say(f'Debian {recipe.release}: unpacking packages')
    _bootstrap(recipe, tree, os.path.join(building, 'log'))
    say(f'Debian {recipe.release}: writing the image')
    _take(tree, 'vmlinuz', os.path.join(image, 'kernel'))
    _take(tree, 'initrd.img', os.path.join(image, 'initrd'))
    with open(os.path.join(image, 'packages'), 'w') as target:
        subprocess.run(
            ['dpkg-query', f'--admindir={tree}/var/lib/dpkg', '--show'],
            check=True, stdout=target)
    _run(['mke2fs', '-q', *_FILE_SYSTEM, '-d', tree,
          os.path.join(image, 'disk'), f'{recipe.size}M'],
         os.path.join(building, 'log'))


def _bootstrap(recipe: Recipe, tree: str, log: str) -> None:
    mirror, keyring = _mirror()
    packages = ','.join(_ESSENTIAL + recipe.packages)
    hooks = list(_hooks(recipe))
    _run(['mmdebstrap', '--mode=root', '--variant=minbase',
          '--format=directory', '--components=main',
          *(f'--keyring={path}' for path in keyring),
          '--aptopt=APT::Install-Recommends "false"',
          '--aptopt=Acquire::Languages "none"',
          *(f'--dpkgopt=path-exclude=/usr/share/{part}/*'
            for part in ('doc', 'man', 'locale')),
          f'--include={packages}',
          *(f'--customize-hook={hook}' for hook in hooks),
          recipe.release, tree, f'deb {mirror} {recipe.release} main'], log)


def _hooks(recipe: Recipe) -> Iterable[str]:
    for path, text in _INITRAMFS.items():
        quoted = text.replace("'", "'\\''")
        yield f"printf %s '{quoted}' > \"$1/{path}\""
    yield 'chmod 755 "$1/etc/initramfs-tools/scripts/init-bottom/seed"'
    if recipe.masked:
        yield f'chroot "$1" systemctl mask {" ".join(recipe.masked)}'
    for command in recipe.commands:
        quoted = command.replace("'", "'\\''")
        yield f"chroot \"$1\" sh -c '{quoted}'"
    yield 'chroot "$1" update-initramfs -u'


def _take(tree: str, name: str, target: str) -> None:
    """Copy a file of /boot, whose name ends in the kernel's version."""
    found, = glob.glob(os.path.join(tree, 'boot', f'{name}-*'))
    shutil.copy(found, target)


def _run(argv: list[str], log: str) -> None:
    """Run a program that leaves nothing, also if this is interrupted.

    :raises errors.LabError: it failed, with the end of what it said
    """
    # All that it starts inherit one end of a pipe, so the other one tells when
    # the last of them has ended: whoever is killed may still write until then.
    ended, running = os.pipe()
    try:
        with open(log, 'ab') as output:
            code = subprocess.run([*_ALONE, *argv], stdin=subprocess.DEVNULL,
                                  stdout=output, stderr=subprocess.STDOUT,
                                  pass_fds=[running]).returncode
    finally:
        os.close(running)
        os.read(ended, 1)
        os.close(ended)
    if code:
        with open(log, errors='replace') as lines:
            said = lines.read()[-2000:]
        raise errors.LabError(
            f'{argv[0]} ended with exit code {code}. It said:\n{said}')


# -- what apt knows --------------------------------------------------------

def _mirror() -> tuple[str, list[str]]:
    """The mirror that this machine's apt gets Debian's packages from.

    :returns: its address, and the keyrings for it; none where those that
        apt trusts anyway do
    :raises errors.LabError: this is no Debian
    """
    for source in _sources():
        if 'main' not in source.get('Components', '').split():
            continue
        for uri in _addresses(source.get('URIs', '')):
            if re.search(r'/debian/?$', uri):
                return uri, source.get('Signed-By', '').split()
    raise errors.LabError(
        'apt has no source of Debian packages (an address that ends in '
        '/debian) to build an image from.')


def _addresses(uris: str) -> Iterable[str]:
    """Those that a source has, itself or in a list of mirrors.

    Debian's images for clouds have such a list: apt-transport-mirror(1).
    """
    for uri in uris.split():
        if not uri.startswith(_LIST):
            yield uri
            continue
        with contextlib.suppress(FileNotFoundError), open(
                uri[len(_LIST):]) as file:
            # An address may be followed by its properties.
            for line in file:
                yield from line.split('#')[0].split()[:1]


def _sources() -> Iterable[dict[str, str]]:
    """Sources in either form, see sources.list(5)."""
    for path in glob.glob('/etc/apt/sources.list.d/*.sources'):
        with open(path) as file:
            for stanza in file.read().split('\n\n'):
                yield dict(re.findall(r'^([\w-]+): *(.*)$', stanza,
                                      re.MULTILINE))
    for path in ['/etc/apt/sources.list',
                 *glob.glob('/etc/apt/sources.list.d/*.list')]:
        with contextlib.suppress(FileNotFoundError), open(path) as file:
            for line in file:
                yield from _one_line(line)


def _one_line(line: str) -> Iterable[dict[str, str]]:
    found = re.match(
        r'deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)\s+(.*)', line)
    if found:
        options, uri, _, components = found.groups()
        signed: typing.Any = re.search(r'signed-by=(\S+)', options or '')
        yield {'URIs': uri, 'Components': components,
               'Signed-By': signed.group(1) if signed else ''}
