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

"""A guest of the nested hosts, which libvirt live migrates between them."""

import dataclasses
import os
import time
import typing
import uuid

import nova_vf_failover
from tests.lab.compare import endpoint
from tests.lab.compare import recipe as compare
from tests.lab import conversation
from tests.lab import seed as seeds
from tests.lab.sriov import host as hosts
from tests.lab.sriov import recipe

MEGABYTES = 256
_TIMEOUT = 300.0
_PACKAGES = 'usr/lib/python3'
_AGENT = 'usr/bin/vf-failover-agent'
# A program and not a file of its own: what is compressed is compiled anew at
# each start, which takes seconds here.
_PROGRAM = f"""#!/usr/bin/python3
import sys
sys.path.insert(0, '/{_PACKAGES}')
from nova_vf_failover.guest import agent
agent.run()
"""
# A kernel that runs on emulated virtualization waits long for its clocks.
_WORDS = ('console=ttyS0 quiet mitigations=off nokaslr no5lvl audit=0 '
          'tsc=reliable random.trust_cpu=on nmi_watchdog=0 lpj=4000000 '
          'oops=panic panic=-1')
_ROOT_PORTS = 8

_XML = """
<domain type='kvm'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>{megabytes}</memory>
  {backing}
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc-q35-10.0'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initramfs}</initrd>
    <cmdline>{words}</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <cpu mode='host-passthrough' check='none' migratable='on'/>
  <clock offset='utc'/>
  <on_crash>preserve</on_crash>
  <devices>
    <emulator>{emulator}</emulator>
    <controller type='pci' model='pcie-root'/>
    {ports}
    <controller type='usb' model='none'/>
    {nics}
    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
    <serial type='file'>
      <source path='/var/log/{name}.console'/>
    </serial>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='none'/>
    <audio id='1' type='none'/>
  </devices>
</domain>
"""


@dataclasses.dataclass(frozen=True)
class Port:
    """The port of a guest: its place on every host and on the network.

    :ivar number: which of the guests of a lab it is, from 0
    :ivar vlan: that of its network, or 0 for none
    """

    number: int
    vlan: int = 0

    @property
    def server(self) -> str:
        return str(uuid.UUID(int=0x22222222222242228222 << 48 | self.number))

    @property
    def mac(self) -> str:
        return f'52:54:00:77:00:{0x11 + self.number:02x}'

    @property
    def address(self) -> str:
        return f'10.77.0.{11 + self.number}'

    @property
    def slot(self) -> str:
        """Of its VF: they begin at 10.0, and each second one is one."""
        return f'0000:01:10.{2 * self.number}'

    def arguments(self) -> dict[str, typing.Any]:
        """What a desk is told of it."""
        return {'server': self.server, 'mac': self.mac, 'slot': self.slot,
                'vlan': self.vlan}

    def vf(self, more: str = '') -> str:
        """The VF as Nova writes it."""
        slot, function = self.slot.split(':')[2].split('.')
        return (f"<interface type='hostdev' managed='yes'>"
                f"<mac address='{self.mac}'/><source><address type='pci' "
                f"domain='0' bus='0x01' slot='0x{slot}' "
                f"function='{function}'/></source>"
                f"<vlan><tag id='{self.vlan}'/></vlan>{more}</interface>")

    def macvtap(self, more: str = '') -> str:
        """A virtio NIC on the PF, or on a VLAN device of it."""
        below = f'{hosts.PF}.{self.vlan}' if self.vlan else hosts.PF
        return (f"<interface type='direct'><mac address='{self.mac}'/>"
                f"<source dev='{below}' mode='bridge'/>"
                f"<model type='virtio'/>{more}</interface>")


def seed(port: Port, kind: str, has_agent: bool) -> seeds.Seed:
    """What a guest has of its own.

    :param kind: of the NIC that has its address: vf, virtio or failover
    """
    made = seeds.Seed()
    made.add('usr/sbin/start', recipe.script('start.sh'), 0o755)
    made.add('usr/sbin/network', recipe.script('network.sh'), 0o755)
    made.add('etc/network.conf',
             f'KIND={kind}\nADDRESS={port.address}/24\n')
    with open(endpoint.__file__, 'rb') as file:
        made.add(compare.ENDPOINT, file.read(), 0o755)
    if has_agent:
        made.add('etc/agent', '')
        made.add(_AGENT, _PROGRAM, 0o755)
        package = os.path.dirname(nova_vf_failover.__file__)
        for folder in ('', 'guest'):
            for name in os.listdir(os.path.join(package, folder)):
                if name.endswith('.py') and (folder or name == '__init__.py'):
                    with open(os.path.join(package, folder, name),
                              'rb') as file:
                        made.add(os.path.join(
                            _PACKAGES, 'nova_vf_failover', folder, name),
                            file.read())
    return made


