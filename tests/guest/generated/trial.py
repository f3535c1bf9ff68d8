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

"""One guest that is set up, moved and set back, many times over."""

import difflib
import json
import os
import re
import subprocess
import time
import typing

import fixtures

from tests.guest import base
from tests.guest.generated import drawing
from tests.guest.generated import lookup
from tests.guest.generated import settings

#: the lines that the kernel did not take, and how the move began
Outcome = typing.NamedTuple('Outcome', [
    ('refused', list[str]), ('state', str), ('message', str)])

# Seconds that the kernel's own tasks may take for the routes of an address.
_SETTLING = 5.0
# Seconds that a life may have lost more than has passed: it is kept in whole
# ones, and rounded at each step.
_ROUNDING = 3

_NEW = ('mtu 1500 txqueuelen 1000 group default promisc off allmulticast off '
        'multicast on arp on')
_FAILED = re.compile(r'^Command failed -:(\d+)$', re.MULTILINE)
_LIVES = re.compile(r'(valid_lft|preferred_lft|expires) (\d+)(?=sec)')
# What the kernel counts or numbers for itself.
_PASSING = re.compile(r'^\d+: |@if\d+|link-netns\S* \S+| promiscuity .*? '
                      r'(?=addrgenmode|numtxqueues)|numtxqueues.*$'
                      r'|direct_packets_stat \d+', re.MULTILINE)
_SYSCTLS = '/proc/sys/net'
# It never can be read unless it is set.
_UNREADABLE = 'stable_secret'


class Different(AssertionError):
    """A guest is not what it was."""


