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

"""The guest is started anew in the middle of a move.

The operating system's part is done by the test: of a boot the network is left
with nothing but its NICs, which have the names and the MACs that they are
found with, and the agent is started before they are configured.
"""

import json
from unittest import mock

import ddt

from nova_vf_failover.guest import addresses
from nova_vf_failover.guest import configurators
from nova_vf_failover.guest import naming
from nova_vf_failover.guest import networkd
from tests.guest import base
from tests.guest import in_process

# Packets a second.
_RATE = 2000


class Rebooting(base.GuestTestCase):

    def reboot(self):
        self.agent.kill()
        with open(self.agent.snapshot) as source:
            document = json.load(source)
        document['boot'] = 'before this one'
        with open(self.agent.snapshot, 'w') as target:
            json.dump(document, target)
        self.forget()
        self.agent.start()

    def forget(self):
        """What the kernel knew of the network is gone."""
        for name in self.guest.names() - {'lo'}:
            self.guest.run('ip', 'address', 'flush', 'dev', name)
            self.guest.set(name, state='down', address=self.ports[0].mac)
        for family in ('-4', '-6'):
            self.guest.run('ip', family, 'route', 'flush', 'table', 'all')
            self.guest.run('ip', family, 'rule', 'flush')
            for table, priority in (('main', '32766'), ('default', '32767')):
                self.guest.run('ip', family, 'rule', 'add', 'lookup', table,
                               'priority', priority)
        # Not made anew: it is the kernel's, of the loopback interface.
        self.guest.run('ip', 'link', 'set', 'lo', 'down')
        self.guest.run('ip', 'link', 'set', 'lo', 'up')

    def named(self, driver_of_standby):
        """The names of the standby, or of the others."""
        return [name for name in sorted(self.guest.names() - {'lo'})
                if self.is_standby(name) == driver_of_standby]

    def is_standby(self, name):
        shown, = json.loads(self.guest.run(
            'ip', '-json', '-details', 'link', 'show', name))
        return shown['linkinfo']['info_kind'] == 'tun'

    def macs(self):
        return [link['address'] for link in json.loads(self.guest.run(
            'ip', '-json', 'link')) if link['ifname'] != 'lo']

    def configure(self, name):
        """As the guest's own configuration does, which names the MAC."""
        port, = self.ports
        self.assertEqual(1, self.macs().count(port.mac))
        self.net.boot_port(port, name, True)
        self.assertReachable()


