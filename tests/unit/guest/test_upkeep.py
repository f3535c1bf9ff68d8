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

"""When the copies of routing tables are made anew."""

import errno
import socket
import struct
import time
from unittest import mock

import ddt
import fixtures
from oslotest import base

from nova_vf_failover.guest import changes
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import multicast
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import overlap
from nova_vf_failover.guest import snapshot
from nova_vf_failover.guest import standbys
from nova_vf_failover.guest import switch
from nova_vf_failover.guest import upkeep
from tests.unit.guest import outfits


def route(kind, index=3, table=254, protocol=4, flags=0):
    return kind, struct.pack('=BBBBBBBBI', 2, 24, 0, 0, table, protocol, 0, 1,
                             flags) + netlink.numeric(4, index)


def rule(protocol):
    return 32, struct.pack('=BBBBBxxBI', 2, 0, 0, 0, 254, 1, 0
                           ) + netlink.attribute(21, bytes([protocol]))


@ddt.ddt
class ChangesTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.told = self.useFixture(fixtures.MockPatchObject(
            netlink, 'Netlink', autospec=True)).mock.return_value
        self.told.socket = mock.Mock()
        self.changes = changes.Changes(range(0x200, 0x400), [118, 119])
        self.changes.follow([7])

    @ddt.named_data(
        ['new', route(24)], ['gone', route(25)],
        ['new_over_the_vf', route(24, 7)],
        ['local', route(24, table=255)], ['rule', rule(0)])
    def test_what_counts(self, change):
        self.told.heard.side_effect = [[change], AssertionError]

        self.changes.wait()

    @ddt.named_data(
        ['gone_with_the_vf', route(25, 7)],
        ['of_an_address', route(24, table=255, protocol=2)],
        ['own_rule', rule(118)], ['neighbour', (28, b'')])
    def test_what_does_not(self, change):
        self.told.heard.side_effect = [[change], [route(24)]]

        self.changes.wait()

        self.assertEqual(2, self.told.heard.call_count)

    def test_some_were_lost(self):
        self.told.heard.side_effect = OSError(errno.ENOBUFS, 'too many')

        self.changes.wait()

    def test_it_cannot_be_heard(self):
        self.told.heard.side_effect = OSError(errno.EBADF, 'closed')

        self.assertRaises(OSError, self.changes.wait)

    def test_it_listens_while_there_is_something(self):
        self.changes.follow([8])
        self.assertEqual(4, self.told.join.call_count)

        self.changes.stop()
        self.changes.stop()

        self.assertEqual(self.told.join.mock_calls,
                         self.told.leave.mock_calls)


class UpkeepTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.now = 1000.0
        self.useFixture(fixtures.MockPatchObject(
            upkeep, 'time', mock.Mock(
                wraps=time, monotonic=lambda: self.now)))
        self.useFixture(fixtures.FakeLogger())
        self.switch = mock.Mock(spec=switch.Switch)
        self.switch.changes = mock.Mock(spec=changes.Changes, seen=True)
        self.switch.prepare.side_effect = self.prepare
        self.takes = 0.01
        self.others = mock.Mock(spec=standbys.Standbys)
        self.upkeep = upkeep.Upkeep(self.switch, self.others)

    def prepare(self, _):
        self.now += self.takes
        self.switch.changes.seen = False
        return mock.sentinel.prepared

    def look(self, after=0.0):
        self.now += after
        return self.upkeep.look()

    def test_nothing_is_wanted(self):
        self.switch.changes.seen = False

        self.assertIsNone(self.look())

    def test_changes_are_gathered(self):
        self.assertAlmostEqual(0.1, self.look())
        self.assertAlmostEqual(0.04, self.look(0.06))
        self.switch.prepare.assert_not_called()

        self.assertIsNone(self.look(0.05))

        self.switch.throw.assert_called_once_with(mock.sentinel.prepared)

    def test_the_longer_it_takes_the_longer_is_the_pause(self):
        self.takes = 2.0
        self.look()
        self.look(0.1)
        pauses = []
        for _ in range(6):
            self.upkeep.want()
            pauses.append(round(self.look()))
            self.look(pauses[-1])

        self.assertEqual([2, 4, 8, 16, 32, 38], pauses)

    def test_after_a_quiet_time_it_is_short_again(self):
        self.test_the_longer_it_takes_the_longer_is_the_pause()

        self.now += 60
        self.upkeep.want()
        self.look()
        self.look(0.1)

        self.upkeep.want()
        self.assertEqual(2, round(self.look()))

    def test_it_fails(self):
        self.switch.throw.side_effect = OSError(errno.EBUSY, 'busy')
        self.look()

        self.assertAlmostEqual(0.1, self.look(0.1))

    def test_it_goes_on_failing(self):
        self.switch.throw.side_effect = OSError(errno.EBUSY, 'busy')
        pauses = [self.look()]
        for _ in range(12):
            pauses.append(self.look(pauses[-1]))

        self.assertAlmostEqual(0.2, pauses[2])
        self.assertAlmostEqual(0.4, pauses[3])
        self.assertEqual([60.0, 60.0], [round(its) for its in pauses[-2:]])

        # Once it has worked it is as at first.
        self.switch.throw.side_effect = None
        self.assertIsNone(self.look(60.1))
        self.now += 60
        self.upkeep.want()
        self.test_it_fails()

    def test_the_rules_leave_no_place(self):
        self.switch.prepare.side_effect = intents.Refused('no place')
        self.switch.changes.seen = True
        self.look()

        self.look(0.1)

        self.switch.throw.assert_not_called()

    def test_there_is_no_standby(self):
        """Nothing would lead over the one that comes back."""
        self.others.all_away.return_value = []
        self.others.all_gone.return_value = False
        self.switch.changes.stop.side_effect = lambda: setattr(
            self.switch.changes, 'seen', False)
        self.look()

        self.assertIsNone(self.look(0.1))

        self.switch.prepare.assert_not_called()