class Trial(base.Stage, fixtures.Fixture):
    """The guest.

    Its agent is the real one. A failback brings other VFs of the same host.
    """

    PORTS = drawing.PORTS

    def _setUp(self):
        self.numbers = list(range(1, self.PORTS + 1))
        self.set_stage()
        self._lookup = lookup.Lookup(self.guest)
        self.addCleanup(self._lookup.close)
        # From the first rule on, for good, the kernel looks at where packets
        # come from, even with rp_filter off (net/ipv4/fib_frontend.c,
        # fib_validate_source): the agent's rule must not be the first.
        self._batch(['ip', '-4'], ['rule add blackhole priority 9',
                                   'rule delete blackhole priority 9'])
        self._settle()
        self._pristine = self.dump()

    # -- a whole trial -----------------------------------------------------

    def run(self, lines, moved):
        """Set the guest up, move some of its ports and move them back.

        :param moved: the numbers of the ports, from 0
        :raises Different: it was not moved as it should have been
        """
        refused = self.put(lines)
        self._settle()
        asked = self._questions(lines)
        before, answers = self.dump(), self._ask(asked, {})
        ports = [self.ports[number] for number in moved]
        for port in ports:
            self.attach_standby('alpha', port)
        report = self.ask(self.intent('standby', ports))
        wrong = []
        if report['state'] == 'done':
            wrong += self._be_away(moved, report, asked, answers)
            self._return(moved, ports)
        else:
            for port in ports:
                self.detach_standby('alpha', port)
        self._settle()
        wrong += differences('afterwards', before, self.dump())
        wrong += _changed_ways('afterwards', asked, answers,
                               self._ask(asked, {}))
        if report['state'] not in ('done', 'refused'):
            wrong.append(f'{report["state"]}: {report["message"]}')
        if wrong:
            raise Different('\n'.join(
                [f'the kernel did not take {line}' for line in refused]
                + wrong))
        return Outcome(refused, report['state'], report['message'])

    def _be_away(self, moved, report, asked, answers):
        standbys = {port['primary']: port['standby']
                    for port in report['ports']}
        wrong = _changed_ways('on the standby', asked, answers,
                              self._ask(asked, standbys))
        for number in moved:
            self.detach_vf('alpha', self.ports[number], self.numbers[number])
        return wrong or _changed_ways(
            'without the VF', asked, answers, self._ask(asked, standbys))

    def _return(self, moved, ports):
        for number in moved:
            self.numbers[number] = self._another(number)
        self.come_back('alpha', {
            port: self.numbers[number]
            for number, port in zip(moved, ports)})

    def _another(self, number):
        return (self.numbers[number] + self.PORTS - 1) % (
            2 * self.PORTS) + 1

    def ask(self, intent, command='apply', wait=30):
        return self.agent.ask({'command': command, 'wait': wait,
                               'intent': json.dumps(intent)})

    def come_back(self, host, numbers):
        intent = self.intent('primary', list(numbers))
        armed = self.ask(intent, wait=0)
        if armed['state'] != 'armed':
            raise AssertionError(armed)
        for port, number in numbers.items():
            self.attach_vf(host, port, number)
        self.done(intent)
        for port in numbers:
            self.detach_standby(host, port)

    def attach_vf(self, host, port, number):
        # In a machine a VF brings nothing of what a guest has set.
        there = self.net.hosts[host]
        name = there.nic.vfs[self._vf(host, port, number).vf]
        subprocess.run(
            ['ip', '-n', there.namespace.name, 'link', 'set', name,
             *_NEW.split(), 'alias', ''], check=True)
        super().attach_vf(host, port, number)

    # -- setting up and back --------------------------------------------------

    def put(self, lines):
        """Set the guest up.

        :returns: the lines that the kernel did not take
        """
        refused = []
        batch, its = [], None
        for line in [*lines, 'end']:
            program, _, rest = line.partition(' ')
            family, _, words = rest.partition(' ')
            key = (program, family) if family in ('-4', '-6') else (
                program, '')
            words = words if key[1] else rest
            if key != its or _is_alone(words) or _is_alone(batch[-1][1]):
                refused += self._put(its, batch)
                batch, its = [], key
            batch.append((line, words))
        return refused

    def _put(self, key, batch):
        if key is None:
            return []
        program, family = key
        if program == 'sysctl':
            return [line for line, words in batch
                    if not self._write_sysctl(words)]
        numbers = self._batch([program] + [family] * bool(family),
                              [words for _, words in batch])[1]
        return [batch[number - 1][0] for number in numbers]

    def _write_sysctl(self, words):
        path, value = words.split('=')
        where, name = path.split(':')

        def write():
            with open(os.path.join(_SYSCTLS, where, name), 'w') as target:
                target.write(value)
            return True

        try:
            return self.guest.inside(write)
        except OSError:
            return False

    def _batch(self, argv, lines):
        """What it prints, and the numbers of the lines that have failed.

        :raises AssertionError: it gave up
        """
        argv = [argv[0], '-n', self.guest.name, *argv[1:]]
        done = subprocess.run([*argv, '-force', '-batch', '-'],
                              input='\n'.join(lines) + '\n', text=True,
                              capture_output=True)
        numbers = [int(found) for found in _FAILED.findall(done.stderr)]
        if done.returncode and not numbers and len(lines) == 1:
            numbers = [1]
        if done.returncode and not numbers:
            raise AssertionError((argv, lines, done.stderr))
        return done.stdout, numbers

    def set_back(self):
        """As it was before anything was set up.

        :raises Different: it is not
        """
        for port, number in zip(self.ports, self.numbers):
            self.detach_vf('alpha', port, number)
        for family, usual in (('-4', ('main priority 32766',
                                      'default priority 32767')),
                              ('-6', ('main priority 32766',))):
            priorities = re.findall(r'^(\d+):', self._batch(
                ['ip', family], ['rule'])[0], re.MULTILINE)
            self._batch(['ip', family], [
                *(f'rule delete priority {priority}'
                  for priority in priorities if priority != '0'),
                *(f'rule add lookup {table} protocol kernel'
                  for table in usual), 'route flush table all'])
        # It makes the routes of the loopback NIC again.
        self._batch(['ip'], ['nexthop flush', 'link set lo down',
                             'link set lo up'])
        self.numbers = list(range(1, self.PORTS + 1))
        for port, number in zip(self.ports, self.numbers):
            self.attach_vf('alpha', port, number)
            name = self.NAMES[number - 1]
            self.net.boot_port(port, name, number == 1)
        self._settle()
        self.reach()
        different = differences('set back', self._pristine, self.dump())
        if different:
            raise Different('\n'.join(different))

    # -- looking ------------------------------------------------------------

    def dump(self):
        """All that the guest's owner could see of its network."""
        # The index of a NIC is another one afterwards, so that the order of
        # NICs is not looked at, but for each NIC the order of what it has.
        names = self.NAMES[:self.PORTS]
        shown = {}
        texts = self._batch(['ip', '-details', '-oneline'], [
            f'{what} show dev {name}' for name in names
            for what in ('link', 'address')])[0]
        shown['NICs'] = _lines(texts)
        for state in ('nud permanent', 'nud noarp', 'proxy'):
            shown[f'neighbours {state}'] = sorted(
                line for line in _lines(self._batch(
                    ['ip', '-details'], [f'neighbour show {state}'])[0])
                # The kernel's own, for groups; and for whoever was sent to
                # over a NIC without ARP, which then have its MAC.
                if ' 33:33:' not in line and ' 01:00:5e' not in line
                and not any(f'{port.mac} NOARP' in line
                            for port in self.ports))
        shown['nexthops'] = _lines(self._batch(
            ['ip', '-details'], ['nexthop'])[0])
        for family in ('-4', '-6'):
            # Those of IPv6 come in the order of tries; see settings._apart.
            routes = (list if family == '-4' else sorted)(_lines(self._batch(
                ['ip', family, '-details'], ['route show table all'])[0]))
            shown[f'routes {family}'] = routes
            shown[f'rules {family}'] = _lines(self._batch(
                ['ip', family, '-details'], ['rule'])[0])
        shown['qdiscs'] = sorted(line for line in _lines(self._batch(
            ['tc'], [f'qdisc show dev {name}' for name in names])[0]))
        shown['sysctls'] = self.guest.inside(lambda: [
            f'{name} {value}' for nic in names
            for name, value in _sysctls(nic)])
        return time.monotonic(), shown

    def _settle(self):
        """Until the kernel takes in what is sent to each address.

        :raises AssertionError: it does not
        """
        until = time.monotonic() + _SETTLING
        while True:
            addresses = set(re.findall(r'inet6 (\S+?)(?:/| )', self._batch(
                ['ip', '-oneline'], ['address show'])[0]))
            local = set(re.findall(r'^local (\S+)', self._batch(
                ['ip', '-6'], ['route show table local'])[0], re.MULTILINE))
            if addresses <= local:
                return
            if time.monotonic() > until:
                raise AssertionError(f'no way to {addresses - local}')

    def _questions(self, lines):
        named = settings.interfaces(lines)
        own = settings.interfaces(line for line in lines
                                  if line.startswith('ip address'))
        for port in self.ports:
            own |= {port.v4, port.v6}
        asked = []
        for version, nowhere in ((4, '203.0.113.9'), (6, '2001:db8:9::9')):
            outside = settings.interfaces([nowhere])
            mine = _hosts(own, version)
            every = sorted(set(mine + _hosts(named | outside, version)
                               + _inside(named, version)))
            asked += lookup.questions(
                every, every, self.NAMES[:self.PORTS], mine)
        return asked

    def _ask(self, asked, standbys):
        there = self.guest.names()
        return self._lookup.ask(asked, {
            name: self.guest.index(standbys.get(name, name))
            for name in self.NAMES[:self.PORTS]}, {
                name: self.guest.index(name)
                for name in standbys if name in there})


