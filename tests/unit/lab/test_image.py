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


"""Where an image's packages come from, and what an interruption leaves.

Nothing is built.
"""

import os
import select
import signal
import subprocess
import sys
import unittest
from unittest import mock

import fixtures
from oslotest import base

from tests.lab import errors
from tests.lab import image

_MIRROR = 'https://mirror.example.org/debian'
_TIMEOUT = 300

_BUILD = """
import sys
from tests.lab import command
from tests.lab import image
image._mirror = lambda: ('https://mirror.example.org/debian', [])
image._ROOM = 0
sys.exit(command.build(image.Recipe('trixie'), sys.argv[1]))
"""
# As mmdebstrap has the host's /dev in its tree while its children work there.
_MMDEBSTRAP = """#!/bin/sh
while [ $# -gt 2 ]; do shift; done
mkdir -p "$1/dev"
mount --bind {folder}/host "$1/dev"
exec 9> {folder}/alive
echo mounted >&9
cat {folder}/hold &
wait
"""


class MirrorTestCase(base.BaseTestCase):

    def mirror(self, *sources):
        with mock.patch.object(image, '_sources', autospec=True,
                               return_value=sources):
            return image._mirror()

    def listed(self, text):
        folder = self.useFixture(fixtures.TempDir()).path
        path = os.path.join(folder, 'debian.list')
        with open(path, 'w') as file:
            file.write(text)
        return {'URIs': f'mirror+file://{path}',
                'Components': 'main non-free-firmware'}

    def test_an_address(self):
        self.assertEqual((_MIRROR, ['/a.gpg']), self.mirror(
            {'URIs': 'https://example.org/tools', 'Components': 'main'},
            {'URIs': f'{_MIRROR}-security', 'Components': 'main'},
            {'URIs': _MIRROR, 'Components': 'main contrib',
             'Signed-By': '/a.gpg'}))

    def test_a_list_of_mirrors(self):
        self.assertEqual((_MIRROR, []), self.mirror(
            self.listed('https://mirror.example.org/debian-security\n'),
            self.listed('# the mirrors\n\n'
                        'https://example.org/other\tpriority:1\n'
                        f'{_MIRROR}\tpriority:2\n')))

    def test_a_list_that_is_not_there_is_no_source(self):
        self.assertRaises(errors.LabError, self.mirror, {
            'URIs': 'mirror+file:///nowhere', 'Components': 'main'})


@unittest.skipUnless(os.geteuid() == 0, 'mounts need root')
class InterruptedTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path
        self.addCleanup(self.unmount)
        for name in ('host', 'tools', 'cache'):
            os.mkdir(self.path(name))
        for name in ('alive', 'hold'):
            os.mkfifo(self.path(name))
        with open(self.path('host/file'), 'w') as file:
            file.write('the host has it')
        for name in ('mmdebstrap', 'mke2fs'):
            with open(self.path(f'tools/{name}'), 'w') as file:
                file.write(_MMDEBSTRAP.format(folder=self.folder))
                os.fchmod(file.fileno(), 0o755)
        # What is left of a child ends with that, and then there is nobody
        # who could write.
        hold = os.open(self.path('hold'), os.O_RDWR)
        self.addCleanup(os.close, hold)
        self.alive = os.open(self.path('alive'),
                             os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, self.alive)

    def path(self, name):
        return os.path.join(self.folder, name)

    def mounted(self):
        with open('/proc/self/mounts') as lines:
            return [line.split()[1] for line in lines
                    if self.folder in line]

    def unmount(self):
        for path in self.mounted():
            subprocess.run(['umount', '--lazy', path], check=True)

    def heard(self):
        """What a child has written; nothing at all if none is left."""
        ready, _, _ = select.select([self.alive], [], [], _TIMEOUT)
        self.assertTrue(ready, 'a child goes on, and says nothing')
        return os.read(self.alive, 100)

    def interrupt(self, number):
        started = subprocess.Popen(
            [sys.executable, '-c', _BUILD, self.path('cache')],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, 'PATH': ':'.join([
                self.path('tools'), os.environ['PATH']])})
        self.addCleanup(started.wait)
        self.addCleanup(started.kill)
        self.assertEqual(b'mounted\n', self.heard())
        started.send_signal(number)
        said, _ = started.communicate(timeout=_TIMEOUT)
        self.assertEqual(130, started.returncode, said)

    def assertNothingLeft(self):
        self.assertEqual(b'', self.heard())
        self.assertEqual([], self.mounted())
        self.assertEqual([], os.listdir(self.path('cache')))
        self.assertEqual(['file'], os.listdir(self.path('host')))

    def test_ctrl_c_leaves_the_host_as_it_was(self):
        self.interrupt(signal.SIGINT)

        self.assertNothingLeft()

    def test_sigterm_leaves_the_host_as_it_was(self):
        self.interrupt(signal.SIGTERM)

        self.assertNothingLeft()
