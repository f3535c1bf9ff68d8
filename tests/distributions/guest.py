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

"""The guest of a test: its virtual machine, and what is looked at inside."""

import json
import re
import time
import typing

from tests.distributions import segment
from tests.distributions import variants
from tests.lab import machine as machines

AGENT = '/usr/local/bin/vf-failover-agent'
_UNIT = 'vf-failover-agent.service'
_TIMEOUT = 60
_LOOK_AGAIN = 0.5

Configuration = dict[str, typing.Any]
Report = dict[str, typing.Any]

# What differs from one look to the next without meaning anything.
_PASSING = frozenset([
    'valid_life_time', 'preferred_life_time', 'ifindex', 'expires', 'flags',
    'cacheinfo', 'nhid'])


class Guest:
    """A guest with one port that moves.

    :ivar machine: its virtual machine
    """

    def __init__(self, machine: machines.Machine,
                 variant: variants.Variant) -> None:
        self.machine = machine
        self.variant = variant
        self._generation = 0

    # -- programs in it -----------------------------------------------------

    def output(self, *argv: str) -> str:
        return self.machine.guest.output(*argv)

    def look(self, *argv: str) -> typing.Any:
        """What a command of iproute2 tells."""
        return json.loads(self.output('ip', '-json', *argv) or '[]')

    def agent_pid(self) -> int:
        return int(self._of_unit('MainPID'))

    def agent_is_ready(self) -> bool:
        return self._of_unit('ActiveState') == 'active'

    def _of_unit(self, name: str) -> str:
        return self.output('systemctl', 'show', '--value',
                           f'--property={name}', _UNIT).strip()

    def await_true(self, what: str,
                   condition: typing.Callable[[], bool],
                   timeout: float = _TIMEOUT) -> None:
        """Look again and again, for these have no events.

        :raises AssertionError: it does not become true
        """
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f'{what}: not within {timeout:.0f} s')
            time.sleep(_LOOK_AGAIN)

    # -- the agent ----------------------------------------------------------

    def intent(self, use: str) -> str:
        self._generation += 1
        return json.dumps({
            'version': 1, 'generation': self._generation, 'use': use,
            'timeout': _TIMEOUT, 'ports': [
                {'id': 'port', 'mac': segment.MAC}]})

    def apply(self, intent: str, *arguments: str) -> Report:
        """Hand an intent over, as the channel ``qga`` does."""
        ended = self.machine.guest.run(AGENT, 'apply', *arguments,
                                       given=intent)
        if not ended.output:
            raise AssertionError(f'The agent says nothing: {ended.errors}')
        return json.loads(ended.output)

    def done(self, intent: str) -> Report:
        """Hand an intent over and see it carried out.

        :raises AssertionError: it is not
        """
        report = self.apply(intent, '--wait', str(_TIMEOUT + 10))
        if report['state'] != 'done':
            raise AssertionError(
                f'{report["use"]}: {report["state"]} {report["message"]}')
        return report

    # -- its NICs -----------------------------------------------------------

    def links(self) -> list[dict[str, typing.Any]]:
        return self.look('-details', 'link', 'show')

    def name(self, driver: str) -> str | None:
        """The name of the port's NIC with this driver, if it is there."""
        listed = self.output(
            'sh', '-c', 'cd /sys/class/net; for nic in *; do '
            'test -e $nic/device && echo $nic '
            '$(cat $nic/address) $(basename $(readlink -f '
            '$nic/device/driver)); done; true')
        for line in listed.splitlines():
            # One that gets another name meanwhile has but that.
            name, *rest = line.split()
            if rest[1:] == [driver] and rest[0][2:] == segment.MAC[2:]:
                return name
        return None

    @property
    def primary(self) -> str | None:
        return self.name('e1000e')

    @property
    def standby(self) -> str | None:
        return next((name for name in [self.name('virtio_net')]
                     if name != self.other), None)

    @property
    def other(self) -> str | None:
        found = [link['ifname'] for link in self.links()
                 if link.get('address') == segment.OTHER_MAC]
        return found[0] if found else None

    def addresses(self, name: str) -> list[dict[str, typing.Any]]:
        shown = self.look('address', 'show', 'dev', name)
        return [address for link in shown for address in link.get(
            'addr_info', [])]

    def global_v6(self, name: str) -> str | None:
        return next((address['local'] for address in self.addresses(name)
                     if address['family'] == 'inet6'
                     and address['scope'] == 'global'
                     and not address.get('tentative')), None)

    @property
    def renames_in_use(self) -> bool:
        """Whether the kernel renames a NIC that is up: from Linux 6.2 on."""
        first, second = self.output('uname', '-r').split('.')[:2]
        return (int(first), int(second)) >= (6, 2)

    def life(self, name: str) -> int:
        """Seconds until the lease on the IPv4 address ends."""
        return next((address['valid_life_time'] for address in self.addresses(
            name) if address['family'] == 'inet'), 0)

    def configuration(self, name: str) -> Configuration:
        """All that its owner would see of a NIC, and of the rules."""
        names = name, self.variant.name

        def of(*argv: str) -> list[typing.Any]:
            found = [entry for entry in self.look(*argv)
                     if entry.get('dev', name) == name]
            # The default route of a router that systemd-networkd hears late
            # may be there twice for a while, see distributions.rst.
            return _once(_lasting(entry, *names) for entry in found)

        return {
            'addresses': sorted((_lasting(address, *names) for address
                                 in self.addresses(name)), key=str),
            'routes': of('-4', 'route', 'show', 'table', 'all'),
            'routes of IPv6': of('-6', 'route', 'show', 'table', 'all'),
            'rules': of('-4', 'rule', 'show'),
            'rules of IPv6': of('-6', 'rule', 'show'),
            'DNS': self.resolver()}

    def resolver(self) -> list[str]:
        """The DNS servers and domains of the C library."""
        return sorted(
            line.strip() for line in self.machine.guest.run(
                'cat', '/etc/resolv.conf').output.splitlines()
            if line.startswith(('nameserver', 'search')))

    # -- its network manager ------------------------------------------------

    def managed(self, name: str) -> str:
        """``yes``, ``no``, or how far it has come."""
        return {'networkd': self._networkd, 'cloud-init': self._networkd,
                'networkmanager': self._network_manager,
                'ifupdown': self._ifupdown}[self.variant.manager](name)

    def _networkd(self, name: str) -> str:
        line = self.output('networkctl', '--no-legend', '--no-pager', 'list',
                           name)
        setup = line.split()[-1]
        return {'configured': 'yes', 'unmanaged': 'no'}.get(setup, setup)

    def _network_manager(self, name: str) -> str:
        state = self.output('nmcli', '--get-values', 'GENERAL.STATE',
                            'device', 'show', name).strip()
        connection = self.output('nmcli', '--get-values',
                                 'GENERAL.CONNECTION', 'device', 'show',
                                 name).strip()
        if 'unmanaged' in state:
            return 'no'
        return 'yes' if (connection in ('port', 'other')
                         and state.startswith('100')) else (
                             f'{state} {connection}')

    def _ifupdown(self, name: str) -> str:
        ended = self.machine.guest.run('ifquery', '--state', name)
        return 'yes' if f'{name}=' in ended.output else 'no'

    def provoke(self, away: bool) -> None:
        """Have the manager, and udev, look at everything anew.

        :param away: the guest is on its standby. Then "netplan apply" would
            set that down, to give it the name that is meant for its MAC
        """
        self.output('udevadm', 'trigger', '--subsystem-match=net',
                    '--action=change', '--settle')
        for command in {
                'networkd': ['networkctl reload',
                             'systemctl restart systemd-networkd'],
                'cloud-init': ['networkctl reload' if away else
                               'netplan apply',
                               'systemctl restart systemd-networkd'],
                'networkmanager': ['nmcli connection reload',
                                   'systemctl restart NetworkManager'],
                'ifupdown': ['ifup -a']}[self.variant.manager]:
            self.output(*command.split())

    def cloud_init_refusal(self) -> str | None:
        """What cloud-init has to say against this guest, if it is there."""
        if self.variant.manager != 'cloud-init':
            return None
        ended = self.machine.guest.run('cloud-init', 'status', '--long',
                                       '--wait')
        log = self.machine.guest.run('cat', '/var/log/cloud-init.log').output
        found = re.search(r'.*duplicate mac.*', log, re.IGNORECASE)
        if found:
            return found.group(0)
        return ended.output if 'status: done' not in ended.output else None


def _lasting(entry: dict[str, typing.Any],
             *names: str) -> dict[str, typing.Any]:
    """What is the same whatever the name of the NIC is, and later on.

    :param names: those that it may have
    """
    return {key: value for key, value in entry.items()
            if key not in _PASSING and str(value) not in names}


def without(configuration: Configuration, keys: set[str]) -> Configuration:
    """The same, but for some of what is said of each entry.

    What is alike then is there once.
    """
    return {what: _once({key: value for key, value in entry.items()
                         if key not in keys} if isinstance(entry, dict)
                        else entry for entry in entries)
            for what, entries in configuration.items()}


def _once(entries: typing.Iterable[typing.Any]) -> list[typing.Any]:
    return [entry for _, entry in sorted(
        {str(entry): entry for entry in entries}.items())]
