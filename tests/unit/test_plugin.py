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

import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

import fixtures
import nova.tests.functional  # noqa: F401 isort: skip

from nova.compute import manager as compute_manager
from nova.compute import resource_tracker
from nova.virt import libvirt
from nova.virt.libvirt import driver as nova_driver
from oslo_config import cfg
from oslo_config import fixture as config_fixture
from oslotest import base

from nova_vf_failover import conf
from nova_vf_failover import driver
from nova_vf_failover import plugin
from nova_vf_failover import prerequisites

CONF = cfg.CONF


class PluginTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        conf.register_opts(CONF)
        self.config = self.useFixture(config_fixture.Config(CONF))
        self.config.config(compute_driver='libvirt.LibvirtDriver')
        qga = ('nova_vf_failover.channels.qga.QemuGuestAgentChannel.'
               'missing_requirement')
        self.missing = self.useFixture(
            fixtures.MockPatch(qga, return_value=None)).mock
        self.useFixture(fixtures.MockPatchObject(
            libvirt, 'LibvirtDriver', nova_driver.LibvirtDriver))

    def load(self, **options):
        self.config.config(group='vf_failover', **options)
        return plugin.FailoverPlugin.load('vf_failover')

    def assertRefused(self, pattern, **options):
        error = self.assertRaises(SystemExit, self.load, enabled=True,
                                  **options)
        self.assertRegex(str(error), pattern)
        self.assertNotIn('\n', str(error))
        self.assertIs(nova_driver.LibvirtDriver, libvirt.LibvirtDriver)

    def test_installs_the_driver_where_it_is_enabled(self):
        self.load(enabled=True)

        self.assertIs(driver.FailoverLibvirtDriver, libvirt.LibvirtDriver)

    def test_does_nothing_where_it_is_not_enabled(self):
        self.load(enabled=False, standby='nonsense')

        self.assertIs(nova_driver.LibvirtDriver, libvirt.LibvirtDriver)

    def test_tells_os_vif_that_it_plugs_no_type(self):
        loaded = self.load(enabled=False)

        self.assertEqual([], loaded.describe().vif_info)

    def test_unknown_drivers_are_named_with_those_there_are(self):
        self.assertRefused('standby = bridge .*macvtap', standby='bridge')
        self.assertRefused('channel = pigeon .*qga', standby='macvtap',
                           channel='pigeon')
        self.assertRefused('steering = wheel .*auto, none',
                           standby='macvtap', channel='qga', steering='wheel')

    def test_a_channel_that_cannot_work_here_says_what_is_missing(self):
        self.missing.return_value = 'a module is missing.'

        self.assertRefused('channel = qga cannot work here: a module is')

    def test_an_unknown_nova_is_named(self):
        for version in ('28.3.0', '35.0.0'):
            with mock.patch('nova.version.version_string', autospec=True,
                            return_value=version):
                self.assertRefused(f'29 to 34 .*{version}')

    def test_a_changed_method_of_nova_is_named(self):
        def live_migration(self, context, instance):
            """A signature that this plugin does not know."""

        for name in ('live_migration', '_reattach_instance_vifs'):
            with mock.patch.object(nova_driver.LibvirtDriver, name,
                                   live_migration):
                self.assertRefused(f'changed {name} ')

    def test_a_changed_method_of_nova_that_is_called_is_named(self):
        for novas, name, now in (
                (compute_manager.ComputeManager,
                 '_claim_pci_for_instance_vifs', self.one_more),
                (compute_manager.ComputeManager,
                 '_update_migrate_vifs_profile_with_pci', None),
                (resource_tracker.ResourceTracker, 'unclaim_pci_devices',
                 self.other_order),
                (nova_driver.LibvirtDriver, '_detach_with_retry', None),
                (nova_driver.LibvirtDriver, '_live_migration_monitor',
                 self.one_more),
                (nova_driver.LibvirtDriver, '_live_migration_operation',
                 self.one_more)):
            with mock.patch.object(novas, name, now):
                self.assertRefused(
                    f'changed {novas.__name__}.{name}, which .* calls')

    @staticmethod
    def one_more(self, ctxt, instance, migration):
        """Nova's method, if it needed to know the migration."""

    @staticmethod
    def other_order(self, context, instance, pci_device):
        """Nova's method, if what it takes were turned round."""

    def test_a_method_of_nova_that_takes_more_than_it_needs_is_known(self):
        def claim(self, ctxt, instance, migration=None, **others):
            """Nova's method, if somebody could name the migration."""

        with mock.patch.object(compute_manager.ComputeManager,
                               '_claim_pci_for_instance_vifs', claim):
            self.assertIsNone(prerequisites.signature_fault())

    def test_another_compute_driver_is_named(self):
        self.config.config(compute_driver='fake.SmallFakeDriver')

        self.assertRefused('fake.SmallFakeDriver')


