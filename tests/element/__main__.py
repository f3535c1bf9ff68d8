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

"""An image made with the element, by diskimage-builder itself.

It makes a tree of Debian with debootstrap, from a mirror that the environment
names (DIB_DISTRIBUTION_MIRROR, DIB_DEBIAN_SECURITY_MIRROR), or from that of
this machine's apt.
"""

import argparse
import contextlib
import csv
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
CACHE = ROOT / '.cache' / 'element'
CONFIGURATION = ROOT / 'etc' / 'vf-failover-agent'
_BESIDE = pathlib.Path(sys.executable).parent


class Wrong(Exception):
    """The image is not as it should be."""


def mirrors(release: str) -> dict[str, str]:
    """Where apt gets a release and its security updates from, as DIB asks.
    """
    names = {release: 'DIB_DISTRIBUTION_MIRROR',
             f'{release}-security': 'DIB_DEBIAN_SECURITY_MIRROR'}
    listed = subprocess.run(
        ['apt-get', 'indextargets', '--format', '$(REPO_URI) $(CODENAME)',
         'Created-By: Packages'], check=True, stdout=subprocess.PIPE,
        text=True).stdout
    found = {}
    for line in listed.splitlines():
        where, codename = line.split()
        if codename in names:
            found.setdefault(names[codename], where)
    return found


def lint() -> None:
    """What diskimage-builder asks of its own elements."""
    with tempfile.TemporaryDirectory() as folder:
        below = pathlib.Path(folder) / 'diskimage_builder'
        shutil.copytree(ROOT / 'elements', below / 'elements')
        (below / 'lib').mkdir()
        # It asks git which files are ignored.
        subprocess.run(['git', 'init', '-q', folder], check=True)
        subprocess.run([_BESIDE / 'dib-lint'], cwd=folder, check=True,
                       env=environment())


def build(release: str, elements: pathlib.Path,
          channel: str) -> pathlib.Path:
    """Make an image, and unpack it.

    :returns: the folder
    """
    target = CACHE / channel
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(target)
    target.mkdir(parents=True)
    subprocess.run(
        [_BESIDE / 'disk-image-create', '-t', 'tar', '-o', target / 'image',
         'debian-minimal', 'vf-failover-agent'],
        check=True, cwd=target, env=environment(
            **{**mirrors(release), **os.environ}, DIB_RELEASE=release,
            DIB_NO_TMPFS='1',
            DIB_VF_FAILOVER_CHANNEL=channel, ELEMENTS_PATH=str(elements)))
    root = target / 'root'
    with tarfile.open(target / 'image.tar') as image:
        image.extractall(root, filter='fully_trusted')
    os.unlink(target / 'image.tar')
    return root


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, **more,
            'PATH': f'{_BESIDE}:{os.environ["PATH"]}'}


def install() -> pathlib.Path:
    """Install the package, as a builder of images would.

    :returns: the folder of the elements
    """
    folder = CACHE / 'installed'
    subprocess.run([sys.executable, '-m', 'venv', '--clear', folder],
                   check=True)
    python = str(folder / 'bin' / 'python')
    subprocess.run([python, '-m', 'pip', 'install', '-q', '--no-deps', ROOT],
                   check=True)
    return folder / 'share' / 'nova-vf-failover' / 'elements'


def look(root: pathlib.Path, channel: str) -> None:
    """:raises Wrong: something is missing in an image"""
    program = root / 'usr/local/bin/vf-failover-agent'
    if not os.access(program, os.X_OK):
        raise Wrong(f'{program} cannot be executed')
    said = in_image(root, 'vf-failover-agent', '--version')
    if not said or said == 'unknown':
        raise Wrong(f'the agent says that its version is {said!r}')
    state = in_image(root, 'systemctl', 'is-enabled', 'vf-failover-agent')
    if state != 'enabled':
        raise Wrong(f'the service is {state}')
    for name, place in places():
        if not (root / place.lstrip('/') / name).is_file():
            raise Wrong(f'{name} is not in {place}')
    unit = root / 'etc/systemd/system/vf-failover-agent.service.d'
    if (unit / 'metadata.conf').exists() != (channel == 'metadata'):
        raise Wrong(f'{unit} is not that of the channel {channel}')
    agent = (root / 'usr/sbin/qemu-ga').exists()
    if agent != (channel == 'qga'):
        raise Wrong(f'QEMU guest agent: {agent}')
    print(f'{channel}: agent {said} of {os.path.getsize(program)} bytes, '
          f'{state}; ' + ', '.join(name for name, _ in places()))


def places() -> list[tuple[str, str]]:
    """Each file of the configuration, and its folder in an image."""
    with open(CONFIGURATION / 'places.csv', newline='') as table:
        rows = list(csv.reader(table))
    return [(path.name, place) for pattern, place in rows
            for path in sorted(CONFIGURATION.glob(pattern))]


def in_image(root: pathlib.Path, *command: str) -> str:
    return subprocess.run(['chroot', root, *command], text=True,
                          stdout=subprocess.PIPE).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(prog='tox -e element --')
    parser.add_argument('--release', default='bookworm')
    parser.add_argument('channel', nargs='*', metavar='CHANNEL',
                        default=['qga', 'metadata'],
                        help='qga or metadata (default: one image each)')
    arguments = parser.parse_args()
    lint()
    elements = install()
    for channel in arguments.channel:
        look(build(arguments.release, elements, channel), channel)


if __name__ == '__main__':
    main()