@ddt.ddt
class GoneTestCase(base.BaseTestCase):

    MAC = 'fa:16:3e:00:00:01'

    def setUp(self):
        super().setUp()
        self.nics = links.Links(
            mock.Mock(spec=netlink.Netlink), frozenset(['tun']))
        self.kept = mock.Mock(spec=snapshot.Snapshot, away={self.MAC})
        self.standbys = standbys.Standbys(
            mock.Mock(spec=netlink.Netlink), self.nics, self.kept,
            mock.Mock(spec=switch.Switch),
            mock.Mock(spec=multicast.Memberships),
            mock.Mock(spec=overlap.Overlap))

    def all_gone(self, *nics):
        with mock.patch.object(self.nics, 'all', autospec=True,
                               return_value=[mock.Mock(
                                   spec=links.Nic, kind='', link=None,
                                   mac=mac, driver=driver)
                                   for mac, driver in nics]):
            return self.standbys.all_gone()

    @ddt.named_data(
        ['in_use', MAC, 'tun'], ['renamed', MAC, ''],
        ['parked', links.parked(MAC), 'tun'], ['vf', MAC, 'veth'])
    def test_one_is_there(self, mac, driver):
        self.assertFalse(self.all_gone((mac, driver)))

    def test_only_others_are_there(self):
        self.assertTrue(self.all_gone(('fa:16:3e:00:00:02', 'veth')))

    def test_nothing_is_away(self):
        self.kept.away = set()

        self.assertFalse(self.all_gone())


@ddt.ddt
class AnewTestCase(base.BaseTestCase):
    """Whether the VF of a port that is away has come by another way."""

    VF = links.Nic(
        index=9, name='eth0', mac='fa:16:3e:00:00:01', up=True, carrier=True,
        mtu=1500, master=None, link=None, kind='', driver='veth', flags=0,
        txqlen=1000, group=0, alias='')
    STANDBY = VF._replace(index=7, name='eth1', driver='tun')

    def has_come(self, *there):
        nics = links.Links(mock.Mock(spec=netlink.Netlink),
                           frozenset(['tun']))
        kept = mock.Mock(spec=snapshot.Snapshot, away={self.VF.mac},
                         outfits={self.VF.mac: outfits.bare('eth0', 5)})
        with mock.patch.object(nics, 'all', autospec=True,
                               return_value=list(there)):
            return standbys.Standbys(
                mock.Mock(spec=netlink.Netlink), nics, kept,
                mock.Mock(spec=switch.Switch),
                mock.Mock(spec=multicast.Memberships),
                mock.Mock(spec=overlap.Overlap))._has_come_anew(self.VF.mac)

    def test_another_vf(self):
        self.assertTrue(self.has_come(self.VF))

    @ddt.named_data(
        ['down', VF._replace(up=False)], ['left', VF._replace(index=5)],
        ['standby_that_is_renamed', STANDBY._replace(driver='')],
        ['beside_the_standby', VF, STANDBY], ['gone'])
    def test_not(self, *there):
        self.assertFalse(self.has_come(*there))


class FollowTestCase(base.BaseTestCase):

    def test_what_was_told_before_is_skipped(self):
        """The copies that are about to be made have it."""
        listening = changes.Changes(range(7680, 7744), [])
        kernel, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(kernel.close)
        self.addCleanup(told.close)
        with mock.patch.object(listening, '_told', netlink.Netlink()) as its:
            self.addCleanup(its.socket.close)
            its.join = mock.Mock()
            its.socket.close()
            its.socket = told
            kernel.send(b'one')
            kernel.send(b'two')

            listening.follow([3])

            self.assertRaises(BlockingIOError, told.recv, 9,
                              socket.MSG_DONTWAIT)