class Agent(conversation.GuestAgent):
    """The QEMU guest agent of a guest, wherever that is."""

    def __init__(self, guest: 'Guest') -> None:
        super().__init__('')
        self._guest = guest

    def _ask(self, command: str,
             arguments: conversation.Arguments) -> typing.Any:
        try:
            return self._guest.host.call(
                'agent', server=self._guest.port.server, command=command,
                arguments=arguments)
        except hosts.DeskError as error:
            raise conversation.Refusal(str(error))


class Guest:
    """One guest.

    :param both: the hosts; it starts on the first one, and if there is no
        other it stays there
    :param nics: its NICs, as XML
    :param backing: of its memory, as XML
    :ivar host: where it is
    """

    def __init__(self, name: str, port: Port, both: tuple[hosts.Host, ...],
                 nics: str, megabytes: int = MEGABYTES,
                 backing: str = '') -> None:
        self.name = name
        self.port = port
        self.host, self.other = both[0], both[-1]
        self.agent = Agent(self)
        self._nics = nics
        self._megabytes = megabytes
        self._backing = backing

    def boot(self) -> None:
        """Until its QEMU guest agent answers."""
        initramfs = f'/run/{self.name}.initramfs'
        for host in {self.host, self.other}:
            host.machine.guest.output(
                'sh', '-c', f'cat {recipe.INITRAMFS} {recipe.GUESTS}/'
                f'{self.name} > {initramfs}')
        self.host.call('start', xml=_XML.format(
            name=self.name, uuid=self.port.server,
            megabytes=self._megabytes, backing=self._backing,
            emulator=hosts.EMULATOR, kernel=recipe.KERNEL,
            initramfs=initramfs, words=_WORDS,
            ports="<controller type='pci' model='pcie-root-port'/>"
            * _ROOT_PORTS, nics=self._nics))
        self.await_answer()

    def await_address(self) -> None:
        """:raises TimeoutError: it is not on its network"""
        self.await_true(
            'The guest has its address',
            f'ip -4 -br address show | grep -q "UP .*{self.port.address}"')

    def await_answer(self) -> None:
        """:raises TimeoutError: its QEMU guest agent does not answer"""
        until = time.monotonic() + _TIMEOUT
        while True:
            try:
                self.agent.run('true')
                return
            except conversation.Refusal as error:
                if time.monotonic() > until:
                    raise TimeoutError(
                        f'Guest {self.name} does not answer: {error}\n'
                        f'{self.said()}')
                time.sleep(1)

    def await_true(self, what: str, script: str) -> None:
        """Run a script in it until it ends well, for this has no event.

        :raises TimeoutError: it never does
        """
        until = time.monotonic() + _TIMEOUT
        while self.agent.run('sh', '-c', script).code:
            if time.monotonic() > until:
                raise TimeoutError(f'{what}: not within {_TIMEOUT:.0f} s\n'
                                   f'{self.log()}')

    def migrate(self) -> None:
        self.host.call('migrate', server=self.port.server,
                       address=self.other.address)
        self.host, self.other = self.other, self.host

    def tell(self, command: str) -> typing.Any:
        """Have the host where it is do something with its port."""
        return self.host.call(command, port=self.port.arguments())

    def end(self) -> None:
        """Power it off, at once."""
        self.host.call('end', server=self.port.server)

    def suspend(self) -> None:
        """Let it take no time from others."""
        self.host.call('suspend', server=self.port.server)

    def resume(self) -> None:
        self.host.call('resume', server=self.port.server)

    def log(self) -> str:
        """The end of what it has noted."""
        return self.agent.run(
            'sh', '-c', 'ip address; ip rule; ip route; tail -30 '
            '/var/log/agent.log /var/log/network.log').output

    def said(self) -> str:
        """The end of its console, and of what its host has noted."""
        return self.host.machine.guest.run(
            'sh', '-c', f'tail -c 2000 /var/log/{self.name}.console'
        ).output + self.host.log()