NOVA_COMPUTE = 'import sys; from nova.cmd import compute; compute.main()'
# The same until it has loaded the plugin.
BEGINNING = '''
import sys
import nova.conf
from nova import config
from oslo_log import log
from nova_vf_failover import plugin
config.parse_args(sys.argv)
log.setup(nova.conf.CONF, 'nova')
plugin.LOG.info('not of this level yet')
plugin.FailoverPlugin.load('vf_failover')
'''
# As Nova's etc/nova/logging_sample.conf: what is not of Nova goes nowhere.
LOGGERS = '''
[loggers]
keys = root, nova{more}
[handlers]
keys = null, nova, other
[formatters]
keys = plain
[logger_root]
level = WARNING
handlers = null
[logger_nova]
level = INFO
handlers = nova
qualname = nova
[logger_other]
level = INFO
handlers = other
propagate = 0
qualname = nova_vf_failover
[handler_null]
class = logging.NullHandler
args = ()
[handler_nova]
class = FileHandler
args = ('{folder}/nova.log',)
formatter = plain
[handler_other]
class = FileHandler
args = ('{folder}/other.log',)
formatter = plain
[formatter_plain]
format = %(levelname)s %(name)s %(message)s
'''


class ProgramTestCase(base.BaseTestCase):
    """The program itself."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def start(self, section, options='', program=NOVA_COMPUTE):
        path = self.folder / 'nova.conf'
        path.write_text(
            '[DEFAULT]\ncompute_driver = libvirt.LibvirtDriver\n'
            f'state_path = {self.folder}\n{options}\n'
            f'[vf_failover]\n{section}\n')
        return subprocess.run(
            [sys.executable, '-c', program, '--config-file', path],
            capture_output=True, text=True, timeout=60)


class NovaComputeTestCase(ProgramTestCase):
    """A nova.conf in which something is wrong."""

    def test_stops_with_one_sentence(self):
        for section, words in (
                ('enabled = perhaps', '[vf_failover] enabled'),
                ('enabled = true\npolicy = often', '[vf_failover] policy'),
                ('enabled = true\nfailback_timeout = 0', 'failback_timeout'),
                ('enabled = true\nstandby = bridge', 'standby = bridge')):
            ended = self.start(section)
            last = ended.stderr.strip().splitlines()[-1]
            self.assertNotEqual(0, ended.returncode)
            self.assertIn('nova_vf_failover: ', last)
            self.assertIn(words, last)
            self.assertNotIn('Traceback', ended.stderr)


class LogTestCase(ProgramTestCase):
    """A configuration of logging that knows Nova's loggers alone."""

    def logged(self, section, more='', program=BEGINNING):
        """What is in the file of Nova, and in that of another logger."""
        path = self.folder / 'logging.conf'
        path.write_text(LOGGERS.format(folder=self.folder, more=more))
        self.start(section, f'log_config_append = {path}', program)
        return [(self.folder / name).read_text()
                for name in ('nova.log', 'other.log')]

    def test_a_refusal_is_where_nova_logs(self):
        log, _other = self.logged('enabled = true\nstandby = bridge',
                                  program=NOVA_COMPUTE)

        self.assertIn('CRITICAL nova_vf_failover.plugin nova_vf_failover: '
                      '[vf_failover] standby = bridge', log)

    def test_nova_says_which_level(self):
        log, _other = self.logged('enabled = true\nchannel = metadata')

        self.assertIn('INFO nova_vf_failover.plugin nova_vf_failover is '
                      'enabled', log)

    def test_what_is_configured_for_ours_stands(self):
        log, other = self.logged('enabled = true\nchannel = metadata',
                                 more=', other')

        self.assertEqual('', log)
        self.assertIn('nova_vf_failover is enabled', other)
