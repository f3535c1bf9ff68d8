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

"""``nova-vf-failover check``: each fault is named, with its cure."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.unit.cmd import base  # isort: skip

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from unittest import mock

import ddt
import fixtures
from lxml import etree
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.virt.libvirt import driver as nova_driver

from nova_vf_failover.cmd import servers
from nova_vf_failover import journal
from tests.simulation import paper_agent
from tests.unit.simulation import contract

Mood = paper_agent.Mood

OK, WARNING, ERROR = 0, 1, 2

PROGRAM = 'import sys; from nova_vf_failover.cmd import main; main.main()'
# What nova-compute logs goes to a file, which is there from then on.
LOGGERS = '''
[loggers]
keys = root
[handlers]
keys = file
[formatters]
keys =
[logger_root]
level = DEBUG
handlers = file
[handler_file]
class = FileHandler
args = ('{log}',)
'''


class CheckTestCase(base.CommandTestCase):

    def check(self, *arguments):
        """The exit code, and what was found that is not well."""
        code, out, err = self.run_command('check', '--json', *arguments)
        self.assertEqual('', err)
        found = json.loads(out)['checks']
        self.assertEqual(code, max(one['result'] for one in found))
        return code, [(one['result'], one['check'], one['details'])
                      for one in found if one['result'] != OK]

    def assertOnly(self, level, subject, *words):
        """The one thing that is not well, and what is said of it."""
        code, found = self.check()
        self.assertEqual([(level, subject)], [one[:2] for one in found],
                         found)
        self.assertEqual(level, code)
        for word in words:
            self.assertIn(word, found[0][2])


class GoodHostTestCase(CheckTestCase):

    def test_nothing_is_wrong(self):
        self.boot()

        code, out, err = self.run_command('check')

        self.assertEqual((OK, ''), (code, err))
        lines = out.splitlines()
        self.assertEqual({'OK'}, {line.split()[0] for line in lines})
        for words in ('Nova ', "Nova's methods ", 'Options ',
                      'Drivers ', 'Compute driver ', 'libvirt ', 'QEMU ',
                      'Privileges ', 'PF alphapf0 ', 'vfio-pci ',
                      'vhost-net ',
                      f'Server web-1 ({base.UUID}) '):
            self.assertTrue([line for line in lines
                             if line[9:].startswith(words)], words)
        self.assertIn('enabled = false: nothing is swapped until', out)

    def test_the_same_as_json(self):
        code, out, _ = self.run_command('check', '--json')

        document = json.loads(out)
        self.assertEqual(OK, code)
        self.assertEqual('nova-vf-failover check', document['name'])
        self.assertEqual({OK}, {one['result'] for one in document['checks']})
        self.assertIn('None with VFs runs on this host.',
                      [one['details'] for one in document['checks']])

    def test_a_guest_is_not_asked_if_that_is_wanted(self):
        self.boot()
        self.agent.mood = Mood.MISSING

        self.assertEqual((OK, []), self.check('--skip-guests'))

    def test_channel_metadata_with_its_own_privileges(self):
        self.config['vf_failover']['channel'] = 'metadata'
        self.boot()
        self.agent.mood = Mood.MISSING

        code, out, _ = self.run_command('check')

        self.assertEqual(OK, code)
        self.assertIn('to hear guests on their standby NICs', out)
        self.assertIn('cannot be asked beforehand', out)


@ddt.ddt
class FilesTestCase(CheckTestCase):
    """Where the options are looked for if no file is named."""

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.EnvironmentVariable('HOME', str(self.root)))
        self.folder = self.root / '.nova'
        self.folder.joinpath('nova-compute.conf.d').mkdir(parents=True)

    def test_what_nova_compute_reads_is_read(self):
        driver = self.config['DEFAULT'].pop('compute_driver')
        self.write_options(self.folder / 'nova.conf', self.config)
        # Debian's packages have the driver here, and nothing of it there.
        self.write_options(self.folder / 'nova-compute.conf',
                           {'DEFAULT': {'compute_driver': driver}})
        late = self.folder / 'nova-compute.conf.d' / 'late.conf'
        self.write_options(late, {'vf_failover': {'failover_timout': '9'}})

        code, out, _ = self.run_with('check')

        self.assertIn(f'OK       Compute driver  {driver}.', out)
        self.assertIn(f'failover_timout in {late} is no option', out)
        self.assertEqual(WARNING, code, out)

    def test_what_cannot_be_read_is_no_warning(self):
        broken = self.root / 'broken.conf'
        broken.write_text('enabled\n')

        for path in (broken, self.root / 'missing.conf'):
            code, out, err = self.run_with('--config-file', str(path), 'check')

            self.assertEqual((ERROR, ''), (code, out))
            self.assertIn(str(path), err)
            self.assertNotIn('Traceback', err)

    @ddt.data(
        (b'[libvirt]\nvirt_type = k\xe4m\n', 'utf-8'),
        (b'[DEFAULT]\ndebug = jein\n', 'Invalid Boolean value: jein'),
        (b'[libvirt]\nvirt_type = foo\n', 'virt_type'))
    @ddt.unpack
    def test_a_value_that_is_none_is_no_warning(self, content, reason):
        broken = self.root / 'broken.conf'
        broken.write_bytes(content)

        code, _out, err = self.run_with(
            '--config-file', str(broken), 'check', '--skip-guests')

        self.assertEqual(ERROR, code, err)
        self.assertIn('The options cannot be read', err)
        self.assertIn(reason, err)
        self.assertNotIn('Traceback', err)

    @ddt.data(('log_config_append', 'logging.conf'), ('log_file', 'nova.log'),
              ('log_dir', ''))
    @ddt.unpack
    def test_the_log_of_nova_compute_is_left_alone(self, option, name):
        log = self.root / 'nova.log'
        loggers = self.root / 'logging.conf'
        loggers.write_text(LOGGERS.format(log=log))
        self.config['DEFAULT'][option] = str(self.root / name)
        path = self.root / 'nova.conf'
        self.write_options(path, self.config)

        ended = subprocess.run(
            [sys.executable, '-c', PROGRAM, '--config-file', str(path),
             'check', '--skip-guests', '--json'],
            capture_output=True, text=True, timeout=60,
            env={**os.environ, 'PATH': os.defpath})

        self.assertTrue(ended.stdout, ended.stderr)
        self.assertEqual('nova-vf-failover check',
                         json.loads(ended.stdout)['name'])
        self.assertEqual([], list(self.root.glob('*.log')))


class SoftwareTestCase(CheckTestCase):

    def test_unknown_nova(self):
        self.useFixture(fixtures.MockPatch(
            'nova.version.version_string', return_value='35.0.0'))

        self.assertOnly(ERROR, 'Nova', 'Works with Nova 29 to 34',
                        'this is Nova 35.0.0', 'install a release')

    def test_changed_method_of_nova(self):
        self.useFixture(fixtures.MockPatchObject(
            nova_driver.LibvirtDriver, 'live_migration',
            new=lambda self, context: None))

        self.assertOnly(ERROR, "Nova's methods",
                        'has changed live_migration')

    def test_wrong_value(self):
        self.config['vf_failover']['failback_timeout'] = 'soon'

        self.assertOnly(ERROR, 'Options', 'failback_timeout', 'soon',
                        'Correct it.')

    def test_option_that_is_none(self):
        self.config['vf_failover']['failback_timout'] = '10'

        self.assertOnly(WARNING, 'Options', 'failback_timout in ',
                        'nova.conf is no option',
                        'meant to be failback_timeout')

    def test_unknown_driver(self):
        self.config['vf_failover']['channel'] = 'pigeon'

        self.assertOnly(ERROR, 'Drivers', 'channel = pigeon is no driver',
                        'there is: metadata, qga')

    def test_unknown_standby_driver(self):
        self.config['vf_failover']['standby'] = 'bridge'

        self.assertOnly(ERROR, 'Drivers', 'standby = bridge', 'macvtap')

    def test_other_compute_driver(self):
        self.config['DEFAULT']['compute_driver'] = 'fake.FakeDriver'

        self.assertOnly(ERROR, 'Compute driver', 'fake.FakeDriver',
                        'compute_driver = libvirt.LibvirtDriver')

    def test_libvirt_is_not_reached(self):
        def refuse(uri, auth, flags):
            raise self.libvirt.libvirtError(
                'Failed to connect socket to /var/run/libvirt/libvirt-sock')

        self.libvirt.openAuth = refuse

        self.assertOnly(ERROR, 'libvirt', 'Failed to connect socket',
                        'Start libvirtd or virtqemud')

    def test_libvirt_python_is_missing(self):
        self.libvirt.openAuth = self.missing

        self.assertOnly(ERROR, 'libvirt', 'Install libvirt-python')

    @staticmethod
    def missing(uri, auth, flags):
        raise ImportError('libvirt')

    def test_old_libvirt(self):
        self.connection.fakeLibVersion = 7000000
        self.useFixture(fixtures.MockPatchObject(
            nova_driver, 'MIN_LIBVIRT_VERSION', (8, 0, 0)))

        self.assertOnly(ERROR, 'libvirt', '7.0.0 is too old', 'needs 8.0.0',
                        'Upgrade it')

    def test_other_hypervisor(self):
        self.config['libvirt'] = {'virt_type': 'lxc'}

        self.assertOnly(ERROR, 'libvirt', 'virt_type is lxc',
                        'Only kvm and qemu')

    def test_q35_without_ports(self):
        self.config['libvirt'] = {'hw_machine_type': 'x86_64=q35'}

        self.assertOnly(WARNING, 'PCI slots', 'q35',
                        'Set [libvirt] num_pcie_ports')


class PrivilegesTestCase(CheckTestCase):

    def test_no_rootwrap_conf(self):
        self.rootwrap.unlink()

        self.assertOnly(ERROR, 'Privileges', f'{self.rootwrap} cannot be '
                        'read', 'correct rootwrap_config')

    def test_helper_is_where_rootwrap_does_not_look(self):
        self.rootwrap.write_text(self.rootwrap.read_text().replace(
            f'exec_dirs={self.root}/bin', 'exec_dirs=/nonexistent'))

        self.assertOnly(ERROR, 'Privileges', 'privsep-helper is in none of '
                        'the exec_dirs', '/nonexistent',
                        'Add the directory')

    def test_helper_that_no_filter_lets_in(self):
        self.config['vf_failover']['channel'] = 'metadata'
        self.config['nova_vf_failover_net_raw'] = {
            'helper_command':
                'sudo nova-rootwrap {root}/etc/nova/rootwrap.conf my-helper'}

        self.assertOnly(ERROR, 'Privileges', 'to hear guests',
                        'no filter in', '"my-helper', 'helper_command of '
                        'this context', 'privsep-helper')

    def test_rootwrap_conf_that_is_none(self):
        self.rootwrap.write_text('[DEFAULT]\n')

        self.assertOnly(ERROR, 'Privileges', 'is wrong', 'filters_path')

    def test_no_sudo(self):
        (self.root / 'bin' / 'sudo').unlink()

        self.assertOnly(ERROR, 'Privileges', 'there is no sudo',
                        'Install sudo')

    def test_helper_of_the_operator_is_missing(self):
        self.config['nova_sys_admin'] = {'helper_command': '/opt/helper'}

        self.assertOnly(ERROR, 'Privileges', 'no program /opt/helper',
                        'correct helper_command')


@ddt.ddt
class HardwareTestCase(CheckTestCase):

    @ddt.data(
        ({'up': False}, 'is down', 'ip link set alphapf0 up'),
        ({'carrier': False}, 'has no carrier', 'cable'),
        ({'master': 'br-ex', 'master_kind': 'bridge'},
         'is a port of the bridge br-ex', 'Take alphapf0 out of br-ex'))
    @ddt.unpack
    def test_pf(self, fault, words, cure):
        links = self.plane.links
        links['alphapf0'] = dataclasses.replace(links['alphapf0'], **fault)

        self.assertOnly(ERROR, 'PF alphapf0', f'PF alphapf0 {words}', cure)

    def test_no_iommu(self):
        for address in base.VFS:
            shutil.rmtree(self.devices / address / 'iommu_group')

        self.assertOnly(ERROR, 'PF alphapf0', '0000:81:00.1 and 1 more have '
                        'no IOMMU group', 'intel_iommu=on')

    def test_no_vfio(self):
        self.modules.write_text(
            f'kernel/drivers/vfio/vfio.ko:\n{base.VHOST}:\n')

        self.assertOnly(ERROR, 'vfio-pci', 'has no driver vfio-pci',
                        'Install')

    def test_no_vhost(self):
        self.modules.write_text(
            f'{base.VFIO}:\nkernel/drivers/vhost/vhost.ko:\n')

        self.assertOnly(WARNING, 'vhost-net', 'a standby carries nothing',
                        'Install')

    def test_sysctls_that_cannot_be_written(self):
        self.useFixture(fixtures.MockPatch(
            'tests.simulation.hosts.PaperLinks.can_keep_host_off',
            return_value=False))

        self.assertOnly(WARNING, 'VLANs', 'may not write to /proc/sys here',
                        'on a VLAN', 'container be privileged')

    def test_addresses_that_a_standby_does_not_reach(self):
        self.useFixture(fixtures.MockPatch(
            'tests.simulation.hosts.PaperLinks.addresses',
            return_value=['192.0.2.1/24']))

        self.assertOnly(WARNING, 'PF alphapf0', '192.0.2.1/24 on alphapf0',
                        'do not reach each other', 'another NIC')

    def test_both_are_loaded(self):
        self.modules.unlink()
        self.load_modules()

        self.assertEqual((OK, []), self.check())

    @ddt.data(('5.15.0-91-generic', None, '5.15.0-91-generic'),
              ('5.18.15', None, '5.18.15'),
              # The driver of Linux had a version of its own once.
              ('5.4.0-80-generic', '0.8.2-k', '5.4.0-80-generic'),
              ('6.8.0-40-generic', '1.6.4', "Intel's own ice 1.6.4"))
    @ddt.unpack
    def test_ice_before_it_could_share(self, release, version, named):
        self.run_kernel(release, version)

        self.assertOnly(ERROR, 'PF alphapf0', named, 'Use Linux 5.19')

    @ddt.data(('5.18.16', None), ('5.19.0', None), ('6.1.0-18-amd64', None),
              ('5.15.0-91-generic', '1.9.11'), ('5.4.0', '1.10.1.2.2'),
              ('4.18.0-305.el8.x86_64', '1.6.7'))
    @ddt.unpack
    def test_ice_that_can_share(self, release, version):
        self.run_kernel(release, version)

        self.assertEqual((OK, []), self.check())

    @ddt.data(('4.18.0-372.9.1.el8.x86_64', None),
              ('5.14.0-70.13.1.el9_0.x86_64', '5.14.0-70.13.1.el9_0.x86_64'))
    @ddt.unpack
    def test_ice_of_a_kernel_with_what_is_newer(self, release, version):
        self.run_kernel(release, version)

        self.assertOnly(WARNING, 'PF alphapf0', release, 'may give',
                        'test server')

    def run_kernel(self, release, version):
        """Have this host run a kernel, with an ice of this version."""
        self.useFixture(fixtures.MockPatch(
            'platform.release', return_value=release))
        self.load_modules()
        ice = self.root / 'sys' / 'module' / 'ice'
        ice.mkdir(parents=True)
        if version:
            (ice / 'version').write_text(f'{version}\n')

    def test_driver_that_nobody_has_read(self):
        self.set_driver('qede')

        self.assertOnly(WARNING, 'PF alphapf0', 'Nobody has read what qede',
                        'test server')

    def test_legacy_mode_of_a_driver_that_tells_a_switch(self):
        self.add_port('alphapf0', '0a1b2c', 'p0')
        self.add_port('alphapf1', '0a1b2c', 'p1')
        self.add_port('other0', 'ffffff', 'pf0vf0')
        (self.root / 'sys' / 'class' / 'net' / 'lo').mkdir()

        self.assertEqual((OK, []), self.check())

    @ddt.data('pf0vf1', 'c0pf0vf1')
    def test_switchdev(self, representor):
        self.add_port('alphapf0', '0a1b2c', 'p0')
        self.add_port('eth0', '0a1b2c', representor)

        self.assertOnly(WARNING, 'PF alphapf0', 'switchdev',
                        f'devlink dev eswitch set pci/{base.PF} mode legacy')

    def add_port(self, name, switch, port):
        path = self.root / 'sys' / 'class' / 'net' / name
        path.mkdir(parents=True)
        (path / 'phys_switch_id').write_text(f'{switch}\n')
        (path / 'phys_port_name').write_text(f'{port}\n')

    @ddt.data('{"vendor_id": "15b3", "physical_network": "physnet4"}',
              '{"vendor_id": "8086", "product_id": "1515"}')
    def test_no_vf_for_neutron(self, spec):
        self.config['pci']['device_spec'] = spec

        self.assertOnly(WARNING, 'VFs', 'device_spec',
                        'with a physical_network', 'name them there')

    def test_the_first_device_spec_that_matches_counts(self):
        self.config['pci']['device_spec'] = (
            '{"vendor_id": "8086", "product_id": "1515"}\ndevice_spec = '
            + self.config['pci']['device_spec'])

        self.assertOnly(WARNING, 'VFs', 'with a physical_network')

    def test_device_spec_that_is_none(self):
        self.config['pci']['device_spec'] = '{"vendor_id": "many"}'

        self.assertOnly(ERROR, 'VFs', 'cannot be understood', 'many',
                        'Correct it.')


SUBJECT = f'Server web-1 ({base.UUID})'


@ddt.ddt
class GuestTestCase(CheckTestCase):

    def setUp(self):
        super().setUp()
        self.config['vf_failover']['check_timeout'] = '1'

    @ddt.data(
        (Mood.MISSING, 'cannot do guest-exec', 'hw_qemu_guest_agent=yes'),
        (Mood.SILENT, 'has not answered within', 'The image needs'),
        (Mood.REFUSING, 'eth0 is a port of bridge br0', 'Mend that'))
    @ddt.unpack
    def test_agent(self, mood, words, cure):
        self.boot()
        self.agent.mood = mood

        self.assertOnly(WARNING, SUBJECT, words, cure)

    def test_it_is_an_error_where_a_swap_is_required(self):
        self.config['vf_failover']['policy'] = 'required'
        self.boot()
        self.agent.mood = Mood.REFUSING

        self.assertOnly(ERROR, SUBJECT, 'br0')

    def test_image_without_qemu_guest_agent(self):
        self.boot(channel='org.example.other.0')

        self.assertOnly(WARNING, SUBJECT, 'QEMU guest agent is not '
                        'configured', 'hw_qemu_guest_agent=yes')

    @ddt.data((fakelibvirt.VIR_ERR_NO_DOMAIN, OK),
              (fakelibvirt.VIR_ERR_INTERNAL_ERROR, ERROR))
    @ddt.unpack
    def test_a_server_that_goes_meanwhile(self, fault, expected):
        domain = self.boot()
        list_servers = servers.all_of

        def and_it_goes(listed):
            found = list_servers(listed)
            domain.XMLDesc = mock.Mock(
                side_effect=fakelibvirt.make_libvirtError(
                    fakelibvirt.libvirtError, 'no', error_code=fault))
            return found

        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.cmd.guests.servers.all_of', and_it_goes))

        self.assertEqual(expected, self.run_command('check')[0])

    def test_a_server_that_ends_while_its_agent_answers(self):
        domain = self.boot()
        self.agent.mood = Mood.SILENT
        domain.isActive = mock.Mock(return_value=0)

        self.assertEqual((OK, []), self.check())

    def test_one_slot_is_free(self):
        self.boot(ports=2)

        self.assertEqual((OK, []), self.check())

    def test_no_slot_is_free(self):
        self.boot(ports=1)

        self.assertOnly(WARNING, SUBJECT, 'It has 0 free PCI slots',
                        'num_pcie_ports')

    def test_degraded(self):
        domain = self.boot()
        entries = journal.Journal(7)
        for state in (journal.State.ATTACHING, journal.State.SWITCHING,
                      journal.State.DETACHING, journal.State.STANDBY):
            entries = entries.moved('port', contract.MAC, state, 'no VF')
        self.write(domain, entries.to_xml())

        self.assertOnly(WARNING, SUBJECT, 'degraded: no VF',
                        f'nova-vf-failover show {base.UUID}')

    def test_journal_that_cannot_be_read(self):
        domain = self.boot()
        self.write(domain, '<journal/>')

        self.assertOnly(ERROR, SUBJECT, 'cannot be read', 'hard reboot')

    def write(self, domain, xml):
        domain.setMetadata(contract.ELEMENT, xml, journal.PREFIX,
                           journal.NAMESPACE, contract.LIVE)
        self.assertIsNotNone(etree.fromstring(domain.XMLDesc(0)))
