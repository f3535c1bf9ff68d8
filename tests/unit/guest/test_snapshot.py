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

"""What an agent that takes the place of another one reads of it."""

import json
import os
import socket

import fixtures
from oslotest import base

from nova_vf_failover.guest import addresses
from nova_vf_failover.guest import links
from nova_vf_failover.guest import routes
from nova_vf_failover.guest import rtnetlink
from nova_vf_failover.guest import snapshot
from tests.unit.guest import outfits

MAC = 'fa:16:3e:00:00:01'

#: as the first release that kept outfits of this form has written it
FIRST = {
    'version': 2, 'boot': 'another', 'away': [MAC], 'intent': {
        'version': 1, 'generation': 7, 'use': 'standby', 'timeout': 60.0,
        'ports': [{'id': 'port', 'mac': MAC}]},
    'outfits': {MAC: {
        'name': 'eth0', 'index': 5, 'taken': 1764400000.25,
        'link': {'mtu': 9000, 'flags': 0, 'txqlen': 1000, 'group': 3,
                 'alias': 'data'},
        'sysctls': {'ipv4/conf:rp_filter': '2', 'ipv6/conf:forwarding': '1'},
        'unusual': {'ipv4/conf:rp_filter': '2'},
        'groups': ['224.0.0.18'], 'asked': [[2, '192.0.2.1']],
        'addresses': 'EAAAAAIYAAAFAAAACAACAMAAAgocAAAACkBAAAUAAAAUAAEAIAENuAAA'
                     'AAAAAAAAAAAAEA==',
        'neighbours': '', 'nexthops': '', 'leading': '',
        'routes': 'FAAAAAIAAAD+AwABAAAAAAgABAAFAAAA', 'qdiscs': ''}}}

#: what a later one has added to an outfit
ADDED = {'rules': 'FAAAAAIAAAD+AwABAAAAAAgABAAFAAAA', 'replicated': True,
         'alone_on': 9, 'nameservers': {'dns': ['192.0.2.53']}}


class SnapshotTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path
        self.path = os.path.join(self.folder, snapshot.NAME)

    def read(self, document):
        with open(self.path, 'w') as file:
            json.dump(document, file)
        return snapshot.Snapshot(self.folder)

    def test_of_the_first_release(self):
        worn = self.read(FIRST).outfits[MAC]

        self.assertEqual(('eth0', 5, 1764400000.25),
                         (worn.name, worn.index, worn.taken))
        self.assertEqual(links.Appearance(9000, 0, 1000, 3, 'data'),
                         worn.link)
        self.assertTrue(worn.is_routers)
        self.assertEqual(
            [(socket.AF_INET, '192.0.2.10'),
             (socket.AF_INET6, '2001:db8::10')],
            [addresses.plain(body) for body in worn.addresses])
        # Nobody knows yet whether the other one is free.
        self.assertEqual([(socket.AF_INET, '192.0.2.10')], worn.voices())
        self.assertEqual([(socket.AF_INET, '192.0.2.1')], worn.asked)
        self.assertEqual([rtnetlink.RT_TABLE_MAIN],
                         list(map(routes.table, worn.all_routes)))
        self.assertEqual(([], False, None, None),
                         (worn.rules, worn.replicated, worn.alone_on,
                          worn.nameservers))

    def test_what_was_added_since(self):
        worn = self.read(self.later()).outfits[MAC]

        self.assertEqual((worn.routes, True, 9, {'dns': ['192.0.2.53']}),
                         (worn.rules, worn.replicated, worn.alone_on,
                          worn.nameservers))

    def later(self):
        return dict(FIRST, outfits={MAC: dict(FIRST['outfits'][MAC],
                                              **ADDED)})

    def test_earlier_releases_find_what_they_have_written(self):
        """After a downgrade."""
        self.read(self.later()).write()

        with open(self.path) as file:
            self.assertEqual(self.later()['outfits'],
                             json.load(file)['outfits'])

    def test_nothing_was_put_into_an_outfit(self):
        kept = snapshot.Snapshot(self.folder)
        kept.outfits[MAC] = outfits.bare('eth0', 5)
        kept.write()

        worn = snapshot.Snapshot(self.folder).outfits[MAC]

        self.assertEqual(vars(outfits.bare('eth0', 5)), vars(worn))

    def test_outfits_of_another_form(self):
        """Of an agent that was replaced: its intents stay old."""
        kept = self.read(dict(FIRST, version=1))

        self.assertEqual(({}, set(), 7), (
            kept.outfits, kept.away, kept.intent.generation))
