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

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401 isort: skip

import contextlib
from unittest import mock

import fixtures
from oslotest import base

from nova_vf_failover import exception
from nova_vf_failover import journal
from nova_vf_failover import rescue


class StandbysPluggedTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MockPatch(
            'nova.virt.libvirt.utils.get_instance_path', return_value='/x'))
        self.plugged = []

    @contextlib.contextmanager
    def plugging(self, vif):
        self.plugged.append(vif['id'])
        yield

    def unrescue(self, kept, describe=lambda vif: vif):
        """The ports whose standbys are plugged while a domain is made.

        :param kept: the journal in the XML that was kept
        """
        instance = mock.Mock(**{'get_network_info.return_value': [
            {'id': name, 'vnic_type': 'direct', 'type': 'hw_veb',
             'profile': {'pci_slot': '0000:81:00.1'}}
            for name in ('first', 'second', 'third')]})
        text = kept.replace(
            '<journal', f'<journal xmlns="{journal.NAMESPACE}"')
        with fixtures.MockPatch(
                'nova.virt.libvirt.utils.load_file', return_value=(
                    f'<domain><metadata>{text}</metadata></domain>')):
            with rescue.standbys_plugged(mock.Mock(
                    plugging=self.plugging, describe=describe), instance):
                return self.plugged

    def degraded(self):
        """Two of the server's ports are."""
        its = journal.Journal(1)
        for name in ('first', 'second'):
            its = its.moved(name, 'fa:16:3e:00:00:01', journal.State.STANDBY)
        return its.to_xml()

    def test_those_that_were_on_their_standby(self):
        self.assertEqual(['first', 'second'], self.unrescue(self.degraded()))

    def test_a_journal_that_nobody_understands_keeps_no_server(self):
        self.assertEqual([], self.unrescue('<journal generation="none"/>'))

    def test_one_that_cannot_be_made_keeps_no_server(self):
        def describe(vif):
            if vif['id'] == 'first':
                raise exception.CannotSwap('Port first', 'It has gone.', '')
            return vif

        self.assertEqual(['second'],
                         self.unrescue(self.degraded(), describe))
