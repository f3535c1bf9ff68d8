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

"""What udev is asked, with its files in a folder of the test's."""

import os
import pathlib

import fixtures
from oslotest import base

from nova_vf_failover.guest import udev


class UdevTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        for name, file in (('_CONTROL', 'control'), ('_QUEUE', 'queue'),
                           ('_DATABASE', 'n%d'), ('_EVENT', '%s')):
            self.useFixture(fixtures.MockPatchObject(
                udev, name, str(self.folder / file)))
        self.log = self.useFixture(fixtures.FakeLogger())

    def start(self):
        """There is a udev."""
        self.folder.joinpath('control').touch()

    def test_nobody_renames_a_nic_where_there_is_none(self):
        self.folder.joinpath('queue').touch()

        self.assertTrue(udev.settled(7))
        self.assertTrue(udev.await_idle(0))
        self.assertIsNone(udev.monitor())
        udev.look_again('eth0')
        self.assertFalse(self.folder.joinpath('eth0').exists())

    def test_a_nic_is_settled_once_it_is_in_the_database(self):
        self.start()
        self.assertFalse(udev.settled(7))

        self.folder.joinpath('n7').touch()

        self.assertTrue(udev.settled(7))
        self.assertFalse(udev.settled(8))

    def test_it_is_waited_for_no_longer_than_said(self):
        self.start()
        self.assertTrue(udev.await_idle(0))

        self.folder.joinpath('queue').touch()

        self.assertFalse(udev.await_idle(0))

    def test_it_is_told_of_a_change(self):
        self.start()
        udev.look_again('eth0')
        self.assertEqual('change', self.folder.joinpath('eth0').read_text())

    def test_a_nic_is_introduced(self):
        udev.introduce('eth0')
        self.assertFalse(self.folder.joinpath('eth0').exists())
        self.start()

        udev.introduce('eth0')

        self.assertEqual('add', self.folder.joinpath('eth0').read_text())

    def test_a_nic_that_has_gone(self):
        self.start()
        self.folder.joinpath('eth0').mkdir()

        udev.look_again('eth0')

        self.assertIn('udev is not told of a change of eth0', self.log.output)

    def test_its_messages_are_heard(self):
        self.start()
        with udev.monitor() as heard:
            # struct sockaddr_nl: the groups
            self.assertEqual(2, heard.getsockname()[1])

    def test_one_that_sees_another_namespace(self):
        self.start()
        real = os.readlink
        self.useFixture(fixtures.MonkeyPatch('os.readlink', lambda path: {
            '/proc/1/ns/net': 'net:[1]', '/proc/self/ns/net': 'net:[2]'
        }.get(path) or real(path)))

        self.assertFalse(udev.present())

    def test_nobody_may_look_at_the_first_process(self):
        self.start()

        def refuse(path):
            raise PermissionError(path)

        self.useFixture(fixtures.MonkeyPatch('os.readlink', refuse))
        self.assertTrue(udev.present())
