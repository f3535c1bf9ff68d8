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

"""The real agent in a guest of the fabric, moved without Nova.

What Nova and libvirt do to the hosts is done step by step by the test.
"""

import functools
import json
import os
import re

import fixtures
from oslotest import base

from nova_vf_failover.guest import sysctl
from tests.simulation.fabric import agent
from tests.simulation.fabric import network
from tests.simulation.fabric import nic as nics

# What differs from one look at a guest to the next without meaning anything:
# the numbers of interfaces and the rest of a life.
_PASSING = re.compile(
    r'^\d+: |(valid|preferred)_lft \d+sec|expires \d+sec |@if\d+'
    r'|link-netns \S+', re.MULTILINE)


class Stage:
    """A guest with VFs on the host ``alpha``, and its agent.

    For what has ``useFixture`` and ``addCleanup``.
    """

    PORTS = 1
    #: what the guest's owner calls the NICs
    NAMES = ('eth0', 'eth1', 'eth2')
    MODE = nics.REPLICATING
    PROGRAM = agent.PROGRAM

    def set_stage(self):
        # One of each port, and another one to come back with.
        numbers = range(1, 2 * max(self.PORTS, 2) + 1)
        self.net = self.useFixture(network.Network(
            {'alpha': [f'0000:81:00.{n}' for n in numbers],
             'beta': [f'0000:91:00.{n}' for n in numbers]}, self.MODE))
        self.guest = self.net.guest.namespace
        self.ports = [network.Port(n, f'fa:16:3e:00:00:{n:02x}')
                      for n in range(1, self.PORTS + 1)]
        for number, port in enumerate(self.ports, 1):
            self.net.add_port(port)
            self.attach_vf('alpha', port, number)
            name = self.NAMES[number - 1]
            self.guest.set(f'eth{number - 1}', ifname=name)
            self.net.boot_port(port, name, number == 1)
        self.agent = agent.Agent(self.guest, self.PROGRAM)
        self.addCleanup(self.agent.close)
        self.prepare_agent()
        self.agent.start()
        self.generation = 0
        # As in a guest at work, its neighbours are known.
        self.reach()

    def prepare_agent(self):
        """What is done before the agent is started."""

    # -- the hosts' part ---------------------------------------------------

    def attach_vf(self, host, port, number):
        self.net.hosts[host].assign_vf('', self._vf(host, port, number))

    def detach_vf(self, host, port, number):
        self.net.hosts[host].return_vf('', self._vf(host, port, number))

    def _vf(self, host, port, number):
        bus = {'alpha': 81, 'beta': 91}[host]
        return network.hostdev(port, f'0000:{bus}:00.{number}')

    def attach_standby(self, name, port):
        host, nic = self._standby(name, port)
        host.plug_macvtap('', nic)
        host.connect_macvtap('', nic)

    def detach_standby(self, name, port):
        host, nic = self._standby(name, port)
        host.disconnect_macvtap('', nic, False)
        host.unplug_macvtap('', nic)

    def carry_standby(self, port):
        """The guest goes from alpha to beta on its standby."""
        alpha, left = self._standby('alpha', port)
        beta, taken = self._standby('beta', port)
        beta.plug_macvtap('', taken)
        alpha.disconnect_macvtap('', left, True)
        beta.connect_macvtap('', taken)
        alpha.unplug_macvtap('', left)

    def _standby(self, name, port):
        host = self.net.hosts[name]
        return host, network.macvtap(
            port, host, f'macvtap{self.ports.index(port)}')

    # -- the channel's part -------------------------------------------------

    def intent(self, use, ports=None, **changed):
        self.generation += 1
        return {'version': 1, 'generation': self.generation, 'use': use,
                'timeout': 10, 'ports': [
                    {'id': f'port-{port.mac[-2:]}', 'mac': port.mac}
                    for port in ports or self.ports], **changed}

    def ask(self, intent, *arguments):
        """Hand an intent over, or a text, and the report."""
        if not isinstance(intent, str):
            intent = json.dumps(intent)
        return self.agent.command(
            *arguments or ('apply', '--wait', '30'), given=intent)[1]

    def done(self, intent):
        report = self.ask(intent)
        if report['state'] != 'done':
            raise AssertionError(f'{report["state"]}: {report["message"]}')
        return report

    # -- whole moves ---------------------------------------------------------

    def fail_over(self):
        for port in self.ports:
            self.attach_standby('alpha', port)
        report = self.done(self.intent('standby'))
        for number, port in enumerate(self.ports, 1):
            self.detach_vf('alpha', port, number)
        return report

    def fail_back(self):
        """On beta, with other VFs."""
        return self.come_back('beta', {
            port: 5 - number for number, port in enumerate(self.ports, 1)})

    def come_back(self, host, numbers):
        """The ports come back onto these VFs of the host that they are on.

        :param numbers: of the VFs, by port
        """
        intent = self.intent('primary', list(numbers))
        armed = self.ask(intent, 'apply')
        if armed['state'] != 'armed':
            raise AssertionError(armed)
        for port, number in numbers.items():
            self.attach_vf(host, port, number)
        report = self.done(intent)
        for port in numbers:
            self.detach_standby(host, port)
        return report

    def move(self):
        self.fail_over()
        for port in self.ports:
            self.carry_standby(port)
        self.fail_back()

    def reach(self):
        """:raises AssertionError: a port does not answer"""
        for port in self.ports:
            for version in (4, 6):
                if not self.net.reaches(port, version):
                    raise AssertionError((port.mac, version))


class GuestTestCase(Stage, base.BaseTestCase):

    def setUp(self):
        super().setUp()
        if os.geteuid():
            self.skipTest('network namespaces need root')
        self.useFixture(fixtures.FakeLogger())
        self.addOnException(self._show_log)
        self.set_stage()

    def _show_log(self, _):
        if hasattr(self, 'agent'):
            with open(self.agent.log) as log:
                text = log.read()
            self.addDetail('agent', base.testtools.content.text_content(text))

    # -- what must be true -----------------------------------------------

    def configuration(self):
        """All that a guest's owner could see of its network."""
        shown = [self.guest.run('ip', *arguments) for arguments in (
            ('-oneline', 'link', 'show', 'up'), ('-oneline', 'address'),
            ('-4', 'route', 'show', 'table', 'all'),
            ('-6', 'route', 'show', 'table', 'all'),
            ('-4', 'rule'), ('-6', 'rule'), ('nexthop',),
            ('neighbour', 'show', 'proxy'))]
        shown.append(self.guest.run('tc', 'qdisc', 'show', 'dev',
                                    self.NAMES[0]))
        sysctls = {name: self.guest.inside(
            functools.partial(sysctl.snapshot, name))
            for name in self.NAMES[:len(self.ports)]}
        return [sysctls] + [sorted(_PASSING.sub('', text).splitlines())
                            for text in shown]

    def assertReachable(self):
        self.reach()
