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

"""Rules of nftables, as a kernel prints them for what nft(8) makes."""

import struct
from unittest import mock

import ddt
import fixtures
from oslotest import base

from nova_vf_failover.guest import firewall
from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import nftchains
from nova_vf_failover.guest import sysctl
from nova_vf_failover.guest import xtables

CHAINS, RULES, ELEMENTS = 10 << 8 | 4, 10 << 8 | 7, 10 << 8 | 13
IIF, IIFNAME, OIFNAME = 4, 6, 7
ACCEPT = netlink.attribute(2, netlink.attribute(2, netlink.attribute(
    1, struct.pack('!i', 1))))


def number(kind, value):
    return netlink.attribute(kind, struct.pack('!I', value))


def expression(name, *data):
    return netlink.attribute(1, netlink.textual(1, name)
                             + netlink.attribute(2, b''.join(data)))


def load(key, register=1):
    return expression('meta', number(1, register), number(2, key))


def compared(value, how=0):
    return expression('cmp', number(1, 1), number(2, how),
                      netlink.attribute(3, netlink.attribute(1, value)))


def looked_up(register=1, *more):
    return expression('lookup', netlink.textual(1, 'set'),
                      number(2, register), *more)


def name(text):
    return text.encode().ljust(16, b'\0')


def port(value):
    """What a packet is sent to, in a register."""
    return expression('payload', number(1, value))


def element(key, value=b'', flags=0):
    made = netlink.attribute(1, netlink.attribute(1, key))
    if flags:
        made += number(3, flags)
    return netlink.attribute(1, made + (
        netlink.attribute(2, value) if value else b''))


END = expression('immediate', number(1, 0), ACCEPT)
INPUT, FORWARD = 1, 2


def chain(name, hook=None, policy=None, family=1):
    """As the kernel tells of one; its own hook is that of a base chain."""
    return bytes([family, 0, 0, 0]) + netlink.textual(
        1, 'filter') + netlink.textual(3, name) + (
            b'' if hook is None else netlink.attribute(4, number(1, hook))) + (
            b'' if policy is None else number(5, policy))


