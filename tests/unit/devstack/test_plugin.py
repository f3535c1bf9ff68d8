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

"""The plugin for devstack, run through devstack's phases.

Where the environment names a checkout of devstack in ``DEVSTACK_DIR``, its own
functions change the files.
"""

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401 isort: skip

import hashlib
import json
import os
import pathlib
import subprocess

import ddt
import fixtures
import nova.conf
from oslo_config import cfg
from oslotest import base

from nova_vf_failover import conf

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]

# As devstack writes them, before plugins have their turn.
NOVA_CONF = """
[DEFAULT]
debug = True

[filter_scheduler]
enabled_filters = ComputeFilter,SameHostFilter

[pci]
device_spec = {"address":"0000:81:00.0"}
"""


@ddt.ddt
class PluginTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path)
        self.folder.joinpath('rootwrap.d').mkdir()
        self.folder.joinpath('nova.conf').write_text(NOVA_CONF)
        self.folder.joinpath('calls').touch()

    def install_command(self, exit_code=0):
        """What setup_develop would have installed."""
        program = self.folder.joinpath('nova-vf-failover')
        program.write_text(
            '#!/bin/sh\n'
            f'echo "check as $SG: $*" >>$CALLS\nexit {exit_code}\n')
        program.chmod(0o755)

    def stack(self, services, **settings):
        """Run all phases.

        :returns: what stack.sh would print
        """
        self.install_command(settings.pop('exit_code', 0))
        done = subprocess.run(
            ['bash', HERE / 'stack.sh'], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env={
                'PATH': os.environ['PATH'],
                'DEVSTACK_DIR': os.environ.get('DEVSTACK_DIR', ''),
                'HERE': str(HERE),
                'PLUGIN': str(ROOT / 'devstack'),
                'CALLS': str(self.folder / 'calls'),
                'DEST': '/opt/stack',
                'DATA_DIR': str(self.folder),
                'NOVA_CONF_DIR': str(self.folder),
                'NOVA_CONF': str(self.folder / 'nova.conf'),
                'NOVA_CPU_CONF': str(self.folder / 'nova-cpu.conf'),
                'NOVA_BIN_DIR': str(self.folder),
                'LIBVIRT_GROUP': 'libvirt',
                'ENABLED_SERVICES': services,
                **settings})
        self.assertEqual(0, done.returncode, done.stdout)
        return done.stdout

    @property
    def calls(self):
        return self.folder.joinpath('calls').read_text().splitlines()

    def options(self, file='nova-cpu.conf'):
        """What a service of Nova reads."""
        options = cfg.ConfigOpts()
        for module in (nova.conf.libvirt, nova.conf.pci, nova.conf.scheduler,
                       conf):
            module.register_opts(options)
        options(['--config-file', str(self.folder / file)], project='nova')
        return options

    def test_a_compute_host_has_it_enabled(self):
        self.stack('n-cpu')

        options = self.options()
        self.assertIs(True, options.vf_failover.enabled)
        self.assertEqual(16, options.libvirt.num_pcie_ports)
        self.assertIn(f'setup_develop {ROOT}/devstack/..', self.calls)

    def test_it_is_looked_at_as_one_who_may_use_libvirt(self):
        self.stack('n-cpu')

        self.assertIn('check as libvirt: --config-file '
                      f'{self.folder}/nova-cpu.conf check', self.calls)

    def test_what_is_not_set_keeps_its_default(self):
        self.stack('n-cpu')

        defaults = cfg.ConfigOpts()
        conf.register_opts(defaults)
        defaults([], default_config_files=[])
        options = self.options()
        for name in ('policy', 'peer_without_plugin', 'channel', 'steering'):
            self.assertEqual(defaults.vf_failover[name],
                             options.vf_failover[name], name)

    def test_settings_of_local_conf_are_taken(self):
        self.stack('n-cpu', VF_FAILOVER_ENABLED='False',
                   VF_FAILOVER_POLICY='required',
                   VF_FAILOVER_PEER_WITHOUT_PLUGIN='abort',
                   VF_FAILOVER_CHANNEL='metadata', VF_FAILOVER_STEERING='auto',
                   VF_FAILOVER_PCIE_PORTS='28')

        options = self.options()
        self.assertIs(False, options.vf_failover.enabled)
        self.assertEqual('required', options.vf_failover.policy)
        self.assertEqual('abort', options.vf_failover.peer_without_plugin)
        self.assertEqual('metadata', options.vf_failover.channel)
        self.assertEqual('auto', options.vf_failover.steering)
        self.assertEqual(28, options.libvirt.num_pcie_ports)

    def test_the_metadata_channel_may_hear_its_guests(self):
        filters = self.folder.joinpath('rootwrap.d',
                                       'nova-vf-failover.filters')
        self.stack('n-cpu')
        self.assertFalse(filters.exists())

        self.stack('n-cpu', VF_FAILOVER_CHANNEL='metadata')

        self.assertEqual(0o644, filters.stat().st_mode & 0o777)
        self.assertIn('nova_vf_failover.privileges.net_raw',
                      filters.read_text())

    def test_nova_is_told_of_the_pfs_that_the_agent_of_neutron_has(self):
        self.stack('n-cpu', PHYSICAL_DEVICE_MAPPINGS='red:ens1,blue:ens2f0')

        self.assertEqual(
            [{'address': '0000:81:00.0'},
             {'devname': 'ens1', 'physical_network': 'red'},
             {'devname': 'ens2f0', 'physical_network': 'blue'}],
            [json.loads(spec) for spec in self.options().pci.device_spec])

    def test_the_scheduler_looks_at_vfs(self):
        self.stack('n-sch')

        options = self.options('nova.conf')
        self.assertEqual(
            ['ComputeFilter', 'SameHostFilter', 'PciPassthroughFilter'],
            options.filter_scheduler.enabled_filters)
        self.assertIs(False, options.vf_failover.enabled)

        self.stack('n-sch')
        self.assertEqual(options.filter_scheduler.enabled_filters,
                         self.options().filter_scheduler.enabled_filters)

    @ddt.data('n-cpu', 'n-sch')
    def test_nobody_else_writes_into_novas_options_meanwhile(self, service):
        self.stack(service)

        untouched = hashlib.md5(
            NOVA_CONF.encode(), usedforsecurity=False).hexdigest()
        self.assertIn(f'async_wait configure_neutron_nova: {untouched}  -',
                      self.calls)

    def test_the_api_has_the_package_and_nothing_else(self):
        self.stack('n-api')

        self.assertEqual([f'setup_develop {ROOT}/devstack/..'], self.calls)
        self.assertEqual(NOVA_CONF,
                         self.folder.joinpath('nova.conf').read_text())

    def test_other_hosts_are_left_alone(self):
        self.stack('g-api,q-svc')

        self.assertEqual([], self.calls)
        self.assertEqual(NOVA_CONF,
                         self.folder.joinpath('nova.conf').read_text())

    def test_the_agent_is_made_for_images(self):
        self.stack('n-cpu')

        shown = subprocess.run([self.folder / 'vf-failover-agent', '--help'],
                               stdout=subprocess.PIPE, text=True, check=True)
        self.assertIn('vf-failover-agent', shown.stdout)

    def test_a_host_that_is_not_fit_ends_nothing(self):
        shown = self.stack('n-cpu', exit_code=2)

        said = '\n'.join([shown, *self.calls])
        self.assertIn('nova-vf-failover check: see what it says', said)

    def test_vfs_are_bound_beside_what_binds_other_ports(self):
        self.assertIn('mechanism drivers: ovn,sriovnicswitch\n',
                      self.stack('q-svc'))
        self.assertIn('mechanism drivers: openvswitch,sriovnicswitch\n',
                      self.stack('q-svc', Q_AGENT='openvswitch'))
        self.assertIn('mechanism drivers: mine\n', self.stack(
            'q-svc', Q_ML2_PLUGIN_MECHANISM_DRIVERS='mine'))


class PageTestCase(base.BaseTestCase):
    """What the page has users write into their local.conf."""

    def setUp(self):
        super().setUp()
        page = ROOT.joinpath('doc/source/devstack.rst').read_text()
        self.lines = [line.split() for line in page.splitlines()]

    def test_the_clone_has_the_branch(self):
        # Without a name DevStack takes master, which is not there.
        self.assertIn(['enable_plugin', 'nova-vf-failover', 'URL', 'main'],
                      self.lines)

    def test_the_agent_is_started_by_the_name_that_it_runs_as(self):
        # devstack/lib/l2_agent_sriovnicswitch in Neutron
        self.assertIn(['enable_service', 'q-sriov-agt'], self.lines)
