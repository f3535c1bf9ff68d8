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

"""What the service says when something happens that nobody thought of."""

import contextlib
import json
import os
import socket
import threading
import time
from unittest import mock
import zipimport

import ddt
import fixtures
from oslotest import base

from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import mover
from nova_vf_failover.guest import nameservers
from nova_vf_failover.guest import overlap
from nova_vf_failover.guest import service
from nova_vf_failover.guest import snapshot
from nova_vf_failover.guest import upkeep

INTENT = {'version': 1, 'generation': 1, 'use': 'standby', 'timeout': 5,
          'ports': [{'id': 'port', 'mac': 'fa:16:3e:00:00:01'}]}


class ServedTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.mover = self.useFixture(fixtures.MockPatchObject(
            mover, 'Mover', autospec=True)).mock.return_value
        # Attributes that its constructor makes, which no class shows.
        self.mover.addresses = mock.Mock()
        self.mover.upkeep = mock.Mock(
            spec=upkeep.Upkeep, wanted=False, look=lambda: None)
        self.folder = self.useFixture(fixtures.TempDir()).path
        self.service = service.Service(self.folder, frozenset(['tun']))
        threading.Thread(target=self.service._work, daemon=True).start()

    def apply(self, intent, wait=5):
        return self.service.answer(json.dumps({
            'command': 'apply', 'wait': wait,
            'intent': json.dumps(intent)}).encode())


class FailureTestCase(ServedTestCase):

    def test_an_unknown_failure_is_not_told_as_staying(self):
        self.mover.fail_over.side_effect = OSError('no buffer space')

        report = self.apply(INTENT)

        self.assertEqual(('none', 'OSError: no buffer space'),
                         (report['state'], report['message']))
        self.assertIsNotNone(report['finished'])

    def test_a_known_failure_is(self):
        self.mover.fail_over.side_effect = overlap.Failed('nobody answers')

        self.assertEqual('failed', self.apply(INTENT)['state'])

    def test_then_the_next_intent_is_carried_out(self):
        self.mover.fail_over.side_effect = OSError('no buffer space')
        self.apply(INTENT)
        self.mover.fail_over.side_effect = None

        report = self.apply(dict(INTENT, generation=2))

        self.assertEqual('done', report['state'])

    def test_its_file_is_replaced(self):
        """What it says then is what it is, not what the new one would be."""
        before = self.service.answer(b'{"command": "status"}')['agent']
        with mock.patch('pkgutil.get_data', autospec=True,
                        side_effect=zipimport.ZipImportError):
            status = self.service.answer(b'{"command": "status"}')

        self.assertEqual(before, status['agent'])

    def test_what_it_cannot_do_without_ends_it(self):
        with mock.patch('os._exit', autospec=True) as ended:
            service._vital(mock.Mock(side_effect=OSError))

        ended.assert_called_once_with(1)


@ddt.ddt
class RequestTestCase(ServedTestCase):

    @ddt.data('chekc', '', None, {}, ['apply'])
    def test_nothing_is_done_at_an_unknown_word(self, command):
        report = self.service.answer(json.dumps({
            'command': command, 'wait': 5,
            'intent': json.dumps(INTENT)}).encode())

        self.assertEqual('refused', report['state'])
        self.assertIn('"command" is', report['message'])
        # No intent was taken that would be carried out later.
        self.assertEqual('none', self.service.answer(
            b'{"command": "status"}')['state'])
        self.mover.fail_over.assert_not_called()

    def test_another_one_of_the_same_generation_is_stale(self):
        self.apply(INTENT)

        report = self.apply(dict(INTENT, use='primary'))

        self.assertEqual(('refused', 1), (report['state'], report['taken']))
        self.mover.fail_back.assert_not_called()

    def test_the_same_one_may_have_another_time(self):
        self.apply(INTENT)

        report = self.apply(dict(INTENT, timeout=60))

        self.assertEqual('done', report['state'])
        self.mover.fail_over.assert_called_once()

    @ddt.named_data(['endless', 10 ** 400], ['past', -1],
                    ['no_number', float('nan')], ['word', 'long'],
                    ['list', [5]])
    def test_nothing_is_done_at_a_time_that_is_none(self, wait):
        self.assertEqual('refused', self.apply(INTENT, wait)['state'])

        self.mover.fail_over.assert_not_called()

    def test_nobody_waits_for_one_that_is_superseded(self):
        armed = dict(INTENT, use='primary')
        waiting = threading.Thread(
            target=self.apply, args=(armed, 600), daemon=True)
        waiting.start()
        until = time.monotonic() + 10
        while self.service.answer(
                b'{"command": "status"}')['state'] != 'armed':
            self.assertLess(time.monotonic(), until)

        self.apply(dict(armed, generation=2), 0)

        waiting.join(10)
        self.assertFalse(waiting.is_alive())

    def test_nothing_is_done_without_a_word(self):
        report = self.service.answer(json.dumps({
            'intent': json.dumps(INTENT)}).encode())

        self.assertEqual('refused', report['state'])
        self.mover.fail_over.assert_not_called()


