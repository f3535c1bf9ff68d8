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

"""What is done instead where a kernel is too old for what is done else.

Each time the body that an old kernel would get is given to this one.
"""

import errno
import os
import socket
import struct
from unittest import mock

import ddt
import fixtures
from oslotest import base

from nova_vf_failover.guest import addresses
from nova_vf_failover.guest import deliveries
from nova_vf_failover.guest import firewall
from nova_vf_failover.guest import ingress
from nova_vf_failover.guest import links
from nova_vf_failover.guest import naming
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import nexthops
from nova_vf_failover.guest import obstacles
from nova_vf_failover.guest import release
from nova_vf_failover.guest import rules
from nova_vf_failover.guest import snapshot
from nova_vf_failover.guest import switch
from nova_vf_failover.guest import udev
from tests.unit.guest import outfits

_ADDRESS_HEADER = struct.Struct('=BBBBI')
_ROUTE_HEADER = struct.Struct('=BBBBBBBBI')
_RULE_HEADER = struct.Struct('=BBBBBxxBI')


def kernel(name):
    return mock.patch('os.uname', autospec=True, return_value=(
        os.uname_result(('Linux', 'guest', name, '#1', 'x86_64'))))


@ddt.ddt
class ReleaseTestCase(base.BaseTestCase):

    @ddt.data(('3.10.0-1160.el7.x86_64', True), ('4.17.19', True),
              ('4.18.0-553.el8', False), ('4.18', False), ('6.1.0', False),
              ('10.0-rc1', False))
    @ddt.unpack
    def test_before(self, name, expected):
        with kernel(name):
            self.assertEqual(expected, release.before(4, 18))


@ddt.ddt
class AddressTestCase(base.BaseTestCase):
    """No route may come with an address of a standby."""

    @ddt.data(('3.10.0', 32, 128), ('3.16.0', 32, 64), ('4.17.0', 32, 64),
              ('4.18.0', 24, 64))
    @ddt.unpack
    def test_prefix_on_a_standby(self, name, of_ipv4, of_ipv6):
        with kernel(name):
            made = addresses.put_quietly(
                [self._body(socket.AF_INET, '192.0.2.7', 24),
                 self._body(socket.AF_INET6, '2001:db8::7', 64)], 5)

        self.assertEqual([of_ipv4, of_ipv6],
                         [message.body[1] for message in made])

    def test_prefix_on_a_primary_is_what_it_was(self):
        with kernel('3.10.0'):
            message, = addresses.put(
                [self._body(socket.AF_INET, '192.0.2.7', 24)], 5, 0)

        self.assertEqual(24, message.body[1])

    def _body(self, family, address, prefix):
        packed = socket.inet_pton(family, address)
        return _ADDRESS_HEADER.pack(family, prefix, 0, 0, 3) + (
            netlink.attribute(1, packed) + netlink.attribute(2, packed))


class RuleTestCase(base.BaseTestCase):
    """A twin without a table could not be told from a rule of the owner."""

    NIC = mock.Mock(spec=links.Nic, index=3, up=True, carrier=True,
                    master=None)
    NIC.name = 'eth0'

    def found(self, name):
        def dump(kind, body):
            # RTM_GETRULE, FR_ACT_PROHIBIT
            if kind == 34 and body[0] == socket.AF_INET:
                return [_RULE_HEADER.pack(2, 0, 0, 0, 0, 8, 0)
                        + netlink.numeric(6, 77)
                        + netlink.textual(3, 'eth0')]
            return []
        with kernel(name), mock.patch.object(
                firewall.Firewall, 'obstacles', autospec=True,
                return_value=[]):
            return obstacles.of(
                mock.Mock(spec=netlink.Netlink, dump=dump),
                mock.Mock(spec=links.Links, **{'all.return_value': []}),
                self.NIC)

    def test_refused_where_rules_have_no_protocol(self):
        sentence, = self.found('4.16.0')

        self.assertIn('priority 77 names eth0', sentence)

    def test_not_refused_where_they_have(self):
        self.assertEqual([], self.found('4.17.0'))


