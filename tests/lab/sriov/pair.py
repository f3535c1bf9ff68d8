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

"""Two nested hosts that are ready, saved so that the next time is quick."""

from collections.abc import Callable
from collections.abc import Mapping
import contextlib
import hashlib
import os
import shutil

from tests.lab.compare import recipe as compare
from tests.lab import emulator
from tests.lab import image as images
from tests.lab import machine as machines
from tests.lab import seed as seeds
from tests.lab.sriov import fabric
from tests.lab.sriov import host as hosts

# In the image's folder, for their memory has what they have read of it; and
# only the last: each is some hundreds of MiB.
_FOLDER = 'hosts'
# How they are started: what was saved goes on in the same machine only.
_STARTED_BY = (hosts, compare, machines, emulator)


def check() -> None:
    """:raises errors.LabError: they cannot be run here, and why"""
    hosts.check(len(fabric.HOSTS) * hosts.MEGABYTES)


def start(stack: contextlib.ExitStack, net: fabric.Fabric,
          image: images.Image, guests: Mapping[str, seeds.Seed],
          say: Callable[[str], None]) -> tuple[hosts.Host, ...]:
    """Two hosts without a guest.

    :param stack: closes them
    :param guests: what each guest that may come has of its own
    :raises TimeoutError: one does not come up
    """
    own = {name: hosts.seed(name, guests) for name in fabric.HOSTS}
    saved = os.path.join(image.folder, _FOLDER)
    if not _is_saved(saved, own):
        say('Booting both hosts, which the next time is quick')
        _save(saved, own, net, image)
    say('Going on with both hosts where they were saved')
    both = []
    for name in fabric.HOSTS:
        host = hosts.Host(name, net, image, own[name],
                          os.path.join(saved, name))
        stack.callback(host.close)
        both.append(host)
    for host in both:
        host.await_ready()
    return tuple(both)


def _key(own: Mapping[str, seeds.Seed]) -> str:
    digest = hashlib.sha256()
    for its in own.values():
        digest.update(its.archive())
    for module in _STARTED_BY:
        with open(module.__file__, 'rb') as file:
            digest.update(file.read())
    return digest.hexdigest()


def _is_saved(saved: str, own: Mapping[str, seeds.Seed]) -> bool:
    try:
        with open(os.path.join(saved, 'key')) as file:
            return file.read() == _key(own)
    except FileNotFoundError:
        return False


def _save(saved: str, own: Mapping[str, seeds.Seed], net: fabric.Fabric,
          image: images.Image) -> None:
    shutil.rmtree(saved, ignore_errors=True)
    os.mkdir(saved)
    with contextlib.ExitStack() as stack:
        both = []
        for name in fabric.HOSTS:
            host = hosts.Host(name, net, image, own[name])
            stack.callback(host.close)
            both.append(host)
        for host in both:
            host.await_ready()
        for host in both:
            host.save(os.path.join(saved, host.name))
    # Last: what has no key is not whole.
    with open(os.path.join(saved, 'key'), 'w') as file:
        file.write(_key(own))
