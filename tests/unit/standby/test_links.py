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

import nova.tests.functional  # noqa: F401 isort: skip

import os
import unittest

from oslotest import base
import pyroute2
from pyroute2 import netlink as protocol
from pyroute2.netlink import exceptions

from nova_vf_failover.standby import links
from tests.unit import green
from tests.unit import kernel


@unittest.skipUnless(os.geteuid() == 0, 'network namespaces need root')
class HostLinksTestCase(base.BaseTestCase):
    """Against the kernel, in a namespace of the test's own."""

    def setUp(self):
        super().setUp()
        self.pf = self.useFixture(kernel.OwnNetwork()).pf
        with pyroute2.IPRoute() as netlink:
            netlink.link('add', ifname='switch', kind='bridge')
            self.switch, = netlink.link_lookup(ifname='switch')
            netlink.link('set', index=self.pf, mtu=1400)
        self.links = links.HostLinks()

    def test_what_netlink_says(self):
        pf = self.links.find('pf0')

        self.assertEqual(('pf0', True, True, 1400, None, None), (
            pf.name, pf.up, pf.carrier, pf.mtu, pf.master, pf.alias))
        self.assertFalse(self.links.find('switch').up)
        self.assertIsNone(self.links.find('pf1'))

    def test_they_are_read_until_nothing_changes_meanwhile(self):
        # In the middle of the first answers a link goes, and hides another.
        answers = 2 * [self.dump_without('switch')]

        self.assertIsNotNone(self.told(answers).find('switch'))
        self.assertEqual([], answers)

    def test_a_host_that_never_rests_is_an_error(self):
        answers = 1000 * [self.dump_without('switch')]

        self.assertRaises(exceptions.NetlinkDumpInterrupted,
                          self.told(answers).find, 'pf0')

    def told(self, answers):
        """The links to one who is first given these answers."""
        def open_netlink():
            route = pyroute2.IPRoute()
            if answers:
                route.get_links = answers.pop
            return route

        return links.HostLinks(open_netlink)

    def dump_without(self, name):
        """What the kernel says of the links while one goes."""
        with pyroute2.IPRoute() as netlink:
            messages = [message for message in netlink.get_links()
                        if message.get_attr('IFLA_IFNAME') != name]
        for message in messages:
            message['header']['flags'] |= protocol.NLM_F_DUMP_INTR
        return messages

    def test_the_master_is_named_with_its_kind(self):
        with pyroute2.IPRoute() as netlink:
            netlink.link('set', index=self.pf, master=self.switch)

        pf = self.links.find('pf0')

        self.assertEqual(('switch', 'bridge'), (pf.master, pf.master_kind))

    def test_a_macvtap_is_seen_on_top(self):
        with pyroute2.IPRoute() as netlink:
            netlink.link('add', ifname='standby', kind='macvtap',
                         link=self.pf, macvtap_mode='bridge')

        # One end of a veth names the other as its link, which is not "on
        # top" of it.
        self.assertIn('standby', self.links.find('pf0').uppers)
        macvtap, = self.links.of_kind('macvtap')
        self.assertEqual(('standby', 'pf0'), (macvtap.name, macvtap.lower))
        self.assertEqual([], self.links.of_kind('vlan'))

    def test_all_groups_are_received(self):
        with pyroute2.IPRoute() as netlink:
            netlink.link('add', ifname='standby', kind='macvtap',
                         link=self.pf, macvtap_mode='bridge')
            standby, = netlink.link_lookup(ifname='standby')

            self.links.receive_all_groups('standby')

            link, = netlink.get_links(standby)
            self.assertTrue(link['flags'] & 0x200)
        self.links.receive_all_groups('one that has gone')

    def add(self, alias):
        # Where the kernel has no VLANs a macvlan is made by the same steps.
        links._add('pf0', 'pf0.42', alias, kind='macvlan')

    def test_a_link_that_is_made_is_marked(self):
        self.add('ours')

        made = self.links.find('pf0.42')
        self.assertEqual(('macvlan', 'pf0', 'ours', True), (
            made.kind, made.lower, made.alias, made.up))
        self.assertEqual([], self.links.unfinished())

    def test_a_link_whose_making_was_cut_off_is_made_anew(self):
        # IFALIASZ, include/uapi/linux/if.h: the link is there by then.
        self.assertRaises(exceptions.NetlinkError, self.add, 'too long' * 32)
        # Nobody has to take it for an operator's.
        self.assertIsNone(self.links.find('pf0.42'))
        unfinished, = self.links.unfinished()
        self.assertEqual(('macvlan', None),
                         (unfinished.kind, unfinished.alias))

        self.add('ours')

        self.assertEqual('ours', self.links.find('pf0.42').alias)
        self.assertEqual([], self.links.unfinished())

    def test_a_vlan_device_is_marked(self):
        with pyroute2.IPRoute() as netlink:
            try:
                netlink.link('add', ifname='vlan7', kind='vlan', link=self.pf,
                             vlan_id=7)
            except exceptions.NetlinkError as error:
                self.skipTest(f'the kernel has no 8021q: {error}')

        self.links.add_vlan('pf0', 'pf0.42', 42, 'ours')

        made = self.links.find('pf0.42')
        self.assertEqual(('vlan', 'pf0', 42, 'ours', True), (
            made.kind, made.lower, made.vlan, made.alias, made.up))
        self.assertEqual((made.name, 'vlan7', None), (
            self.links.vlan_of('pf0', 42).name,
            self.links.vlan_of('pf0', 7).name, self.links.vlan_of('pf0', 8)))

    def test_marks_and_removes(self):
        self.links.mark('pf0', 'ours')
        self.assertEqual('ours', self.links.find('pf0').alias)

        self.links.remove('pf0')
        self.links.remove('pf0')
        self.assertIsNone(self.links.find('pf0'))


class GreenThreadsTestCase(base.BaseTestCase):

    def test_migrations_that_look_at_once(self):
        self.assertEqual('[20, 20, 20, 20]', green.said(
            'tests.unit.standby.green_threads'))