class ReadyTestCase(base.BaseTestCase):
    """What systemd is told once commands are answered."""

    def told(self, address, name):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(address)
            systemd.settimeout(10)
            self.useFixture(fixtures.EnvironmentVariable(
                'NOTIFY_SOCKET', name))
            service._notify_ready()
            return systemd.recv(64)

    def test_by_a_file(self):
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'told')

        self.assertEqual(b'READY=1', self.told(path, path))

    def test_by_an_abstract_name(self):
        name = f'vff/{os.getpid()}@notify'

        self.assertEqual(b'READY=1', self.told(f'\0{name}', f'@{name}'))

    def test_nobody_asks(self):
        self.useFixture(fixtures.EnvironmentVariable('NOTIFY_SOCKET'))

        service._notify_ready()


class NameserversTestCase(ServedTestCase):
    """When it is said which NIC has the DNS servers of a port."""

    MAC = INTENT['ports'][0]['mac']

    def setUp(self):
        self.done = []
        names = self.useFixture(fixtures.MockPatchObject(
            nameservers, 'Nameservers', autospec=True)).mock.return_value
        names.followed = self.followed
        names.take_back = lambda macs: self.done.append(f'back {macs}')
        super().setUp()
        for name in ('fail_over', 'fail_back'):
            getattr(self.mover, name).side_effect = (
                lambda *_, name=name: self.done.append(name))

    @contextlib.contextmanager
    def followed(self, macs):
        self.done.append(f'asked {macs}')
        yield
        self.done.append('given')

    def test_around_a_failover(self):
        self.assertEqual('done', self.apply(INTENT)['state'])

        self.assertEqual([f"asked ['{self.MAC}']", 'fail_over', 'given'],
                         self.done)

    def test_after_a_failback(self):
        with mock.patch.object(self.service._nics, 'primary', autospec=True):
            self.assertEqual('done', self.apply(
                dict(INTENT, use='primary'))['state'])

        self.assertEqual(['fail_back', f"back ['{self.MAC}']"], self.done)


class FullDiskTestCase(ServedTestCase):
    """The snapshot cannot be written, as where there is no space."""

    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.folder, snapshot.NAME)
        # In the place of the file that is made anew each time.
        os.mkdir(self.path + '.new')

    def free(self):
        os.rmdir(self.path + '.new')

    def kept(self):
        with open(self.path) as source:
            return json.load(source)['intent']

    def test_an_intent_that_cannot_be_kept_is_refused(self):
        report = self.apply(INTENT)

        self.assertEqual((1, 'refused'),
                         (report['generation'], report['state']))
        self.assertIn(self.path, report['message'])
        self.assertIn('Is a directory', report['message'])
        self.mover.fail_over.assert_not_called()

    def test_the_one_before_it_stays(self):
        self.free()
        self.apply(INTENT)
        os.mkdir(self.path + '.new')

        self.apply(dict(INTENT, generation=2))

        self.assertEqual(1, self.service.answer(
            b'{"command": "status"}')['generation'])
        self.assertEqual(1, self.kept()['generation'])

    def test_it_is_carried_out_when_it_can_be_kept(self):
        self.apply(INTENT)
        self.free()

        report = self.apply(INTENT)

        self.assertEqual((1, 'done'), (report['generation'], report['state']))
        self.assertEqual(INTENT, self.kept())

    def test_one_in_the_metadata_ends_nothing(self):
        intent = intents.from_document(INTENT)
        self.service._hear(intent)
        self.free()
        self.service._hear(intent)

        self.assertEqual('done', self.apply(INTENT)['state'])