@ddt.ddt
class TwinTestCase(base.BaseTestCase):
    """Linux before 4.17 tells no protocol of a rule."""

    @ddt.data((254, [False, False]), (0x766605, [True, False]),
              (0x766705, [False, True]))
    @ddt.unpack
    def test_it_is_known_by_its_table(self, table, expected):
        # FR_ACT_TO_TBL, FRA_PRIORITY, FRA_TABLE
        rule = rules.Rule(_RULE_HEADER.pack(2, 0, 0, 0, 252, 1, 0)
                          + netlink.numeric(6, 32765)
                          + netlink.numeric(15, table))

        self.assertEqual(expected, [marks.fit(rule) for marks in switch.SETS])

    def test_a_kernel_without_rules(self):
        """The agent starts, and a check says so."""
        log = self.useFixture(fixtures.FakeLogger())

        switch.Switch(mock.Mock(spec=netlink.Netlink, **{
            'dump.side_effect': netlink.NetlinkError(
                errno.EOPNOTSUPP, 'kind 34')})).forget()

        self.assertIn('kind 34', log.output)


class OptionTestCase(base.BaseTestCase):
    """Before Linux 4.3, 4.12 and 4.20 there is no such option."""

    def open(self, number):
        def setsockopt(level, option, value):
            # SOL_NETLINK, and what NETLINK_CAP_ACK and so on are
            if level == 270 and option >= 10:
                raise OSError(number, 'option')

        made = mock.Mock(spec=socket.socket, setsockopt=setsockopt)
        with mock.patch('socket.socket', autospec=True, return_value=made):
            return netlink.Netlink(strict=True)

    def test_it_goes_without(self):
        self.open(errno.ENOPROTOOPT).socket.bind.assert_called_once()

    def test_another_failure(self):
        self.assertRaises(OSError, self.open, errno.EPERM)


@ddt.ddt
class NexthopTestCase(base.BaseTestCase):

    def found(self, number):
        return nexthops.Nexthops(mock.Mock(
            spec=netlink.Netlink, **{'dump.side_effect': netlink.NetlinkError(
                number, 'kind 106')})).bodies

    @ddt.data(errno.EOPNOTSUPP, errno.EINVAL)
    def test_it_has_none(self, number):
        self.assertEqual({}, self.found(number))

    def test_another_failure(self):
        self.assertRaises(netlink.NetlinkError, self.found, errno.EBUSY)


class NameTestCase(base.BaseTestCase):
    """Linux before 6.2 renames only a NIC that is down."""

    MAC = 'fa:16:3e:00:00:01'
    NIC = links.Nic(
        index=5, name='eth7', mac=MAC, up=True, carrier=True, mtu=1500,
        master=None, link=None, kind='', driver='', flags=0, txqlen=1000,
        group=0, alias='')

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MockPatchObject(
            udev, 'present', lambda: False))
        self.log = self.useFixture(fixtures.FakeLogger())
        self.up = {self.NIC.index}
        self.called = {}
        self.nics = mock.Mock(spec=links.Links, set=self.set, **{
            'named.return_value': None})
        self.kept = mock.Mock(
            spec=snapshot.Snapshot, names={self.MAC: 'lan0'}, owed=set())
        self.names = naming.Names(self.nics, self.kept)

    def set(self, nic, up=None, name=None):
        if up is False:
            self.up.discard(nic.index)
        if name:
            if nic.index in self.up:
                raise netlink.NetlinkError(errno.EBUSY, 'kind 16')
            self.called[nic.index] = name

    def test_it_is_set_down_before(self):
        self.assertEqual('lan0', self.names.rename(self.NIC, 'lan0').name)

        self.assertEqual({5: 'lan0'}, self.called)

    def test_one_in_use_has_to_wait(self):
        self.nics.standby.return_value = self.NIC._replace(
            index=3, name='lan0', up=False)

        self.assertEqual('eth7', self.names.take(self.NIC))

        # Whoever is called so from now on, it is not the standby.
        self.assertEqual({3: 'standby3'}, self.called)
        self.assertEqual({5}, self.up)
        self.assertIn('is not called lan0', self.log.output)
        self.assertEqual({self.MAC}, self.kept.owed)

    def test_one_that_is_to_wait_is_not_renamed(self):
        self.up.clear()
        self.nics.standby.return_value = self.NIC._replace(
            index=3, name='lan0', up=False)

        self.assertEqual('eth7', self.names.take(self.NIC, later=True))

        self.assertEqual({3: 'standby3'}, self.called)
        self.assertEqual({self.MAC}, self.kept.owed)
        self.assertEqual('', self.log.output)

    def test_it_gets_its_name_when_it_comes_back_once_more(self):
        self.kept.owed.add(self.MAC)
        self.up.clear()
        worn = outfits.bare('eth7')

        came = self.names.return_to(self.NIC._replace(up=False), worn)

        self.assertEqual('lan0', came.name)
        self.nics.standby.return_value = self.NIC._replace(
            index=3, name='eth1', up=False)
        self.assertEqual('lan0', self.names.take(came))
        self.assertEqual(set(), self.kept.owed)

    def test_one_that_is_owed_none_gets_that_which_it_had(self):
        self.up.clear()

        came = self.names.return_to(self.NIC._replace(up=False),
                                    outfits.bare('eth0'))

        self.assertEqual('eth0', came.name)


