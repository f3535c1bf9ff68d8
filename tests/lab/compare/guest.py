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


"""A guest that is live migrated between two hosts."""

from collections.abc import Mapping
from collections.abc import Sequence
import json
import os
import tempfile
import time
import typing

from tests.lab.compare import fabric
from tests.lab.compare import recipe
from tests.lab import image as images
from tests.lab import machine as machines
from tests.lab import seed as seeds

VF, STANDBY = 'vf', 'standby'
#: the root port of each, and the name that it so has in the guest
PORTS = {VF: 1, STANDBY: 2}
NAMES = {VF: 'enp1s0', STANDBY: 'enp2s0'}
MEGABYTES = 512

# QEMU's stand-in for a VF: net_failover takes no igb for a primary, for that
# is no PCI device in a slot of its own (hw/net/virtio-net.c).
_MODELS = {VF: ('e1000e', fabric.VF), STANDBY: ('virtio-net-pci', fabric.PF)}
# One processor, for the machine has others to run. QEMU 7.2 emulates
# cmpxchg16b wrongly where there can never be a second one: Linux 6.12 then
# dies in an early __kmalloc_cache_noprof().
_MACHINE = ('-smp', 'cpus=1,maxcpus=2', '-no-reboot')
# Bytes a second: the copy is to be short, for it is not what is compared.
_BANDWIDTH = 4 << 30
_TIMEOUT = 120.0
# Characters at the end of the console that a panic is looked for in.
_CONSOLE = 20000


class Guest:
    """One guest, on one of two hosts.

    :param properties: of its NICs in QEMU
    :param present: the NICs that it boots with
    :ivar machine: its virtual machine on the host where it is
    """

    def __init__(self, net: fabric.Fabric, image: images.Image,
                 seed: seeds.Seed, present: Sequence[str],
                 properties: Mapping[str, Mapping[str, str]]) -> None:
        self._net = net
        self._image = image
        self._seed = seed
        self._properties = properties
        self._folder = tempfile.TemporaryDirectory(prefix='lab-')
        self._generation = 0
        self._host, self._other = fabric.HOSTS
        self._left: machines.Machine | None = None
        self._target: machines.Machine | None = None
        self.machine = self._start(self._host, present)

    def close(self) -> None:
        for machine in (self.machine, self._left, self._target):
            if machine:
                machine.close()
        self._folder.cleanup()

    def pause(self) -> None:
        """Let it take no time from others."""
        self.machine.qmp.execute('stop')

    def go_on(self) -> None:
        self.machine.qmp.execute('cont')

    @property
    def panicked(self) -> bool:
        """Whether its kernel has died."""
        return any(machine and 'Kernel panic' in machine.said(_CONSOLE)
                   for machine in (self.machine, self._target, self._left))

    # -- its NICs -----------------------------------------------------------

    def attach(self, nic: str) -> None:
        self.machine.attach(nic, PORTS[nic])

    def detach(self, nic: str) -> None:
        self.machine.detach(nic)

    # -- migration ------------------------------------------------------------

    def prepare_target(self, present: Sequence[str]) -> None:
        """Start what it is to migrate into.

        :param present: the NICs that it will have then
        """
        self._net.forget(self._other)
        self._target = self._start(self._other, present, (
            '-incoming', 'defer'))
        for machine in (self.machine, self._target):
            machine.qmp.forget()
            machine.qmp.execute('migrate-set-capabilities', capabilities=[
                {'capability': 'events', 'state': True}])
        self.machine.qmp.execute('migrate-set-parameters', **{
            'max-bandwidth': _BANDWIDTH})
        self._target.qmp.execute('migrate-incoming', uri=self._uri)

    def start_migration(self) -> None:
        self.machine.qmp.execute('migrate', uri=self._uri)

    def await_unplugged(self) -> None:
        """Until QEMU has unplugged what does not migrate, of itself."""
        self.machine.qmp.wait('MIGRATION', _TIMEOUT, status='active')

    def await_migrated(self) -> None:
        """Until it runs on the other host.

        :raises TimeoutError: it does not
        """
        assert self._target is not None
        try:
            self._target.qmp.wait('RESUME', _TIMEOUT)
        except TimeoutError as error:
            raise TimeoutError(
                f'{error}: {self.machine.qmp.execute("query-migrate")}')
        self._left, self.machine = self.machine, self._target
        self._target = None
        self._host, self._other = self._other, self._host
        self.machine.await_guest(_TIMEOUT)

    def leave(self) -> None:
        """End what it has migrated out of."""
        if self._left:
            self._left.close()
        self._left = None

    # -- its agent ------------------------------------------------------------

    def intent(self, use: str) -> str:
        self._generation += 1
        return json.dumps({
            'version': 1, 'generation': self._generation, 'use': use,
            'timeout': _TIMEOUT, 'ports': [
                {'id': 'port', 'mac': fabric.MAC}]})

    def apply(self, intent: str, state: str, *arguments: str) -> None:
        """Hand an intent over, as the channel ``qga`` does.

        :param state: that its report has to tell
        :raises AssertionError: it tells another one
        """
        ended = self.machine.guest.run(recipe.AGENT, 'apply', *arguments,
                                       given=intent)
        report: typing.Any = json.loads(ended.output or '{}')
        if report.get('state') != state:
            raise AssertionError(
                f'The agent of the guest is not "{state}" but says: '
                f'{ended.output}{ended.errors}\n{self.log()}')

    def carry_out(self, intent: str) -> None:
        """Hand an intent over and wait until it is done."""
        self.apply(intent, 'done', '--wait', str(_TIMEOUT + 10))

    def log(self) -> str:
        """The end of what the guest has noted."""
        return self.machine.guest.run(
            'sh', '-c', 'ip address; ip rule; journalctl -b -o '
            'short-monotonic --no-pager | grep -v qemu-ga | tail -60').output

    def await_true(self, what: str, *argv: str) -> None:
        """Run a program in it until it ends well, for this has no event.

        :raises TimeoutError: it never does
        """
        until = time.monotonic() + _TIMEOUT
        while self.machine.guest.run(*argv).code:
            if time.monotonic() > until:
                raise TimeoutError(f'{what}: not within {_TIMEOUT:.0f} s\n'
                                   f'{self.log()}')
            time.sleep(0.5)

    @property
    def _uri(self) -> str:
        return 'unix:' + os.path.join(self._folder.name, 'migration')

    def _start(self, host: str, present: Sequence[str],
               options: Sequence[str] = ()) -> machines.Machine:
        nics = [machines.Nic(name, self._net.taps[host][port], model,
                             fabric.MAC, self._properties.get(name, {}))
                for name, (model, port) in _MODELS.items()]
        return machines.Machine(
            self._image, self._seed, nics,
            {name: PORTS[name] for name in present}, recipe.WORDS,
            megabytes=MEGABYTES, processors=1,
            options=(*_MACHINE, *options))
