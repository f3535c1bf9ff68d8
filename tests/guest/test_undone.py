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

"""Something goes wrong in the middle of a failover, and nothing is lost."""

import errno
from unittest import mock

from nova_vf_failover.guest import dressing
from nova_vf_failover.guest import failover
from nova_vf_failover.guest import links
from nova_vf_failover.guest import overlap
from nova_vf_failover.guest import rules
from nova_vf_failover.guest import switch
from nova_vf_failover.guest import sysctl
from nova_vf_failover.guest import wire
from tests.guest import in_process


class UndoneTestCase(in_process.InProcess):

    def setUp(self):
        super().setUp()
        self.before = self.configuration()
        for port in self.ports:
            self.attach_standby('alpha', port)

    def fail(self):
        self.assertRaises(overlap.Failed, self.run_mover, 'standby')

    def spoken(self, act):
        """Something happens before the standby of the last port speaks."""
        mouth, opened = wire.Mouth, []

        def open_mouth(nic):
            opened.append(nic)
            if len(opened) == len(self.ports):
                act(nic)
            return mouth(nic)

        return mock.patch.object(wire, 'Mouth', autospec=True,
                                 side_effect=open_mouth)

    def rename(self, nic):
        """As udev does, late."""
        self.guest.run('ip', 'link', 'set', nic.name, 'name', 'late0')

    def detach(self, _):
        self.detach_standby('alpha', self.ports[-1])

    def assertAsBefore(self):
        self.assertReachable()
        self.assertEqual(set(), self.kept.away)
        self.assertEqual(self.before, self.configuration())


class OnePortTestCase(UndoneTestCase):

    def test_the_standby_is_renamed(self):
        with self.spoken(self.rename):
            self.fail()

        self.assertAsBefore()

    def test_the_vf_that_has_come_cannot_be_used(self):
        port, = self.ports
        self.run_mover('standby')
        self.detach_vf('alpha', port, 1)
        self.attach_vf('alpha', port, 2)

        with mock.patch.object(dressing, 'put_routes', autospec=True,
                               side_effect=OSError(errno.ENOMEM, 'full')):
            failure = self.assertRaises(overlap.Failed, self.run_mover,
                                        'primary')

        self.assertIn('full', str(failure))
        self.assertEqual({port.mac}, self.kept.away)
        self.assertReachable()


class TwoPortsTestCase(UndoneTestCase):

    PORTS = 2

    def test_the_standby_of_one_is_renamed(self):
        with self.spoken(self.rename):
            self.fail()

        self.assertAsBefore()

    def test_the_standby_of_one_goes(self):
        with self.spoken(self.detach):
            self.fail()

        self.assertAsBefore()

    def test_one_primary_cannot_be_set_down(self):
        set_, refused = links.Links.set, self.guest.index('eth1')

        def refuse(nics, nic, **changes):
            if nic.index == refused and changes == {'up': False}:
                raise OSError(errno.EBUSY, 'busy')
            set_(nics, nic, **changes)

        with mock.patch.object(links.Links, 'set', refuse):
            report = self.run_mover('standby')

        self.assertEqual([False, True], [
            report.ports[port.mac]['overlap'] for port in self.ports])
        self.assertReachable()
        self.assertEqual({port.mac for port in self.ports}, self.kept.away)

    def busy(self, *calls):
        """The kernel cannot tell of all rules in these calls of many."""
        throw, thrown = switch.Switch.throw, []

        def maybe_throw(*arguments):
            thrown.append(arguments)
            if len(thrown) in calls:
                raise OSError(errno.EBUSY, 'busy')
            throw(*arguments)

        return mock.patch.object(switch.Switch, 'throw', maybe_throw)

    def test_the_twins_do_not_go_at_once(self):
        with self.spoken(self.rename), self.busy(2):
            self.fail()

        self.assertAsBefore()

    def test_the_twins_stay_beside_those_of_a_port_that_is_away(self):
        first, second = self.ports
        self.run_mover('standby', [first])

        with mock.patch.object(
                overlap.Overlap, 'speak_on_standby', autospec=True,
                side_effect=OSError('gone')), self.busy(2, 3):
            self.assertRaises(overlap.Failed, self.run_mover, 'standby',
                              [second])

        self.assertEqual({first.mac}, self.kept.away)
        self.assertTrue(self.mover.upkeep.wanted)
        standby = self.guest.inside(
            lambda: self.mover._nics.standby(second.mac))
        self.assertFalse(standby.up)
        self.guest.inside(self.mover.upkeep.look)
        self.assertNotIn(standby.name, self.guest.run('ip', 'rule'))
        self.assertReachable()


