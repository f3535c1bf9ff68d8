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

"""The agent cannot write its snapshot: no space, or a read-only disk."""

import contextlib
import json
import os
import time

from tests.guest import test_reboot


class FullDiskTestCase(test_reboot.Rebooting):

    @contextlib.contextmanager
    def full_disk(self):
        # In the place of the file that is made anew each time.
        path = self.agent.snapshot + '.new'
        os.mkdir(path)
        try:
            yield
        finally:
            os.rmdir(path)

    def kept(self):
        with open(self.agent.snapshot) as source:
            return json.load(source)

    def test_an_intent_is_refused_and_taken_later(self):
        port, = self.ports
        before = self.configuration()
        self.fail_over()
        intent = self.intent('primary')
        with self.full_disk():
            refused = self.ask(intent, 'apply')
            self.assertEqual((2, 'refused'),
                             (refused['generation'], refused['state']))
            self.assertIn(self.agent.snapshot, refused['message'])
        self.assertEqual('armed', self.ask(intent, 'apply')['state'])

        self.attach_vf('alpha', port, 2)

        self.done(intent)
        self.detach_standby('alpha', port)
        self.assertEqual(before, self.configuration())

    def test_a_check_finds_it(self):
        self.done(self.intent('primary'))
        intent = self.intent('standby')
        before = self.kept()
        folder = os.path.dirname(self.agent.snapshot)
        files = set(os.listdir(folder))
        with self.full_disk():
            for arguments in (('check',), ('check', '--all')):
                report = self.ask(intent, *arguments)
                self.assertEqual('refused', report['state'])
                port, = report['ports']
                self.assertIn(self.agent.snapshot, *port['obstacles'])

        self.assertEqual('ready', self.ask(intent, 'check')['state'])
        self.assertEqual(before, self.kept())
        self.assertEqual(files, set(os.listdir(folder)))

    def test_it_fills_before_anything_is_moved(self):
        port, = self.ports
        before = self.configuration()
        intent = self.intent('standby')
        self.ask(intent, 'apply')
        with self.full_disk():
            self.attach_standby('alpha', port)
            report = self.ask(intent)
        self.assertEqual('refused', report['state'])
        self.assertIn(self.agent.snapshot, report['message'])
        place, = self.agent.command('status')[1]['places']
        self.assertEqual(('primary', None), (place['on'], place['since']))
        self.assertEqual(before, self.configuration())

        self.done(self.intent('standby'))

        self.assertReachable()

    def test_it_fills_while_the_vf_is_awaited(self):
        port, = self.ports
        before = self.configuration()
        self.fail_over()
        intent = self.intent('primary')
        self.ask(intent, 'apply')

        with self.full_disk():
            self.attach_vf('alpha', port, 2)
            self.done(intent)

        self.detach_standby('alpha', port)
        self.assertEqual(before, self.configuration())
        # With the next change of a link it is made up for.
        until = time.monotonic() + 10
        while self.kept()['away']:
            self.assertLess(time.monotonic(), until)

    def test_the_guest_is_started_anew(self):
        self.fail_over()
        with self.full_disk():
            self.reboot()
            standby, = self.named(True)
            self.configure(standby)