@ddt.ddt
class NftablesTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.bodies = {}
        self.useFixture(fixtures.MockPatchObject(
            netlink, 'asked', autospec=True,
            side_effect=lambda _, kind, __: self.bodies[kind]))
        self.useFixture(fixtures.MockPatchObject(
            xtables, '_tables', autospec=True, return_value=[]))

    def found(self, *rules, elements=(), standby=None, **more):
        """What is in the way of eth0, and what is warned of.

        :param rules: their expressions
        :param more: of the chain that they are in
        """
        self.bodies = {
            CHAINS: [chain('input', INPUT, **more)],
            RULES: [self.rule('input', rule) for rule in rules],
            ELEMENTS: [b'\1\0\0\0' + netlink.attribute(
                3, b''.join(elements))]}
        filters = firewall.Firewall()
        nic = self.nic('eth0', 3)
        other = self.nic(standby, 4) if standby else None
        return (len(filters.obstacles(nic, other)),
                len(filters.warnings(nic, other)))

    def rule(self, its, expressions):
        return b'\1\0\0\0' + netlink.textual(1, 'filter') + (
            netlink.textual(2, its)
            + netlink.attribute(4, b''.join(expressions)))

    def nic(self, text, index):
        made = mock.Mock(spec=links.Nic, index=index)
        made.name = text
        return made

    @ddt.named_data(
        ['it', 'eth0', 0, (1, 0)], ['not_it', 'eth0', 1, (1, 0)],
        ['another', 'lo', 0, (0, 0)], ['not_another', 'lo', 1, (0, 0)])
    def test_a_name(self, wanted, how, expected):
        self.assertEqual(expected, self.found(
            [load(IIFNAME), compared(name(wanted), how), END]))

    @ddt.named_data(['it', 3, (1, 0)], ['another', 1, (0, 0)])
    def test_an_index(self, wanted, expected):
        self.assertEqual(expected, self.found(
            [load(IIF), compared(struct.pack('=I', wanted)), END]))

    def test_what_is_no_name(self):
        """A register is used again for something else."""
        self.assertEqual((0, 0), self.found(
            [load(IIFNAME), compared(name('lo')), port(1),
             compared(b'et'), END]))

    @ddt.named_data(
        ['unknown', None, (0, 1)], ['fits', 'eth1', (0, 0)],
        ['does_not', 'ens4', (1, 0)])
    def test_a_beginning(self, standby, expected):
        self.assertEqual(expected, self.found(
            [load(IIFNAME), compared(b'eth'), END], standby=standby))

    @ddt.named_data(
        ['it', ('lo', 'eth0'), (1, 0)], ['others', ('lo', 'eth7'), (0, 0)],
        ['both', ('eth0', 'eth1'), (0, 0)])
    def test_a_set(self, names, expected):
        for flags in (), (number(5, 1),):
            self.assertEqual(expected, self.found(
                [load(IIFNAME), looked_up(1, *flags), END],
                elements=[element(name(its)) for its in names],
                standby='eth1'))

    @ddt.named_data(
        ['unknown', None, (0, 1)], ['fits', 'eth1', (0, 0)],
        ['does_not', 'ens4', (1, 0)])
    def test_a_set_with_a_beginning(self, standby, expected):
        self.assertEqual(expected, self.found(
            [load(IIFNAME), looked_up(), END], standby=standby, elements=[
                element(name(''), flags=1), element(name('eth')),
                element(name('eti'), flags=1), element(name('lo')),
                element(b'lo'.ljust(15, b'\0') + b'\1', flags=1)]))

    def test_a_set_with_another_beginning(self):
        self.assertEqual((1, 0), self.found(
            [load(IIFNAME), looked_up(), END], elements=[
                element(name(''), flags=1), element(name('eth0')),
                element(b'eth0'.ljust(15, b'\0') + b'\1', flags=1),
                element(name('vir')), element(name('vis'), flags=1)]))

    @ddt.named_data(['alike', ACCEPT, (0, 0)], ['otherwise', b'\1', (1, 0)])
    def test_a_map(self, verdict, expected):
        self.assertEqual(expected, self.found(
            [load(IIFNAME), looked_up(1, number(3, 0))], standby='eth1',
            elements=[element(name('eth0'), ACCEPT),
                      element(name('eth1'), verdict)]))

    @ddt.named_data(['it', 'eth0', (1, 0)], ['another', 'eth7', (0, 0)])
    def test_a_set_of_ports_and_names(self, wanted, expected):
        key = b'\0\x16\0\0' + name(wanted)
        self.assertEqual(expected, self.found(
            [port(1), load(IIFNAME, 9), looked_up(), END],
            elements=[element(key)]))

    def test_what_only_counts(self):
        self.assertEqual((0, 0), self.found(
            [load(IIFNAME), compared(name('eth0')), expression('counter'),
             expression('log')]))

    def test_what_sets_something(self):
        self.assertEqual((1, 0), self.found(
            [load(IIFNAME), compared(name('eth0')),
             expression('meta', number(2, 3), number(3, 1))]))

    @ddt.named_data(
        ['everything', [], (0, 1)],
        ['over_it', [load(OIFNAME), compared(name('lo'), 1)], (0, 1)],
        ['over_another', [load(OIFNAME), compared(name('tun0'))], (0, 0)],
        ['from_another', [load(IIFNAME), compared(name('br0'))], (0, 1)])
    def test_masquerading(self, asked, expected):
        self.assertEqual(expected, self.found(asked + [expression('masq')]))

    def test_the_same_behind_it(self):
        other = expression('immediate', number(1, 0), b'other')
        rule = [load(IIFNAME), compared(name('eth0')), END]
        another = [load(IIFNAME), compared(name('lo')), other]
        self.assertEqual((0, 0), self.found(rule, another, [END]))
        self.assertEqual((1, 0), self.found(rule, [other], [END]))
        self.assertEqual((1, 0), self.found(
            rule, [load(IIFNAME), compared(name('lo'), 1), other], [END]))

    @ddt.named_data(['the_same', 1, (0, 0)], ['another', 0, (1, 0)],
                    ['none', None, (1, 0)])
    def test_the_policy_behind_it(self, policy, expected):
        rule = [load(IIFNAME), compared(name('eth0')), END]
        self.assertEqual(expected, self.found(rule, policy=policy))

    def test_all_chains_in_one_sentence(self):
        rules = {'one': [load(IIFNAME), compared(name('eth0')), END],
                 'two': [load(OIFNAME), compared(name('eth0')), END]}
        self.bodies = {
            CHAINS: [chain(its, INPUT) for its in rules],
            RULES: [self.rule(*its) for its in rules.items()]}

        sentence, = firewall.Firewall().obstacles(self.nic('eth0', 3), None)

        for its in rules:
            self.assertIn(f'chain {its} of the nftables table inet filter',
                          sentence)


