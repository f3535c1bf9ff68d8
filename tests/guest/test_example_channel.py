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

"""The driver in ``examples``: installed, found by its name, and used."""

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401 isort: skip

import atexit
import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import types

import fixtures
from oslo_config import cfg
from oslo_config import fixture as config_fixture
from oslotest import base as test_base
from stevedore import extension

from nova_vf_failover.channels import intent as intents
from nova_vf_failover import conf
from nova_vf_failover import exception
from nova_vf_failover import registry
from tests.guest import base

CONF = cfg.CONF

EXAMPLE = pathlib.Path(__file__).parents[2].joinpath(
    'examples', 'vf-failover-command')
SERVER = '7a6ce4ee-5b3f-4f0e-9d9f-3c4f0a4b0e11'


@functools.cache
def _built() -> str:
    """A folder with the installed package, for as long as this process is."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    # setuptools leaves things where it builds.
    source = shutil.copytree(EXAMPLE, os.path.join(folder, 'source'))
    target = os.path.join(folder, 'target')
    subprocess.run(
        [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps',
         '--no-build-isolation', '--no-index', '--target', target, source],
        check=True)
    return target


class Installed(fixtures.Fixture):
    """This process imports from a folder in which the package is installed."""

    def _setUp(self):
        self.useFixture(fixtures.MonkeyPatch(
            'sys.path', [*sys.path, _built()]))
        # What stevedore has found before the package was there.
        self.useFixture(fixtures.MockPatchObject(
            extension.ExtensionManager, 'ENTRY_POINT_CACHE', {}))
        self.addCleanup(self._forget)

    @staticmethod
    def _forget():
        for name in [name for name in sys.modules
                     if name.startswith('vf_failover_command')]:
            del sys.modules[name]


class Way:
    """A program that reaches the guest, written by a test."""

    def __init__(self, test, text):
        self._folder = test.useFixture(fixtures.TempDir())
        self.path = self._folder.join('tell-guest')
        with open(self.path, 'w') as file:
            file.write(f'#!/bin/sh\n{text}\n')
        os.chmod(self.path, 0o755)


class Example:
    """For a test case: the driver, installed and configured."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Not in a test: a test's temporary files go with it.
        _built()

    def install(self, way, **flags):
        conf.register_opts(CONF)
        self.useFixture(Installed())
        options = self.useFixture(config_fixture.Config(CONF))
        options.config(group='vf_failover', channel='command', **flags)
        channel = registry.CHANNEL.make()
        # Known since the driver was loaded.
        options.config(program=way, group='vf_failover_command')
        return channel


class MoveTestCase(Example, base.GuestTestCase):

    def test_a_guest_is_moved_and_brought_back(self):
        agent = ' '.join(self.agent._argv())
        channel = self.install(Way(self, f'[ "$1" = {SERVER} ] || exit 3\n'
                                         f'shift\nexec {agent} "$@"').path)
        self.assertIsNone(registry.CHANNEL.fault())
        guest = types.SimpleNamespace(uuid=SERVER)
        port, = self.ports

        def intent(generation, use):
            return intents.Intent(generation, use, 10, {'port': port.mac})

        ready = channel.check(guest, intent(1, intents.Use.STANDBY))
        self.assertEqual(intents.ReportState.READY, ready.state)
        self.attach_standby('alpha', port)
        done = channel.ask(guest, intent(1, intents.Use.STANDBY), 30)
        self.assertEqual(intents.ReportState.DONE, done.state, done.message)
        self.assertEqual({'port': True}, done.proven)
        self.detach_vf('alpha', port, 1)
        self.assertReachable()

        armed = channel.tell(guest, intent(2, intents.Use.PRIMARY))
        self.assertEqual(intents.ReportState.ARMED, armed.state)
        self.attach_vf('alpha', port, 2)
        done = channel.ask(guest, intent(2, intents.Use.PRIMARY), 30)
        self.assertEqual(intents.ReportState.DONE, done.state, done.message)
        self.detach_standby('alpha', port)
        self.assertReachable()


class FaultTestCase(Example, test_base.BaseTestCase):

    def fault(self, text, **flags):
        """What the driver raises when the program does this."""
        channel = self.install(Way(self, text).path, **flags)
        intent = intents.Intent(5, intents.Use.STANDBY, 10, {
            'port': 'fa:16:3e:00:00:01'})
        return str(self.assertRaises(
            exception.ChannelError, channel.check,
            types.SimpleNamespace(uuid=SERVER), intent))

    def test_a_guest_that_is_not_reached(self):
        said = self.fault('echo no route to host >&2; exit 255')
        self.assertIn('exit code 255', said)
        self.assertIn('no route to host', said)

    def test_a_guest_that_does_not_answer(self):
        with tempfile.TemporaryDirectory() as folder:
            # A pipe that nobody opens for writing.
            os.mkfifo(os.path.join(folder, 'silence'))
            said = self.fault(f'exec cat {folder}/silence', check_timeout=1)
        self.assertIn('has not answered within 1 s', said)

    def test_an_answer_to_another_question(self):
        said = self.fault("""echo '{"version": 1, "generation": 4,
            "state": "ready", "ports": []}'""")
        self.assertIn('generation 4 and was asked about 5', said)

    def test_no_program(self):
        self.install(None)
        self.assertIn('program is not set',
                      registry.CHANNEL.fault())
        CONF.set_override('program', '/nonexistent', 'vf_failover_command')
        self.assertIn('/nonexistent is no program',
                      registry.CHANNEL.fault())

    def test_it_is_named_as_one_to_choose(self):
        self.install(None)
        CONF.set_override('channel', 'quite other', 'vf_failover')
        self.assertIn('channel = quite other is no driver that is installed '
                      'here; there is: command, metadata, qga',
                      registry.CHANNEL.fault())
