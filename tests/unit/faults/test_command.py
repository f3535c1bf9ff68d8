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

"""What the command of a campaign writes and ends with."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.faults import trial as trials  # isort: skip

import contextlib
import io
import json
import os
import sys

import fixtures
from oslotest import base

from tests.faults import __main__ as command
from tests.faults import crew
from tests.unit.faults import test_campaign


class Hands:
    """A crew that answers, until one of its hands is lost."""

    def __init__(self, lost_after=None, interrupted=False):
        self._lost_after = lost_after
        self._interrupted = interrupted

    def __call__(self, size):
        return self

    def work(self, pile, done):
        for number, piece in enumerate(pile):
            if 'point' not in piece:
                done(piece, {'points': [test_campaign.READ]})
            elif number == self._lost_after:
                # An error of its thread; nobody else takes the others.
                if self._interrupted:
                    raise KeyboardInterrupt
                return
            else:
                done(piece, trials.as_document(test_campaign.outcome(
                    piece['point'], trials.faults.Fault(piece['fault']),
                    scene=trials.scenes.Scene(piece['scene']))))

    def dismiss(self):
        pass


class MainTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.path = os.path.join(
            self.useFixture(fixtures.TempDir()).path, 'results.json')
        # It is set there.
        self.useFixture(fixtures.MockPatchObject(sys, 'excepthook'))
        self.useFixture(fixtures.MockPatchObject(
            command.interruption, 'raise_once', autospec=True))

    def run_with(self, hands, *options):
        """The exit code, and what it says."""
        argv = ['faults', '--vfs', '1', '--json', self.path, *(
            options or ['--scenes', 'move'])]
        with fixtures.MockPatchObject(crew, 'Crew', hands), (
                fixtures.MockPatchObject(sys, 'argv', argv)), (
                contextlib.redirect_stdout(io.StringIO())) as said:
            return command.main(), said.getvalue()

    def written(self):
        with open(self.path) as file:
            return json.load(file)

    def test_all_was_tried(self):
        code, said = self.run_with(Hands())

        self.assertEqual((0, 3), (code, self.written()['runs']))
        self.assertNotIn('not made', said)

    def test_recovery_as_well(self):
        code, said = self.run_with(Hands(), '--jobs', '2')

        self.assertEqual(0, code)
        self.assertEqual(
            {f'{scene.value}: source libvirt' for scene in
             trials.scenes.Scene}, set(self.written()['by_kind']))

    def test_a_run_that_was_not_made_is_told_and_no_success(self):
        code, said = self.run_with(Hands(lost_after=1))

        self.assertEqual((1, 1), (code, self.written()['runs']))
        self.assertIn('2 of 3 runs', said)

    def test_who_interrupts_it_knows(self):
        code, said = self.run_with(Hands(lost_after=1, interrupted=True))

        self.assertEqual((0, 1), (code, self.written()['runs']))
        self.assertIn('Interrupted', said)
        self.assertNotIn('not made', said)


class WriteTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path
        self.path = os.path.join(self.folder, 'results.json')
        command._write(self.path, {'runs': 480})

    def read(self):
        with open(self.path) as file:
            return json.load(file)

    def test_what_was_there_stays_until_the_new_one_is_whole(self):
        def dump(document, file, **_unused):
            file.write('{"runs": ')
            file.flush()
            self.assertEqual({'runs': 480}, self.read())
            raise OSError('No space left on device')

        with fixtures.MockPatchObject(command.json, 'dump', dump):
            self.assertRaises(OSError, command._write, self.path, {})

        self.assertEqual({'runs': 480}, self.read())

    def test_the_new_one_takes_its_place_and_nothing_else_is_left(self):
        command._write(self.path, {'runs': 481})

        self.assertEqual({'runs': 481}, self.read())
        self.assertEqual(['results.json'], os.listdir(self.folder))

    def test_where_a_link_leads_is_written_and_the_link_stays(self):
        link = os.path.join(self.folder, 'link')
        os.symlink(self.path, link)

        command._write(link, {'runs': 481})

        self.assertTrue(os.path.islink(link))
        self.assertEqual({'runs': 481}, self.read())

    def test_what_is_no_file_is_written_to(self):
        pipe = os.path.join(self.folder, 'pipe')
        os.mkfifo(pipe)
        reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reading)

        command._write(pipe, {'runs': 481})

        self.assertEqual({'runs': 481}, json.loads(os.read(reading, 100)))

    def test_nothing_is_written_where_nobody_asks(self):
        command._write(None, {'runs': 481})

        self.assertEqual({'runs': 480}, self.read())
