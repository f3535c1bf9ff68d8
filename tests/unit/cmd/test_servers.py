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

"""``nova-vf-failover list``, ``show`` and ``failback``."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.unit.cmd import base  # isort: skip

import contextlib
import json
import os
import threading
from unittest import mock

import ddt
import fixtures
from lxml import etree
from nova.tests.fixtures import libvirt as fakelibvirt

from nova_vf_failover.cmd import main
from nova_vf_failover import journal
from nova_vf_failover import moves
from nova_vf_failover import request
from tests.unit.simulation import contract
from tests.unit.simulation import test_hypervisor

State = journal.State
PORT = '5b0e3d0e-5d5c-4a3f-9c55-d7a4f04d6f01'
DEGRADED = (State.ATTACHING, State.SWITCHING, State.DETACHING, State.STANDBY)

FAILOVER = moves.Move(
    'failover', 'compute-1', 1764054728.0, 2.0, (PORT,), steps=(
        moves.Step('standby attach', 1764054728.0, 0.5),
        moves.Step('guest failover', 1764054728.5, 1.0),
        moves.Step('vf detach', 1764054729.5, 0.5)),
    guest=(moves.Step('prove', 1764054728.75, 0.5),
           moves.Step('switch', 1764054729.25, 0.0012)))
# The clock of this guest is an hour late.
FAILBACK = moves.Move(
    'failback', 'compute-2', 1764054736.0, 2.0, (PORT,), 'no carrier', steps=(
        moves.Step('vf attach', 1764054736.0, 1.0),
        moves.Step('guest failback', 1764054737.0, 1.0, 'no carrier')),
    guest=(moves.Step('dress', 1764051137.0, 1.0),))

PICTURE = '''\
failover (compute-1) |                                        |    2.00 s
  standby attach     |##                                      |  500.0 ms
  guest failover     |  ####                                  |    1.00 s
    prove            |   ==                                   |  500.0 ms
    switch           |     =                                  |    1.2 ms
  vf detach          |      ##                                |  500.0 ms
on the standby       |        ........................        |    6.00 s
failback (compute-2) |                                        |    2.00 s
  vf attach          |                                ####    |    1.00 s
  guest failback     |                                    ### |    1.00 s \
failed
    dress            |                                    === |    1.00 s
failover: 2025-11-25 07:12:08Z, 2.00 s, done; the guest was without a NIC in \
use for 1.2 ms
failback: 2025-11-25 07:12:16Z, 2.00 s, failed; not known how long the guest \
was without a NIC in use
  no carrier
'''


class ServersTestCase(base.CommandTestCase):

    def setUp(self):
        super().setUp()
        self.config['vf_failover']['enabled'] = 'true'

    def json(self, *arguments, code=0):
        ended, out, err = self.run_command(*arguments, '--json')
        self.assertEqual((code, ''), (ended, err))
        return json.loads(out)

    def write(self, domain, *states, reason='', attempt=None):
        entries = journal.Journal(7)
        for state in states:
            entries = entries.moved(PORT, contract.MAC, state, reason)
        if attempt is not None:
            entries = entries.tried([PORT], attempt)
        domain.setMetadata(
            contract.ELEMENT, entries.to_xml() if states else None,
            journal.PREFIX, journal.NAMESPACE, contract.LIVE)

    def degrade(self):
        domain = self.boot()
        domain.attachDeviceFlags(
            test_hypervisor.macvtap('alpha'), contract.LIVE)
        self.write(domain, *DEGRADED, reason='no VF')
        return domain


class ListTestCase(ServersTestCase):

    def test_none(self):
        self.assertEqual([], self.json('list'))
        self.assertEqual(0, self.run_command('list')[0])

    def test_nobody_reads_on(self):
        path = self.root / 'nova.conf'
        self.write_options(path, self.config)
        reading, writing = os.pipe()
        os.close(reading)

        with open(writing, 'w') as nobody:
            with contextlib.redirect_stdout(nobody):
                code = main.main(['--config-file', str(path), 'list'])

        self.assertEqual(141, code)

    def test_without_a_vf_it_is_no_server_of_ours(self):
        self.connection.defineXML(contract.domain()).createWithFlags(0)

        self.assertEqual([], self.json('list'))

    def test_on_its_vf(self):
        self.boot()

        server, = self.json('list')

        self.assertEqual((base.UUID, 'web-1', 'on VF', []), (
            server['server'], server['name'], server['state'],
            server['last_move']))
        self.assertEqual(
            [{'mac': contract.MAC, 'role': 'primary', 'on': base.VFS[0]}],
            server['nics'])

    def test_degraded(self):
        self.degrade()

        server, = self.json('list')

        self.assertEqual('degraded', server['state'])
        self.assertEqual(['primary', 'standby'],
                         [nic['role'] for nic in server['nics']])
        port, = server['journal']['ports']
        self.assertEqual((PORT, 'standby', 'no VF'),
                         (port['id'], port['state'], port['reason']))
        self.assertIn('degraded', self.run_command('list')[1])

    def test_a_vf_that_the_guest_may_yet_let_go(self):
        domain = self.boot()
        kept = journal.Journal(7, kept={PORT: contract.MAC})
        domain.setMetadata(contract.ELEMENT, kept.to_xml(), journal.PREFIX,
                           journal.NAMESPACE, contract.LIVE)

        server, = self.json('list')

        self.assertEqual('on VF', server['state'])
        self.assertEqual([{'id': PORT, 'mac': contract.MAC}],
                         server['journal']['kept'])
        self.assertIn('on VF, VF kept', self.run_command('list')[1])
        page = self.run_command('show', 'web-1')[1]
        self.assertIn(f'{PORT} ({contract.MAC}): the guest was asked', page)

    def test_a_vf_that_the_guest_has_let_go(self):
        domain = self.boot()
        kept = journal.Journal(7, kept={PORT: contract.MAC})
        domain.setMetadata(contract.ELEMENT, kept.to_xml(), journal.PREFIX,
                           journal.NAMESPACE, contract.LIVE)
        self.hosts.world.answers.clear()
        self.addCleanup(self.hosts.world.answers.set)
        domain.detachDeviceFlags(self.primary(domain), contract.LIVE)
        domain.reset()

        server, = self.json('list')

        self.assertEqual(('degraded', [], [PORT]), (
            server['state'], server['nics'], server['journal']['lost']))
        self.assertIn('has let it go', self.run_command('show', 'web-1')[1])
        asked = self.json('failback', 'web-1')
        self.assertIsNotNone(asked['requested_at'])
        # One that is in neither domain has left the server.
        domain.detachDeviceFlags(self.primary(domain), contract.CONFIG)
        server, = self.json('list')
        self.assertEqual('on VF', server['state'])

    def primary(self, domain):
        element = etree.fromstring(domain.XMLDesc(contract.INACTIVE)).find(
            './devices/interface')
        return etree.tostring(element, encoding='unicode')

    def test_a_domain_that_goes_meanwhile_is_nobody(self):
        self.boot()
        gone = mock.Mock()
        gone.XMLDesc.side_effect = fakelibvirt.make_libvirtError(
            fakelibvirt.libvirtError, 'no domain',
            error_code=fakelibvirt.VIR_ERR_NO_DOMAIN)
        listed = self.connection.listAllDomains

        with mock.patch.object(
                self.connection, 'listAllDomains',
                lambda *arguments: [gone, *listed(*arguments)]):
            self.assertEqual('on VF', self.json('show', 'web-1')['state'])

    def test_moving_and_unknown(self):
        domain = self.boot()
        self.write(domain, State.ATTACHING)
        self.assertEqual('moving', self.json('list')[0]['state'])

        domain.setMetadata(contract.ELEMENT, '<journal/>', journal.PREFIX,
                           journal.NAMESPACE, contract.LIVE)
        server, = self.json('list')
        self.assertEqual('unknown', server['state'])
        self.assertIn('cannot be read', server['journal']['fault'])

    def test_libvirt_is_not_reached(self):
        def refuse(uri, auth, flags):
            raise self.libvirt.libvirtError('no socket')

        self.libvirt.openAuth = refuse

        code, out, err = self.run_command('list')

        self.assertEqual((2, ''), (code, out))
        self.assertIn('libvirt cannot be reached: no socket.', err)
        self.assertIn('Start libvirtd', err)

    def test_libvirt_is_where_nova_has_it(self):
        asked = []

        def connect(uri, auth, flags):
            asked.append(uri)
            return self.connection

        self.libvirt.openAuth = connect

        self.json('list')
        self.config['libvirt'] = {'connection_uri': 'qemu+tcp://here/system'}
        self.json('list')

        self.assertEqual(['qemu:///system', 'qemu+tcp://here/system'], asked)

    def test_libvirt_does_not_print_errors_itself(self):
        handlers = []

        def connect(uri, auth, flags):
            self.assertEqual(1, len(handlers))
            return self.connection

        self.libvirt.registerErrorHandler = (
            lambda handler, context: handlers.append(handler))
        self.libvirt.openAuth = connect

        _, _, err = self.run_command('list')

        self.assertIsNone(handlers[0](None, ('no socket',)))
        self.assertEqual('', err)


class PasswordTestCase(ServersTestCase):
    """A libvirt that lets in who has a password (SASL)."""

    def setUp(self):
        super().setUp()
        self.flags = []
        self.asked = []
        self.libvirt.openAuth = self.log_in

    def log_in(self, uri, auth, flags):
        """As remoteAuthInteract of libvirt's src/remote/remote_driver.c.

        What is in no auth.conf the callback is asked for, be it nothing.
        """
        kinds, callback, opaque = auth
        self.assertLessEqual({
            self.libvirt.VIR_CRED_AUTHNAME,
            self.libvirt.VIR_CRED_PASSPHRASE}, set(kinds))
        if callback(self.asked, opaque) < 0:
            raise self.libvirt.libvirtError(
                'authentication failed: Failed to collect auth credentials')
        self.flags.append(flags)
        return self.connection

    def test_it_is_in_auth_conf(self):
        self.degrade()

        self.assertEqual('degraded', self.json('list')[0]['state'])
        self.assertEqual(0, self.run_command('failback', 'web-1')[0])

        self.assertEqual([self.libvirt.VIR_CONNECT_RO, 0], self.flags)

    def test_it_is_nowhere(self):
        self.asked = [[self.libvirt.VIR_CRED_PASSPHRASE, 'Please enter your '
                       'password', None, None, None]]

        code, out, err = self.run_command('list')

        self.assertEqual((2, ''), (code, out))
        self.assertIn('authentication failed', err)
        self.assertIn('the user of nova-compute', err)
        self.assertNotIn('Traceback', err)


class ShowTestCase(ServersTestCase):

    def test_picture(self):
        domain = self.boot()
        moves.keep(domain, FAILOVER)
        moves.keep(domain, FAILBACK)

        _, out, _ = self.run_command('show', 'web-1')

        self.assertIn(PICTURE, out)
        self.assertTrue(out.isascii())

    def test_a_clock_that_is_right_is_believed(self):
        domain = self.boot()
        early = moves.Step('dress', FAILBACK.started + 0.5, 0.25)
        moves.keep(domain, moves.Move(**{**vars(FAILBACK),
                                         'guest': (early,)}))

        _, out, _ = self.run_command('show', 'web-1')

        line, = (line for line in out.splitlines() if 'dress' in line)
        self.assertEqual(10, line.split('|')[1].index('='))

    def test_the_same_as_json(self):
        domain = self.boot()
        moves.keep(domain, FAILOVER)

        server = self.json('show', base.UUID)

        move, = server['last_move']
        self.assertEqual(('failover', 'compute-1', 0.0012, [PORT]), (
            move['move'], move['host'], move['interruption_s'],
            move['ports']))
        self.assertEqual([step.name for step in FAILOVER.guest],
                         [step['name'] for step in move['guest_steps']])

    def test_never_moved(self):
        self.boot()

        self.assertIn('has not been moved',
                      self.run_command('show', 'contract')[1])

    def test_journal_and_request(self):
        request.write(self.degrade(), 1764054740.0)

        _, out, _ = self.run_command('show', base.UUID)

        for words in (f'{PORT} ({contract.MAC}): standby since 20', 'no VF',
                      'asked for | 2025-11-25 07:12:20Z'):
            self.assertIn(words, out)

    def test_attempts_of_recovery(self):
        domain = self.degrade()
        for attempt, words in ((1764054740.0, '1, the next one at '
                                '2025-11-25 07:12:20Z'),
                               (0.0, '1, the next one if it is asked for')):
            self.write(domain, *DEGRADED, reason='no VF', attempt=attempt)

            self.assertIn(words, self.run_command('show', 'web-1')[1])
            port, = self.json('show', 'web-1')['journal']['ports']
            self.assertEqual((1, attempt or None), (
                port['attempts'], port['next_attempt_at']))

    def test_nobody_of_that_name(self):
        self.boot()

        code, out, err = self.run_command('show', 'web-2')

        self.assertEqual((2, ''), (code, out))
        self.assertIn('no running server web-2 on this host', err)

    def test_two_of_that_name(self):
        self.boot()
        other = base.UUID.replace('7c', '8c', 1)
        xml = contract.domain().replace(base.UUID, other).replace(
            '<name>contract', '<name>other').replace(
                '<memory', f'{base.SERVER}<memory', 1)
        self.connection.defineXML(xml).createWithFlags(0)

        code, _, err = self.run_command('show', 'web-1')

        self.assertEqual(2, code)
        self.assertIn(other, err)


@ddt.ddt
class FailbackTestCase(ServersTestCase):

    def setUp(self):
        super().setUp()
        self.domain = self.degrade()

    def nova_compute(self, *states, reason=''):
        """What recovery does when it finds a request."""
        written = threading.Event()
        write = request.write

        def observed(domain):
            result = write(domain)
            written.set()
            return result

        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.cmd.main.request.write', observed))

        def work():
            self.assertTrue(written.wait(60))
            self.write(self.domain, *states, reason=reason)
            request.remove(self.domain)

        thread = threading.Thread(target=work)
        thread.start()
        self.addCleanup(thread.join)

    def test_is_asked_for(self):
        code, out, _ = self.run_command('failback', 'web-1')

        self.assertEqual(0, code)
        self.assertIn('is degraded. It was asked for', out)
        self.assertIsNotNone(request.read(self.domain))

    def test_libvirt_takes_no_request_while_it_migrates(self):
        self.domain.busy = True

        code, out, _ = self.run_command('failback', 'web-1', '--wait')

        self.assertEqual(1, code)
        self.assertIn('libvirt is migrating or saving it', out)
        self.assertIsNone(request.read(self.domain))

    def test_waits_until_it_is_back(self):
        self.nova_compute()

        code, out, _ = self.run_command('failback', 'web-1', '--wait')

        self.assertEqual(0, code)
        self.assertIn('is on its VFs.', out)

    def test_waits_until_it_has_not_worked(self):
        self.nova_compute(*DEGRADED, reason='still no VF')

        server = self.json('failback', 'web-1', '--wait', code=1)

        self.assertIn('degraded after an attempt: still no VF',
                      server['message'])
        self.assertEqual('degraded', server['state'])

    @ddt.data({'enabled': 'false'}, {'recovery_interval': '0'})
    def test_nobody_will_try(self, options):
        self.config['vf_failover'].update(options)

        code, out, _ = self.run_command('failback', 'web-1', '--wait')

        self.assertEqual(1, code)
        self.assertIn('nobody will try', out)
        self.assertIsNotNone(request.read(self.domain))

    def test_nobody_tries(self):
        code, out, _ = self.run_command('failback', 'web-1', '--wait',
                                        '--timeout', '0.1')

        self.assertEqual(1, code)
        self.assertIn('has not tried within 0.1 s', out)
        self.assertIsNotNone(request.read(self.domain))

    def test_nothing_to_be_done(self):
        self.write(self.domain)

        code, out, _ = self.run_command('failback', 'web-1', '--wait')

        self.assertEqual(0, code)
        self.assertIn('is on its VFs.', out)
        self.assertIsNone(request.read(self.domain))

    def test_the_domain_has_gone(self):
        def gone(*arguments):
            raise self.libvirt.libvirtError('Domain not found')

        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.cmd.main.request.write', gone))

        code, _, err = self.run_command('failback', 'web-1')

        self.assertEqual(2, code)
        self.assertIn('libvirt: Domain not found', err)

    def test_a_fault_of_ours_is_no_result_of_a_check(self):
        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.cmd.main.servers.pick', lambda *_: 1 / 0))

        code, _, err = self.run_command('failback', 'web-1')

        self.assertEqual(255, code)
        self.assertIn('ZeroDivisionError', err)

    def test_what_nobody_understands_is_not_asked_for(self):
        self.domain.setMetadata(
            contract.ELEMENT, '<journal/>', journal.PREFIX,
            journal.NAMESPACE, contract.LIVE)

        code, out, _ = self.run_command('failback', 'web-1', '--wait')

        self.assertEqual(1, code)
        self.assertIn('is unknown, and nobody will try: The journal', out)
        self.assertIn('hard reboot', out)
        self.assertIsNone(request.read(self.domain))
