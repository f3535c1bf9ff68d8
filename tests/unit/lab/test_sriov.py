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

"""The nested hosts' lab, as far as it goes without booting anything."""

import json
import os
import socket
import tempfile
import threading
from unittest import mock

from lxml import etree
from oslotest import base

from tests.lab.compare import recipe
from tests.lab.compare import schemes as compare
from tests.lab import emulator
from tests.lab import errors
from tests.lab import image as images
from tests.lab import machine
from tests.lab import seed as seeds
from tests.lab.sriov import fabric
from tests.lab.sriov import guest
from tests.lab.sriov import host
from tests.lab.sriov import pair
from tests.lab.sriov import schemes
from tests.lab.sriov import tagging

# Links in the guests' initramfs; nothing can be laid over one.
_LINKS = ('bin', 'sbin', 'lib', 'lib64')


class PortTestCase(base.BaseTestCase):

    def test_two_share_nothing(self):
        one, other = guest.Port(0), guest.Port(1)

        for name in ('server', 'mac', 'address', 'slot'):
            self.assertNotEqual(getattr(one, name), getattr(other, name))

    def test_its_vf_is_the_one_that_the_desk_is_told(self):
        port = guest.Port(2)
        address = etree.fromstring(port.vf()).find('source/address')

        self.assertEqual(port.slot, '{:04x}:{:02x}:{:02x}.{}'.format(*(
            int(address.get(part), 0) for part in (
                'domain', 'bus', 'slot', 'function'))))

    def test_its_standby_is_on_the_vlan_of_its_vf(self):
        port = guest.Port(0, vlan=7)
        vf, standby = map(etree.fromstring, (port.vf(), port.macvtap()))

        self.assertEqual('7', vf.find('vlan/tag').get('id'))
        self.assertEqual(f'{host.PF}.7', standby.find('source').get('dev'))

    def test_there_is_a_vf_for_each_scheme(self):
        self.assertLessEqual(len(schemes.EVERY), host.VFS)


class SeedTestCase(base.BaseTestCase):

    def test_nothing_is_laid_over_a_link(self):
        for kind in schemes.EVERY:
            for path in kind(guest.Port(0)).seed().files:
                self.assertNotIn(path.split('/')[0], _LINKS)

    def test_only_some_guests_have_the_agent(self):
        has = {kind.name for kind in schemes.EVERY
               if 'etc/agent' in kind(guest.Port(0)).seed().files}

        self.assertEqual({'virtio', 'vf_failover'}, has)

    def test_a_host_finds_the_drivers_of_the_project(self):
        files = host.seed('a', {}).files
        points, _ = next(content for path, content in files.items()
                         if path.endswith('entry_points.txt'))

        self.assertIn(b'macvtap = nova_vf_failover.standby.macvtap:', points)
        self.assertIn('usr/lib/python3/dist-packages/nova_vf_failover/swap.py',
                      files)

    def test_guests_run_before_what_else_a_host_has_to_do(self):
        content, mode = host.seed('a', {}).files[host.EMULATOR.lstrip('/')]

        self.assertIn(b'nice -n -10', content)
        self.assertTrue(mode & 0o100)


class SavedTestCase(base.BaseTestCase):

    def test_what_has_changed_is_not_gone_on_with(self):
        own = {name: host.seed(name, {}) for name in fabric.HOSTS}
        with tempfile.TemporaryDirectory() as folder:
            self.assertFalse(pair._is_saved(folder, own))
            with open(os.path.join(folder, 'key'), 'w') as file:
                file.write(pair._key(own))
            self.assertTrue(pair._is_saved(folder, own))

            own['b'].add('etc/more', 'than before')
            self.assertFalse(pair._is_saved(folder, own))

    def test_what_starts_a_host_has_a_part_in_the_key(self):
        own = {name: seeds.Seed() for name in fabric.HOSTS}
        before = pair._key(own)
        for module in (emulator, host, machine, recipe):
            with tempfile.NamedTemporaryFile('w') as changed:
                changed.write('# another one')
                changed.flush()
                with mock.patch.object(module, '__file__', changed.name):
                    self.assertNotEqual(before, pair._key(own),
                                        module.__name__)
        self.assertEqual(before, pair._key(own))

    def test_they_go_with_their_image(self):
        image = mock.Mock(spec=images.Image, folder='/cache/trixie-0123')
        with mock.patch.object(pair, '_is_saved', autospec=True,
                               side_effect=KeyboardInterrupt) as saved:
            self.assertRaises(KeyboardInterrupt, pair.start, None, None,
                              image, {}, None)

        self.assertEqual(image.folder, os.path.dirname(
            saved.call_args.args[0]))