def _is_alone(words):
    """Whether a line ends its batch if the kernel does not take it.

    See iproute2's ip/ipneigh.c, ``ipneigh_modify``.
    """
    return words.startswith('neighbour')


def _hosts(interfaces, version):
    return sorted({its.ip for its in interfaces if its.version == version})


def _inside(interfaces, version):
    """An address within each prefix that is longer than none."""
    return [its.network.network_address + min(
        3, its.network.num_addresses - 1)
        for its in interfaces if its.version == version
        and its.network.prefixlen]


def _lines(text):
    return _PASSING.sub('', text).splitlines()


def _sysctls(nic):
    for family in ('ipv4/conf', 'ipv6/conf', 'ipv4/neigh', 'ipv6/neigh'):
        folder = os.path.join(_SYSCTLS, family, nic)
        if not os.path.isdir(folder):
            # The kernel has taken IPv6 from the NIC.
            continue
        for key in sorted(os.listdir(folder)):
            try:
                with open(os.path.join(folder, key)) as source:
                    yield f'{folder}/{key}', source.read().strip()
            except OSError:
                if key != _UNREADABLE:
                    raise


def differences(when, before, after):
    """Lines that say what is not as it was; none if all is."""
    taken, was = before
    looked, is_ = after
    found = []
    for key, lines in was.items():
        found += _differences(f'{when}, {key}', lines, is_[key],
                              looked - taken + _ROUNDING)
    return found


def _differences(what, before, after, passed):
    plain = [[_LIVES.sub(r'\1 ', line) for line in lines]
             for lines in (before, after)]
    if plain[0] != plain[1]:
        return [what, *difflib.unified_diff(*plain, 'before', 'after',
                                            lineterm='', n=0)]
    lives = [[int(life) for line in lines
              for _, life in _LIVES.findall(line)]
             for lines in (before, after)]
    return [f'{what}: {was} s have become {is_} s'
            for was, is_ in zip(*lives) if not was - passed <= is_ <= was]


def _changed_ways(when, asked, before, after):
    found = [f'{when}, {question!r}: {was} has become {is_}'
             for question, was, is_ in zip(asked, before, after)
             if was != is_]
    return found[:3] + [f'and {len(found) - 3} more'] * (len(found) > 3)
