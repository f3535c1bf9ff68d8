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

"""The names that NICs get after a start of the guest."""

from unittest import mock

import fixtures
from oslotest import base

from nova_vf_failover.guest import links
from nova_vf_failover.guest import naming
from nova_vf_failover.guest import snapshot
from nova_vf_failover.guest import udev


class RestoreTestCase(base.BaseTestCase):

    MAC = 'fa:16:3e:00:00:01'
    STANDBY = links.Nic(
        index=3, name='enp3s0', mac=MAC, up=False, carrier=False, mtu=1500,
        master=None, link=None, kind='', driver='virtio_net', flags=0,
        txqlen=1000, group=0, alias='')
    VF = STANDBY._replace(index=5, name='enp4s0', driver='iavf')

    def setUp(self):
        super().setUp()
        self.told = []
        for name in ('introduce', 'look_again'):
            self.useFixture(fixtures.MockPatchObject(
                udev, name, lambda nic, name=name: self.told.append(
                    (name, nic))))

    def restore(self, primary, standby, late=False):
        """:returns: the names that NICs have got, by their indexes"""
        nics = mock.Mock(spec=links.Links, **{
            'pair.return_value': (primary, standby),
            'named.return_value': None})
        self.kept = mock.Mock(spec=snapshot.Snapshot,
                              names={self.MAC: 'eth0'}, owed={self.MAC})
        names = naming.Names(nics, self.kept)
        if late:
            self.assertIs(names.restore_late(), bool(nics.set.called))
        else:
            names.restore()
        return {call.args[0].index: call.kwargs['name']
                for call in nics.set.call_args_list}

    def test_ifupdown_sees_a_standby_come_that_is_alone(self):
        self.assertEqual({3: 'eth0'}, self.restore(None, self.STANDBY))

        self.assertEqual([('introduce', 'eth0')], self.told)
        self.assertEqual(set(), self.kept.owed)

    def test_it_sees_the_vf_come_where_there_are_both(self):
        self.assertEqual({3: 'standby3', 5: 'eth0'}, self.restore(
            self.VF, self.STANDBY._replace(name='eth0')))

        self.assertEqual([('look_again', 'standby3'), ('introduce', 'eth0')],
                         self.told)

    def test_a_vf_whose_driver_is_late(self):
        # What the standby had been given udev has taken away again.
        self.assertEqual({5: 'eth0'}, self.restore(
            self.VF, self.STANDBY, late=True))

        self.assertEqual([('introduce', 'eth0')], self.told)

    def test_its_standby_has_the_name(self):
        self.assertEqual({3: 'standby3', 5: 'eth0'}, self.restore(
            self.VF, self.STANDBY._replace(name='eth0'), late=True))

    def test_what_has_its_name_or_is_configured_is_left(self):
        for primary, standby in (
                (self.VF._replace(name='eth0'), self.STANDBY),
                (None, self.STANDBY._replace(name='eth0')),
                (self.VF._replace(up=True), self.STANDBY), (None, None)):
            self.assertEqual({}, self.restore(primary, standby, late=True))

        self.assertEqual([], self.told)

    def test_there_is_neither(self):
        self.assertEqual({}, self.restore(None, None))

        self.assertEqual([], self.told)