@ddt.ddt
class WaysTestCase(base.BaseTestCase):
    """Which chains packets come to."""

    def ways(self, chains, rules, forwards=False):
        """:param rules: their expressions, by the names of their chains"""
        self.useFixture(fixtures.MockPatchObject(
            netlink, 'asked', autospec=True, return_value=chains))
        self.useFixture(fixtures.MockPatchObject(
            sysctl, 'forwards', autospec=True, return_value=forwards))
        return nftchains.Ways({
            self.key(its): [b''.join(rule)] for its, rule in rules.items()})

    def key(self, its, family=1):
        return nftchains.Chain(family, 'filter', its)

    def jump(self, target):
        return expression('immediate', number(1, 0), netlink.attribute(
            2, netlink.attribute(2, number(1, 2 ** 32 - 3)
                                 + netlink.textual(2, target))))

    def test_a_chain_that_nobody_jumps_to(self):
        ways = self.ways([chain('input', INPUT), chain('zone')],
                         {'input': [self.jump('zones')], 'zone': [END]})

        self.assertTrue(ways.lead_to(self.key('input')))
        self.assertFalse(ways.lead_to(self.key('zone')))

    def test_chains_that_jump_to_each_other_only(self):
        ways = self.ways([chain('input', INPUT)],
                         {'one': [self.jump('two')],
                          'two': [self.jump('one')]})

        self.assertFalse(ways.lead_to(self.key('one')))

    @ddt.data(True, False)
    def test_what_is_forwarded(self, forwards):
        ways = self.ways(
            [chain('forward', FORWARD), chain('input', INPUT)],
            {'forward': [self.jump('zones')], 'zones': [self.jump('zone')],
             'zone': [END]}, forwards)

        self.assertEqual(forwards, ways.lead_to(self.key('zone')))
        self.assertEqual(forwards, ways.lead_to(self.key('forward')))

    def test_what_is_forwarded_and_let_in(self):
        ways = self.ways(
            [chain('forward', FORWARD), chain('input', INPUT)],
            {'forward': [self.jump('zone')], 'input': [self.jump('zone')],
             'zone': [END]})

        self.assertTrue(ways.lead_to(self.key('zone')))

    def test_bridges_ask_nobody_whether_to_forward(self):
        ways = self.ways([chain('forward', FORWARD, family=7)], {})

        self.assertTrue(ways.lead_to(self.key('forward', family=7)))

    def test_a_map_may_lead_anywhere(self):
        ways = self.ways([chain('input', INPUT)], {
            'input': [load(IIFNAME), looked_up(1, number(3, 0))],
            'zone': [END]})

        self.assertTrue(ways.lead_to(self.key('zone')))

    def test_each_chain_is_looked_at_once(self):
        """As of a guest with thousands of services (kube-proxy)."""
        rules = {f'service{its}': [looked_up(1, number(3, 0))]
                 for its in range(50)}
        rules['telling'] = [END]
        with mock.patch.object(nftchains, '_goes_by_map', autospec=True,
                               side_effect=nftchains._goes_by_map) as asked:
            ways = self.ways([chain('input', INPUT)],
                             {'input': [self.jump('service7')], **rules})

        self.assertTrue(ways.lead_to(self.key('telling')))
        self.assertLessEqual(asked.call_count, len(rules) + 1)

    def test_a_map_to_something_else(self):
        """The beginning of a header looks the same as where a verdict goes.
        """
        ways = self.ways([chain('input', INPUT)], {
            'input': [expression('payload', number(1, 1), number(3, 0)),
                      looked_up(1, number(3, 1)), looked_up(1)],
            'zone': [END]})

        self.assertFalse(ways.lead_to(self.key('zone')))


class UnreadableTestCase(base.BaseTestCase):

    def test_a_table_that_is_not_handed_out(self):
        self.useFixture(fixtures.MockPatchObject(
            xtables, '_tables', autospec=True, return_value=['no such']))

        found = xtables.unreadable()

        self.assertEqual(2, len(found))
        self.assertIn('ip_tables table no such cannot be read', found[0])
        self.assertEqual([], list(xtables.chains()))
