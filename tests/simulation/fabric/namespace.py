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

"""Network namespaces of our own, and netlink into them."""

from collections.abc import Callable
import contextlib
import fcntl
import os
import re
import subprocess
import threading
import typing
import uuid

import pyroute2
from pyroute2 import config
from pyroute2 import netns

# Of this form are the names of ours, and nobody else's.
_NAME = re.compile(r'vff-(\d+)-.+-[0-9a-f]{6}')

# pyroute2 makes a namespace, and a socket in one, in a process that it forks,
# and ends that with SIGTERM as soon as it has the result. With a handler of
# ours that process would go on as if it were this one, and clean up: remove
# the namespaces of this one, and close what the two share.
config.disable_mp_signal = True
# Seconds for such a process; two of them, which is what pyroute2 allows for,
# are too few on a machine that has other work to do.
config.default_communicate_timeout = 60
# Seconds until a link whose other end is up has its carrier.
_CARRIER = 10

Result = typing.TypeVar('Result')


def unique_name(role: str) -> str:
    """A name that nobody else has.

    :param role: what it is for
    """
    return f'vff-{os.getpid()}-{role}-{uuid.uuid4().hex[:6]}'


class Namespace:
    """A network namespace."""

    def __init__(self, role: str) -> None:
        self.name = unique_name(role)
        netns.create(self.name)
        self._descriptor = _opened(self.name)
        # Tells a sweep that somebody has it.
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        self.netlink = pyroute2.NetNS(self.name)
        self.netlink.link('set', index=1, state='up')

    def close(self) -> None:
        self.netlink.close()
        os.close(self._descriptor)
        netns.remove(self.name)

    @property
    def descriptor(self) -> int:
        """An open file of the namespace, as netlink takes it."""
        return self._descriptor

    def index(self, name: str) -> int:
        """The index of a link.

        :raises LookupError: there is none of this name
        """
        found = list(self.netlink.link_lookup(ifname=name))
        if not found:
            raise LookupError(f'{name} in {self.name}')
        return found[0]

    def names(self) -> set[str]:
        return {message.get_attr('IFLA_IFNAME')
                for message in self.netlink.get_links()}

    def set(self, name: str, **attributes: typing.Any) -> None:
        self.netlink.link('set', index=self.index(name), **attributes)

    def give(self, name: str, other: 'Namespace', as_name: str) -> None:
        """Move a link to another namespace under another name."""
        self.netlink.link('set', index=self.index(name),
                          net_ns_fd=other.descriptor, ifname=as_name)

    def add_veth(self, name: str, other: 'Namespace', peer: str) -> None:
        """A cable from here to another namespace; both ends are up."""
        self.netlink.link('add', ifname=name, kind='veth', peer={
            'ifname': peer, 'net_ns_fd': other.descriptor})
        self.set(name, state='up')
        other.set(peer, state='up')
        self._await_carrier(name)

    def _await_carrier(self, name: str) -> None:
        """Wait until a link that is up sends what it is given.

        The end of a cable that was brought up first gets its queue from a
        task of the kernel's, net/core/link_watch.c; what is sent before that
        is lost.

        :raises TimeoutError: it did not in time
        """
        self.netlink.poll(
            self.netlink.link, 'dump', ifname=name, operstate='UP',
            timeout=_CARRIER, interval=0.01)

    def inside(self, function: Callable[[], Result]) -> Result:
        """Call a function in a thread that is in this namespace."""
        results: list[Result] = []
        failures: list[BaseException] = []

        def enter() -> None:
            try:
                netns.setns(self._descriptor)
                results.append(function())
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]
        return results[0]

    def command(self, *argv: str) -> list[str]:
        """The argv of a program that is to run inside."""
        return ['ip', 'netns', 'exec', self.name, *argv]

    def run(self, *argv: str) -> str:
        """Run a program inside and return what it prints.

        :raises subprocess.CalledProcessError: it failed
        """
        return subprocess.run(self.command(*argv), check=True,
                              stdout=subprocess.PIPE, text=True).stdout


def sweep() -> None:
    """Remove the namespaces of runs whose process is gone."""
    for name in netns.listnetns():
        # Another run may be at it as well.
        with contextlib.suppress(FileNotFoundError):
            if _abandoned(name):
                netns.remove(name)


def _abandoned(name: str) -> bool:
    """Whether its owner is gone: no process has its number, or holds it.

    The number alone says nothing where processes are counted from 1 anew.
    """
    found = _NAME.fullmatch(name)
    if not found or os.path.exists(f'/proc/{found.group(1)}'):
        return False
    descriptor = _opened(name)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _opened(name: str) -> int:
    return os.open(f'/var/run/netns/{name}', os.O_RDONLY | os.O_CLOEXEC)