class PhasesTestCase(base.BaseTestCase):

    def test_the_failback_begins_when_the_vf_is_attached(self):
        its = schemes.VfFailover(guest.Port(0))
        its.guest = mock.Mock(spec=guest.Guest, other=mock.Mock(
            spec=host.Host))
        its.guest.tell.side_effect = [
            [('vf detach', 1.0, 2.0)],
            [('degraded: no answer', 6.0, 6.0), ('hot plug', 9.0, 10.0),
             ('vf attach', 7.0, 11.0)]]
        timeline = compare.Timeline()

        with mock.patch.object(schemes.time, 'monotonic', autospec=True,
                               return_value=100.0):
            its.move(timeline)
            phases = timeline.end()

        self.assertEqual(109.0, phases['failback'][0])
        self.assertEqual(109.0, phases['copy'][1])
        self.assertIn(('degraded: no answer', 6.0, 6.0), its.steps)


class AccessPortTestCase(base.BaseTestCase):

    FRAME = bytes(range(12)) + b'\x08\x00payload'

    def setUp(self):
        super().setUp()
        (self.access, access), (self.trunk, trunk) = (
            socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            for _ in range(2))
        for its in (self.access, access, self.trunk, trunk):
            self.addCleanup(its.close)
            its.settimeout(30)
        port = tagging.AccessPort(access.fileno(), trunk.fileno(), 7)
        self.addCleanup(port.close)

    def test_what_goes_in_gets_the_tag(self):
        self.access.send(self.FRAME)

        self.assertEqual(bytes(range(12)) + b'\x81\x00\x00\x07'
                         b'\x08\x00payload', self.trunk.recv(100))

    def test_what_comes_out_has_lost_it_and_others_do_not(self):
        # Bytes that would be the right tag, had it a tag, are in the first.
        other = bytes(range(12)) + b'\x08\x00\x00\x07another'
        self.trunk.send(other)
        self.trunk.send(tagging.tagged(other, 8))
        # With a priority.
        self.trunk.send(tagging.tagged(self.FRAME, 5 << 13 | 7))

        self.assertEqual(self.FRAME, self.access.recv(100))


class EmulatorTestCase(base.BaseTestCase):

    def test_it_says_which_tool_is_missing(self):
        with mock.patch('shutil.which', autospec=True, side_effect=(
                lambda name: None if name == 'unshare' else name)):
            error = self.assertRaises(errors.LabError, emulator.check)

        self.assertIn('unshare', str(error))
        self.assertNotIn('setpriv', str(error))


class _Desk:
    """Answers one command with what it is given."""

    def __init__(self, answer):
        self._answer = answer
        self._own, self.connection = socket.socketpair()
        threading.Thread(target=self._serve, daemon=True).start()

    def connect(self, name, port, timeout):
        return self.connection

    def _serve(self):
        with self._own:
            self.asked = json.loads(self._own.makefile().readline())
            if self._answer:
                self._own.sendall(json.dumps(self._answer).encode() + b'\n')


class CallTestCase(base.BaseTestCase):

    def _host(self, answer):
        made = host.Host.__new__(host.Host)
        made.name = 'a'
        made._net = _Desk(answer)
        return made

    def test_the_result(self):
        made = self._host({'result': [1, 2]})

        self.assertEqual([1, 2], made.call('agent', command='guest-ping'))
        self.assertEqual({'command': 'agent', 'arguments': {
            'command': 'guest-ping'}}, made._net.asked)

    def test_a_failure(self):
        made = self._host({'failure': 'DeviceDetachFailed: kept'})

        error = self.assertRaises(host.DeskError, made.call, 'detach')
        self.assertEqual('detach on host a: DeviceDetachFailed: kept',
                         str(error))

    def test_a_desk_that_has_ended(self):
        made = self._host(None)

        error = self.assertRaises(host.DeskError, made.call, 'greet')
        self.assertEqual('greet on host a: its desk has ended', str(error))