@ddt.ddt
class RebootTestCase(Rebooting):

    def return_to_vf(self, number, attach):
        port, = self.ports
        intent = self.intent('primary')
        self.ask(intent, 'apply')
        if attach:
            self.attach_vf('alpha', port, number)
        self.done(intent)
        self.assertReachable()
        self.detach_standby('alpha', port)
        self.assertReachable()

    def move_again(self):
        port, = self.ports
        before = self.configuration()
        self.attach_standby('alpha', port)
        self.done(self.intent('standby'))
        self.assertReachable()
        return before

    def test_before_the_failover(self):
        port, = self.ports
        self.ask(self.intent('primary'), 'apply')
        self.attach_standby('alpha', port)
        self.reboot()
        vf, = self.named(False)

        self.configure(vf)

        self.detach_standby('alpha', port)
        self.assertReachable()

    def test_between_the_switch_and_the_detach_of_the_vf(self):
        port, = self.ports
        self.attach_standby('alpha', port)
        self.done(self.intent('standby'))
        self.reboot()
        vf, = self.named(False)

        self.configure(vf)

        # The host takes the migration for failed, or for done.
        self.return_to_vf(1, attach=False)
        self.move_again()

    def test_on_the_standby(self):
        self.fail_over()
        self.reboot()
        standby, = self.named(True)

        self.configure(standby)

        self.return_to_vf(2, attach=True)
        self.move_again()

    @ddt.data(4, 6)
    def test_nothing_is_lost_on_the_way_back_from_it(self, version):
        port, = self.ports
        self.fail_over()
        self.reboot()
        standby, = self.named(True)
        self.configure(standby)
        intent = self.intent('primary')
        self.ask(intent, 'apply')

        session = self.net.traffic(port, version, rate=_RATE)
        self.attach_vf('alpha', port, 2)
        self.done(intent)

        for direction in session.stop():
            self.assertEqual([], direction.lost_numbers)

    def test_on_the_standby_and_its_vf_is_configured_first(self):
        port, = self.ports
        self.fail_over()
        self.reboot()
        standby, = self.named(True)
        self.configure(standby)
        intent = self.intent('primary')
        self.ask(intent, 'apply')

        with self.agent.held_up():
            self.attach_vf('alpha', port, 2)
            vf, = self.named(False)
            self.configure_beside(vf)
        self.done(intent)
        self.detach_standby('alpha', port)

        self.assertReachable()
        vf, = self.named(False)
        for own, peer in zip((port.v4, port.v6), port.peers):
            default, = json.loads(self.guest.run(
                'ip', '-json', f'-{own.version}', 'route', 'show', 'default'))
            self.assertEqual((str(peer.ip), vf), (
                default.get('gateway'), default.get('dev')), default)
        self.move_again()

    def test_on_the_standby_and_its_vf_is_named(self):
        """udev is not told to give it the name that the standby has."""
        port, = self.ports
        self.fail_over()
        self.reboot()
        standby, = self.named(True)
        # It has the VF's, whatever udev would call it.
        self.assertEqual(f'VF_FAILOVER_NAME={standby}\n',
                         self.agent.properties(standby))
        self.configure(standby)

        with self.agent.held_up():
            self.attach_vf('alpha', port, 2)
            vf, = self.named(False)
            told = self.agent.properties(vf)

        self.assertEqual(f'VF_FAILOVER_NAME={vf}\n', told)
        self.assertNotEqual(standby, vf)

    def configure_beside(self, name):
        """As systemd-networkd does, for which the two NICs are alike.

        IPv6 makes one route over both NICs of two with one metric.
        """
        port, = self.ports
        self.guest.set(name, state='up')
        for own, peer in zip((port.v4, port.v6), port.peers):
            self.guest.run('ip', 'address', 'add', str(own), 'dev', name,
                           *['nodad'] * (own.version == 6))
            self.guest.run('ip', f'-{own.version}', 'route', 'append',
                           'default', 'via', str(peer.ip), 'dev', name)

    def test_between_the_attach_of_the_vf_and_the_switch(self):
        port, = self.ports
        self.fail_over()
        self.agent.kill()
        self.attach_vf('alpha', port, 2)
        self.agent.start()
        self.reboot()
        vf, = self.named(False)

        self.configure(vf)

        self.return_to_vf(2, attach=False)
        self.move_again()

    def test_on_the_standby_and_its_vf_carries_nothing(self):
        port, = self.ports
        self.reset_on_the_standby()

        self.fail_to_return('0000:81:00.2', 2)

        self.assertStaysReachable()
        self.detach_vf('alpha', port, 2)
        self.assertStaysReachable()
        self.return_to_vf(3, attach=True)
        self.move_again()

    def test_then_an_address_is_added_before_the_next_try(self):
        port, = self.ports
        self.reset_on_the_standby()
        self.fail_to_return('0000:81:00.2', 2)
        self.detach_vf('alpha', port, 2)
        standby, = self.named(True)
        self.guest.run('ip', 'address', 'add', '10.1.0.5/24', 'dev', standby)

        self.return_to_vf(3, attach=True)

        vf, = self.named(False)
        self.assertIn('10.1.0.5/24', self.guest.run(
            'ip', 'address', 'show', 'dev', vf))

    def test_then_the_agent_is_killed(self):
        self.reset_on_the_standby()
        self.fail_to_return('0000:81:00.2', 2)

        self.agent.kill()
        self.agent.start()

        self.assertStaysReachable()

    def test_then_the_next_move_finds_no_vf_to_leave(self):
        self.reset_on_the_standby()
        self.fail_to_return('0000:81:00.2', 2)

        report = self.ask(self.intent('standby'))

        self.assertEqual('failed', report['state'])
        self.assertStaysReachable()

    def test_while_the_vf_is_awaited(self):
        port, = self.ports
        self.fail_over()
        intent = self.intent('primary')
        self.ask(intent, 'apply')
        self.reboot()
        standby, = self.named(True)
        self.configure(standby)
        self.assertEqual('armed', self.ask(intent, 'apply')['state'])

        self.attach_vf('alpha', port, 2)

        self.done(intent)
        self.assertReachable()
        self.detach_standby('alpha', port)
        self.assertReachable()
        self.move_again()

    def reset_on_the_standby(self):
        self.fail_over()
        self.reboot()
        standby, = self.named(True)
        self.configure(standby)

    def fail_to_return(self, address, number):
        """A VF comes that the NIC delivers nothing to."""
        port, = self.ports
        intent = self.intent('primary')
        self.ask(intent, 'apply')
        self.net.hosts['alpha'].nic.ignore(address)
        self.attach_vf('alpha', port, number)
        self.assertEqual('failed', self.ask(intent)['state'])

    def assertStaysReachable(self):
        """Also after the agent has looked at its NICs once more."""
        standby, = self.named(True)
        for mtu in (1400, 1500):
            self.guest.set(standby, mtu=mtu)
            place, = self.agent.command('status')[1]['places']
            self.assertReachable()
        self.assertEqual('standby', place['on'])


