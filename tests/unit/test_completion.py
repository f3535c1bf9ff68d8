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

from unittest import mock

import fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.virt.libvirt import guest as libvirt_guest
from oslotest import base

from nova_vf_failover import completion

SERVER = '7c1c6bb1-8d3f-4a0e-9f3e-0d3f6a3c1b11'


class ForcedCompletionsTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.forced = completion.ForcedCompletions()
        self.told = []
        self.domain, self.domain_again = mock.Mock(), mock.Mock()
        self.nova_guest = libvirt_guest.Guest(self.domain)
        self.job = mock.Mock(memory_total=4096)
        self.look = self.useFixture(fixtures.MockPatchObject(
            libvirt_guest.Guest, 'get_job_info',
            side_effect=lambda: self.job)).mock
        self.useFixture(fixtures.MockPatchObject(
            libvirt_guest, 'libvirt', fakelibvirt))
        self.useFixture(fixtures.MockPatchObject(completion, '_PAUSE', 0))

    def hand_over(self):
        return self.forced.hand_over(
            SERVER, self.nova_guest,
            lambda: libvirt_guest.Guest(self.domain_again),
            lambda: self.told.append(SERVER))

    def test_nova_is_told_once_with_the_first_look_at_a_copy(self):
        with self.forced.remembered(SERVER):
            self.assertTrue(self.forced.ask(SERVER))
            watched = self.hand_over()
            for total, told in ((0, []), (4096, [SERVER]), (4096, [SERVER])):
                self.job.memory_total = total

                self.assertIs(self.job, watched.get_job_info())

                self.assertEqual(told, self.told)
            # Nova has its record by now.
            self.assertFalse(self.forced.ask(SERVER))

    def test_nova_is_told_nothing_that_nobody_asked_for(self):
        with self.forced.remembered(SERVER):
            self.hand_over().get_job_info()

        self.assertEqual([], self.told)

    def test_a_look_that_fails_is_made_again(self):
        self.look.side_effect = [fakelibvirt.libvirtError('away')] * 4 + [
            self.job]

        watched = self.hand_over()

        self.assertIs(self.job, watched.get_job_info())
        # The connection may be another one by now.
        watched.abort_job()
        self.domain_again.abortJob.assert_called_once_with()

    def test_nova_is_told_that_libvirt_does_not_answer(self):
        self.look.side_effect = fakelibvirt.libvirtError('away')

        self.assertRaises(fakelibvirt.libvirtError,
                          self.hand_over().get_job_info)
        self.assertEqual(5, self.look.call_count)

    def test_looks_that_take_long_are_fewer(self):
        self.useFixture(fixtures.MockPatchObject(completion, '_PATIENCE', 0))
        self.look.side_effect = fakelibvirt.libvirtError('away')

        self.assertRaises(fakelibvirt.libvirtError,
                          self.hand_over().get_job_info)
        self.assertEqual(1, self.look.call_count)

    def test_nova_looks_at_the_same_domain(self):
        with self.forced.remembered(SERVER):
            watched = self.hand_over()

        watched.abort_job()
        self.domain.abortJob.assert_called_once_with()
