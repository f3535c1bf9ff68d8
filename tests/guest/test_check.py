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

"""What the agent tells of a guest before, during and after a move."""

import ctypes
import functools
import json
import os
import platform
import socket
import stat
import struct

import ddt

from nova_vf_failover.guest import netlink
from tests.guest import base
from tests import schemas


class ReportTestCase(base.GuestTestCase):
    """Each report is as the schema of the documentation says."""

    def command(self, *arguments, given=''):
        code, report = self.agent.command(*arguments, given=given)
        schemas.validator('report').validate(report)
        return code, report

    def ask(self, intent, *arguments):
        report = super().ask(intent, *arguments)
        schemas.validator('report').validate(report)
        return report

    def place(self):
        found, = self.command('status')[1]['places']
        return found

    def test_status_through_a_move(self):
        port, = self.ports
        code, before = self.command('status')
        self.assertEqual((0, 'none', [], ['commands']), (
            code, before['state'], before['places'], before['channels']))
        self.assertEqual('refused', self.ask(
            self.intent('standby', timeout=0.1))['state'])

        self.fail_over()

        away = self.place()
        self.assertEqual((port.mac, 'standby', False, None), (
            away['mac'], away['on'], away['armed'], away['primary']))
        self.carry_standby(port)
        intent = self.intent('primary')
        self.ask(intent, 'apply')
        armed = self.place()
        self.assertEqual((True, away['since']),
                         (armed['armed'], armed['since']))
        self.attach_vf('beta', port, 1)
        self.done(intent)
        back = self.place()
        self.assertEqual(('primary', False, 'eth0'), (
            back['on'], back['armed'], back['primary']))
        self.assertGreater(back['since'], away['since'])

    def test_a_failed_one(self):
        port, = self.ports
        self.attach_standby('alpha', port)
        self.net.hosts['alpha'].namespace.set('macvtap0', state='down')

        self.assertEqual('failed', self.ask(self.intent('standby'))['state'])

        self.detach_standby('alpha', port)

    def test_what_an_agent_says_that_knows_no_such_intent(self):
        for given in ('', '{', json.dumps(self.intent('standby', version=2))):
            for command in ('check', 'apply'):
                code, report = self.command(command, given=given)
                self.assertEqual((1, 'refused'), (code, report['state']))

    def test_only_root_may_ask(self):
        mode = os.stat(self.agent._socket).st_mode

        self.assertEqual(0o600, stat.S_IMODE(mode))

    def test_no_service(self):
        self.agent.kill()
        for arguments in (('status',), ('check', '--all')):
            code, report = self.command(*arguments)
            self.assertEqual((1, 'none'), (code, report['state']))