@ddt.ddt
class OwedNameTestCase(in_process.InProcess):
    """Linux before 6.2 has left a VF with another name than its own."""

    def test_its_leases_last_for_nobody_renews_them(self):
        port, = self.ports
        self.attach_standby('alpha', port)
        self.run_mover('standby')
        self.detach_vf('alpha', port, 1)
        self.attach_vf('alpha', port, 2)
        named = []

        def lease(_, nic, later):
            """As the address had been leased; the name cannot be given."""
            self.kept.owed.add(nic.mac)
            named.append(nic.name)
            self.guest.run('ip', 'address', 'change', str(port.v4), 'dev',
                           nic.name, 'valid_lft', '600', 'preferred_lft',
                           '300')
            return nic.name

        with mock.patch.object(naming.Names, 'take', lease):
            self.run_mover('primary')

        shown, = json.loads(self.guest.run(
            'ip', '-json', '-4', 'address', 'show', 'to', str(port.v4.ip),
            'dev', named[0]))
        # Seconds: an address that lasts has all that there are.
        self.assertEqual([0xffffffff] * 2, [
            shown['addr_info'][0][key]
            for key in ('valid_life_time', 'preferred_life_time')])
        self.assertReachable()

    def test_leases_that_end_fail_no_move(self):
        port, = self.ports
        self.attach_standby('alpha', port)
        self.run_mover('standby')

        def owe(_, nic, later):
            self.kept.owed.add(nic.mac)
            return nic.name

        with mock.patch.object(naming.Names, 'take', owe), (
                mock.patch.object(addresses, 'lasting', autospec=True,
                                  side_effect=OSError('no buffer space'))):
            self.run_mover('primary')

        self.assertEqual(set(), self.kept.away)
        self.assertReachable()

    @ddt.data(True, False)
    def test_networkd_that_goes_by_the_name_sees_it_later(self, by_name):
        """It would configure anew what is in use."""
        port, = self.ports
        self.attach_standby('alpha', port)
        self.run_mover('standby')
        self.detach_vf('alpha', port, 1)
        self.attach_vf('alpha', port, 2)
        standby = self.mover._nics.standby(port.mac)

        def configured(nic):
            return not by_name or nic.index == standby.index

        with mock.patch.object(configurators, 'configured', configured), (
                mock.patch.object(networkd, 'let_go',
                                  autospec=True)) as gone, (
                mock.patch.object(naming.Names, 'take', autospec=True,
                                  return_value='eth0')) as take:
            self.run_mover('primary')

        self.assertEqual(by_name, take.call_args.args[-1])
        self.assertEqual(standby.index, gone.call_args.args[0].index)

    def test_it_gets_it_with_the_next_move(self):
        port, = self.ports
        self.kept.names[port.mac] = 'lan0'
        self.kept.owed.add(port.mac)

        self.attach_standby('alpha', port)
        self.run_mover('standby')
        self.detach_vf('alpha', port, 1)
        # What a guest that is started anew here gives the standby.
        self.assertEqual({port.mac: 'lan0'}, self.kept.names)
        self.attach_vf('alpha', port, 2)
        self.run_mover('primary')

        self.assertIn('lan0', self.guest.names())
        self.assertEqual(set(), self.kept.owed)
        self.assertReachable()