@ddt.ddt
class DeliveriesTestCase(base.BaseTestCase):
    """There what takes an address in leads over the loopback NIC."""

    ADDRESS = socket.inet_pton(socket.AF_INET6, '2001:db8::7')
    NIC = 5
    _TENTATIVE = 0x40

    def taken_in(self, name, tentative=False):
        flags = self._TENTATIVE if tentative else 0
        # RTM_GETADDR, RTM_GETROUTE; RTN_LOCAL in table 255 over index 1
        bodies = {
            22: [_ADDRESS_HEADER.pack(socket.AF_INET6, 64, flags, 0, self.NIC)
                 + netlink.attribute(1, self.ADDRESS)],
            26: [_ROUTE_HEADER.pack(socket.AF_INET6, 128, 0, 0, 255, 2, 0, 2,
                                    0)
                 + netlink.attribute(1, self.ADDRESS)
                 + netlink.numeric(4, 1)]}
        spoken = mock.Mock(spec=netlink.Netlink, dump=lambda kind, body: [
            found for found in bodies[kind] if found[0] == body[0]])
        with kernel(name), mock.patch.object(
                netlink, 'Netlink', autospec=True, return_value=spoken):
            return deliveries.Deliveries(self.NIC).wait({self.ADDRESS}, 0)

    @ddt.data(('3.10.0-1160.el7.x86_64', True), ('4.13.16', True),
              ('4.14.0', False))
    @ddt.unpack
    def test_on_the_loopback_nic(self, name, expected):
        self.assertIs(expected, self.taken_in(name))

    def test_not_before_the_nic_uses_the_address(self):
        # What is there is the route of the other NIC.
        self.assertFalse(self.taken_in('4.13.16', tentative=True))


@ddt.ddt
class IngressTestCase(base.BaseTestCase):
    """The agent starts by opening what another one may have left shut."""

    def answer(self, number):
        tables = mock.Mock(spec=netlink.Netlink, **{
            'transact.side_effect': netlink.NetlinkError(number, 'kind 2562')})
        return mock.patch.object(netlink, 'Netlink', autospec=True,
                                 return_value=tables)

    # Of Linux before 4.16 without nf_tables_netdev, of one without nf_tables,
    # of one without the protocol.
    @ddt.data(errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT)
    def test_it_starts_without_the_chains(self, number):
        coming_in = ingress.Ingress()

        with self.answer(number):
            coming_in.forget()
            coming_in.shut(RuleTestCase.NIC)

        self.assertFalse(coming_in.is_shut)

    def test_it_does_not_go_on_when_it_may_not(self):
        with self.answer(errno.EPERM):
            self.assertRaises(OSError, ingress.Ingress().forget)