@ddt.ddt
class CheckTestCase(base.GuestTestCase):

    def check(self, *arguments):
        given = '' if arguments else json.dumps(self.intent('standby'))
        _, report = self.agent.command('check', *arguments, given=given)
        schemas.validator('report').validate(report)
        return report

    def run_all(self, *commands):
        for command in commands:
            self.guest.run(*command.split())

    def test_what_there_is_of_a_port(self):
        before, = self.check()['ports']
        self.run_all(
            'ip address add 198.51.100.7/32 dev eth0',
            'ip route add 203.0.113.0/24 dev eth0 table 77',
            'ip route add 203.0.113.0/25 dev eth0 table 77',
            'ip rule add from 198.51.100.7 lookup 77 priority 100',
            'ip neighbour add 198.51.100.8 lladdr fa:16:3e:00:01:01 '
            'dev eth0 nud permanent')
        self.join('239.1.2.3')

        after, = self.check()['ports']

        self.assertEqual(('eth0', 'veth', None), (
            after['primary'], after['driver'], after['standby']))
        self.assertEqual(2, after['routes']['tables']['77'])
        self.assertEqual(after['routes']['total'],
                         sum(after['routes']['tables'].values()))
        for key in ('rules', 'neighbours', 'groups'):
            self.assertEqual(before[key] + 1, after[key], key)
        self.assertEqual(before['addresses']['ipv4'] + 1,
                         after['addresses']['ipv4'])
        self.assertEqual([], after['warnings'] + after['obstacles'])

    def test_a_standby_that_is_there(self):
        self.attach_standby('alpha', self.ports[0])

        port, = self.check()['ports']

        self.assertEqual('eth1', port['standby'])
        self.detach_standby('alpha', self.ports[0])

    def test_all_obstacles(self):
        self.run_all('ip link add up0 link eth0 type macvlan',
                     'tc qdisc add dev eth0 ingress',
                     'ip rule add goto 32766 priority 9')

        report = self.check()

        port, = report['ports']
        self.assertEqual(3, len(port['obstacles']), port['obstacles'])
        for sentence in port['obstacles']:
            self.assertIn('eth0', sentence)
            self.assertIn(sentence, report['message'])

    def test_what_does_not_go_along(self):
        self.run_all(
            'ip link property add dev eth0 altname uplink',
            'ip xfrm policy add dir out dev eth0 src 198.51.100.0/24 '
            'dst 203.0.113.0/24 tmpl proto esp mode tunnel')
        self.join('239.1.2.4', source='192.0.2.99')

        report = self.check()

        port, = report['ports']
        self.assertEqual('ready', report['state'])
        for words in ('eth0 is called uplink too',
                      '1 IPsec policies are bound to eth0',
                      '239.1.2.4 on eth0 for single sources'):
            self.assertTrue(any(words in warning
                                for warning in port['warnings']), words)

    def test_virtual_addresses(self):
        self.join('224.0.0.18')

        warning, = self.check()['ports'][0]['warnings']

        self.assertIn('VRRP on eth0', warning)

    @ddt.data('198.51.100.7/24', '2001:db8:9::7/128')
    def test_a_lease_that_nobody_renews(self, address):
        self.run_all(f'ip address add {address} dev eth0 valid_lft 600 '
                     'preferred_lft 300')

        warning, = self.check()['ports'][0]['warnings']

        self.assertIn(f'renew {address.split("/")[0]}', warning)

    def test_an_xdp_program(self):
        if platform.machine() != 'x86_64':
            self.skipTest('the number of bpf(2) is another one')
        self.guest.inside(_attach_xdp)

        port, = self.check()['ports']

        self.assertEqual(['eth0 has an XDP program, which is not moved.'],
                         port['warnings'])

    def test_without_an_intent(self):
        self.run_all('ip link add veth7 type veth peer name veth8',
                     'ip link add br7 type bridge',
                     'ip link set veth7 master br7',
                     'ip link set veth8 master br7')
        self.attach_standby('alpha', self.ports[0])

        report = self.check('--all')

        self.assertEqual(('ready', 0, None), (
            report['state'], report['generation'], report['use']))
        port, = report['ports']
        self.assertEqual(('eth0', 'eth0', 'eth1'), (
            port['id'], port['primary'], port['standby']))
        self.detach_standby('alpha', self.ports[0])

    def test_in_words(self):
        self.run_all('ip link add up0 link eth0 type macvlan')
        text = self.agent.text('check', '--all', '--text')

        self.assertEqual('refused', text.splitlines()[0])
        self.assertIn('primary eth0 (veth), standby missing', text)
        self.assertIn('in the way: up0 (macvlan) lies on eth0.', text)
        self.assertRegex(text, r'\d+ routes \(\d+ in table 254')
        self.assertIn('hears commands', self.agent.text('status', '--text'))

    def join(self, group, source=None):
        made = self.guest.inside(functools.partial(_member, group, source))
        self.addCleanup(made.close)


def _attach_xdp():
    """Give eth0 a program that lets everything pass."""
    # r0 = XDP_PASS; exit
    program = ctypes.create_string_buffer(
        struct.pack('=BBhiBBhi', 0xb7, 0, 0, 2, 0x95, 0, 0, 0))
    license_ = ctypes.create_string_buffer(b'Apache-2.0')
    # BPF_PROG_LOAD of a BPF_PROG_TYPE_XDP with two instructions, bpf(2).
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.syscall(321, 5, ctypes.create_string_buffer(struct.pack(
        '=IIQQ', 6, 2, ctypes.addressof(program),
        ctypes.addressof(license_)), 128), 128)
    if number < 0:
        raise OSError(ctypes.get_errno(), 'bpf')
    try:
        with netlink.Netlink() as kernel:
            # RTM_NEWLINK with IFLA_XDP and in it IFLA_XDP_FD.
            kernel.ask([netlink.Message(16, 0, struct.pack(
                '=BxHiII', 0, 0, socket.if_nametoindex('eth0'), 0, 0)
                + netlink.attribute(43 | netlink.NESTED, netlink.attribute(
                    1, struct.pack('=i', number))))])
    finally:
        os.close(number)


def _member(group, source):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    index = socket.if_nametoindex('eth0')
    if source is None:
        made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                        socket.inet_aton(group) + struct.pack('=4xi', index))
    else:
        # MCAST_JOIN_SOURCE_GROUP: struct group_source_req.
        address = '=HH4s120x'
        made.setsockopt(
            socket.IPPROTO_IP, 46, struct.pack('=I4x', index) + b''.join(
                struct.pack(address, socket.AF_INET, 0,
                            socket.inet_aton(its))
                for its in (group, source)))
    return made