class KilledTestCase(UndoneTestCase):
    """The agent has no time to undo anything, and another one is started."""

    PORTS = 2

    def killed_at(self, where, what, ports=None):
        with mock.patch.object(
                failover.Failover, '_undress_standbys', autospec=True), (
                mock.patch.object(where, what, autospec=True,
                                  side_effect=OSError('killed'))):
            self.assertRaises(overlap.Failed, self.run_mover, 'standby',
                              ports)
        self.start_anew()
        self.guest.inside(self.mover.rejoin)

    def test_before_a_standby_is_shown(self):
        self.killed_at(overlap.Overlap, 'prove_standby')

        self.assertFalse(self.mover.upkeep.wanted)
        self.assertAsBefore()

    def test_before_the_switch(self):
        self.killed_at(switch.Switch, 'throw')

        self.assertFalse(self.mover.upkeep.wanted)
        self.assertAsBefore()

    def test_while_gateways_are_looked_up(self):
        self.killed_at(rules, 'undone')

        self.assertAsBefore()

    def test_while_gateways_of_the_owner_are_looked_up(self):
        """The rules, and the ways beside the owner's routes."""
        for family, gateway in ('-4', '192.168.1.1'), ('-6', 'fd00:1::1'):
            self.guest.run('ip', family, 'rule', 'add', 'oif', 'eth0',
                           'lookup', str(0x7666ff), 'priority', '0')
            for table in '254', str(0x7666ff):
                self.guest.run(
                    'ip', family, 'route', 'add', gateway, 'dev', 'eth0',
                    'table', table, 'proto', '117', 'metric', '1')

        self.start_anew()

        self.assertAsBefore()

    def test_while_the_second_set_is_in_use(self):
        self.run_mover('standby')
        for number, port in enumerate(self.ports, 1):
            self.detach_vf('alpha', port, number)
        self.mover.upkeep.want()
        while self.guest.inside(self.mover.upkeep.look):
            pass
        self.assertIn(f'lookup {0x766700}', self.guest.run('ip', 'rule'))
        # By an agent whose rules had the protocol of the first set.
        self.guest.run('ip', 'rule', 'add', 'oif', 'eth7', 'lookup',
                       str(0x7666ff), 'priority', '0', 'protocol', '118')
        self.start_anew()

        self.guest.inside(lambda: self.mover.upkeep._switch.prepare(
            self.mover.upkeep._standbys.all_away()))

        self.assertReachable()

    def test_beside_a_port_that_is_away(self):
        first, second = self.ports
        self.run_mover('standby', [first])

        self.killed_at(overlap.Overlap, 'prove_standby', [second])

        self.assertEqual({first.mac}, self.kept.away)
        self.assertTrue(self.mover.upkeep.wanted)
        self.guest.inside(self.mover.upkeep.look)
        self.assertReachable()

    def test_a_standby_speaks_that_has_its_mac(self):
        """It is taken for one in use, for the other one is."""
        first, second = self.ports
        self.run_mover('standby', [first])
        self.guest.run('sysctl', '-qw', 'net.ipv4.conf.eth1.arp_ignore=1')

        self.killed_at(switch.Switch, 'throw', [second])

        self.assertEqual({port.mac for port in self.ports}, self.kept.away)
        self.assertEqual('1', self.setting(second, sysctl.ARP_IGNORE))
        self.guest.inside(self.mover.upkeep.look)
        self.assertReachable()

    def setting(self, port, name):
        """As the standby of a port has it."""
        return self.guest.inside(lambda: sysctl.snapshot(
            self.mover._nics.standby(port.mac).name)[name])

    def test_after_the_switch(self):
        self.killed_at(overlap.Overlap, 'speak_on_standby')

        self.assertEqual({port.mac for port in self.ports}, self.kept.away)
        self.assertTrue(self.mover.upkeep.wanted)
        for port in self.ports:
            self.assertEqual('0', self.setting(port, sysctl.ARP_IGNORE))
        self.assertReachable()
