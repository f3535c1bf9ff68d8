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

"""What is left of guests that were tried, however it ends; none is booted."""

import contextlib
import io
import json
import os
import sys
from unittest import mock

import fixtures
from oslotest import base

from tests.distributions import __main__ as command
from tests.distributions import story
from tests.lab import errors
from tests.lab import image as images


class MainTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path
        self.path = os.path.join(self.folder, 'figures.json')
        for target, name, value in (
                (command, 'CACHE', self.folder),
                (command, '_check', lambda: None),
                (command.interruption, 'raise_once', lambda: None),
                (command.story, 'write_program', lambda folder: 'agent'),
                (command.images, 'get', self.get),
                (command.teller, 'listening', self.listening)):
            self.useFixture(fixtures.MockPatchObject(target, name, value))
        #: by release, what comes instead of its image
        self.missing = {}
        #: what each guest does in turn
        self.does = []

    def get(self, recipe, cache, say):
        if recipe.release in self.missing:
            raise self.missing[recipe.release]
        return mock.Mock(spec=images.Image, versions={})

    @contextlib.contextmanager
    def listening(self, image, variant, program, first, last):
        its = self.does.pop(0)
        if isinstance(its, BaseException):
            raise its
        yield iter([its])

    def run_it(self, *releases, addressings=('static',)):
        """The exit code, and what it says."""
        argv = ['distributions', '--release', *releases, '--manager',
                'networkd', '--addressing', *addressings, '--json', self.path]
        with mock.patch.object(sys, 'argv', argv), (
                contextlib.redirect_stdout(io.StringIO())) as said:
            return command.main(), said.getvalue()

    def written(self):
        with open(self.path) as file:
            return [(result['release'], result['addressing'])
                    for result in json.load(file)['results']]

    def test_all_were_tried(self):
        self.does = [story.Step('boot'), story.Step('boot', problem='no')]

        code, said = self.run_it('bookworm', 'trixie')

        self.assertEqual(1, code)
        self.assertEqual([('bookworm', 'static'), ('trixie', 'static')],
                         self.written())
        self.assertEqual(1, said.count('Moves beside network managers'))

    def test_an_error_of_a_later_release_leaves_the_first(self):
        self.does = [story.Step('boot')]
        self.missing = {'trixie': errors.LabError('no mirror of it')}

        code, said = self.run_it('bookworm', 'trixie')

        self.assertEqual(2, code)
        self.assertEqual([('bookworm', 'static')], self.written())
        self.assertIn('no mirror of it', said)
        self.assertIn('Moves beside network managers', said)

    def test_what_nobody_has_foreseen_leaves_it_too(self):
        self.does = [story.Step('boot'), OSError('no more processes')]

        self.assertRaises(OSError, self.run_it, 'bookworm',
                          addressings=('static', 'dhcp'))

        self.assertEqual([('bookworm', 'static')], self.written())

    def test_who_interrupts_it_has_what_was_tried(self):
        self.does = [story.Step('boot'), KeyboardInterrupt()]

        code, said = self.run_it('bookworm', addressings=('static', 'dhcp'))

        self.assertEqual(130, code)
        self.assertEqual([('bookworm', 'static')], self.written())
        self.assertIn('Interrupted', said)
        self.assertIn('Moves beside network managers', said)

    def test_there_is_no_table_of_nothing(self):
        self.missing = {'trixie': errors.LabError('no mirror of it')}

        code, said = self.run_it('trixie')

        self.assertEqual(2, code)
        self.assertNotIn('Moves beside network managers', said)

    def test_each_release_has_a_log_of_its_own(self):
        self.does = [story.Step('boot', problem='no', log=log)
                     for log in ('of the first', 'of the second')]

        self.run_it('bookworm', 'trixie')

        logs = {}
        for release in ('bookworm', 'trixie'):
            with open(os.path.join(
                    self.folder, f'{release}-networkd-static.log')) as file:
                logs[release] = file.read()
        self.assertEqual({'bookworm': 'of the first',
                          'trixie': 'of the second'}, logs)
