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

"""How long both NICs of a port are up, and what is done meanwhile."""

import contextlib
import errno
import os
from unittest import mock

import fixtures
from oslotest import base

from nova_vf_failover.guest import links
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import overlap
from nova_vf_failover.guest import switch
from nova_vf_failover.guest import sysctl
from nova_vf_failover.guest import wire
from tests.guest import in_process


class FailoverTestCase(in_process.InProcess):

    PORTS = 2

    def setUp(self):
        super().setUp()
        for port in self.ports:
            self.attach_standby('alpha', port)
        self.primaries = {self.guest.index(name): name
                          for name in self.NAMES[:self.PORTS]}
        self.done = []

    def note(self, where, what, noted):
        """Note whenever this is called, as what it makes of its arguments."""
        act = getattr(where, what)

        def noting(*arguments, **changes):
            note = noted(*arguments, **changes)
            if note:
                self.done.append(note)
            return act(*arguments, **changes)

        self.useFixture(fixtures.MockPatchObject(where, what, noting))

    def note_all(self):
        urgently = overlap.urgently

        @contextlib.contextmanager
        def hurry():
            with urgently():
                yield
            self.done.append('no hurry')

        self.useFixture(fixtures.MockPatchObject(overlap, 'urgently', hurry))
        self.note(switch.Switch, 'throw', lambda *_: 'switch')
        self.note(wire, 'announce', lambda mouth, mac, *_: f'announce {mac}')
        self.note(wire, 'answered_on', lambda *_: 'ask')
        self.note(links.Links, 'set', lambda _, nic, **changes: (
            nic.index in self.primaries and changes == {'up': False}
            and f'{self.primaries[nic.index]} down'))
        self.note(wire, 'close_later', lambda _: 'close')

    def test_it_ends_for_each_port_before_anything_else_is_done(self):
        self.note_all()

        self.run_mover('standby')

        first, second = self.ports
        self.assertEqual(
            ['switch', f'announce {first.mac}', f'announce {second.mac}',
             'ask', 'eth0 down', 'ask', 'eth1 down', 'no hurry', 'close'],
            self.done)
        self.assertReachable()

    def standby(self, port):
        return self.guest.inside(lambda: self.mover._nics.standby(port.mac))

    def filters(self, port):
        """How the standby of a port filters by the way back."""
        name = self.standby(port).name
        return self.guest.inside(
            lambda: sysctl.snapshot(name)[sysctl.RP_FILTER])

    def test_the_filter_is_as_strict_as_before_once_it_has_ended(self):
        port = self.ports[0]
        self.guest.run('sysctl', '-qw', 'net.ipv4.conf.eth0.rp_filter=1')
        self.note(switch.Switch, 'throw', lambda *_: self.filters(port))

        self.run_mover('standby')

        self.assertEqual(['2', '1'], self.done + [self.filters(port)])

    def ask_anew(self):
        """The peer has forgotten where the addresses of the guest are."""
        self.net.peer.run('ip', 'neighbour', 'flush', 'all')
        self.reach()

    def test_nobody_hears_of_a_standby_before_it_is_used(self):
        """They would send to a MAC that nobody has."""
        self.note(overlap.Overlap, 'prove_standby', lambda *_: self.ask_anew())
        with self.net.hosts['alpha'].nic.listen('alphapf0') as heard:
            self.run_mover('standby')

            macs = set(self.senders(heard))

        self.assertIn(self.ports[0].mac, macs)
        self.assertEqual(set(), macs & {
            links.parked(port.mac) for port in self.ports})

    @staticmethod
    def senders(heard):
        heard.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                yield heard.recv(2048)[6:12].hex(':')

    def test_a_standby_that_keeps_its_mac(self):
        set_, refused = links.Links.set, []

        def refuse(nics, nic, **changes):
            if 'mac' in changes:
                refused.append(nic.name)
                raise netlink.NetlinkError(errno.EOPNOTSUPP, 'kind 16')
            set_(nics, nic, **changes)

        with mock.patch.object(links.Links, 'set', refuse):
            self.run_mover('standby')

        self.assertEqual(self.PORTS, len(refused))
        self.assertReachable()

    def test_a_primary_stays_up_where_nobody_can_listen(self):
        answered_on, asked = wire.answered_on, []

        def listen(tried, *arguments):
            asked.append(tried)
            if len(asked) == 2:
                raise OSError(errno.EBUSY, 'busy')
            return answered_on(tried, *arguments)

        with mock.patch.object(wire, 'answered_on', listen):
            report = self.run_mover('standby')

        self.assertEqual([False, True], [
            report.ports[port.mac]['overlap'] for port in self.ports])
        self.assertEqual({port.mac for port in self.ports}, self.kept.away)
        self.assertReachable()


class HurryTestCase(base.BaseTestCase):
    """The agent comes first for as long as frames come in twice."""

    def test_it_ends_with_a_failure(self):
        usual = os.sched_getscheduler(0)

        with mock.patch('os.sched_setscheduler', autospec=True) as change:
            with contextlib.suppress(overlap.Failed), overlap.urgently():
                raise overlap.Failed('Nobody answers.')

        self.assertEqual([os.SCHED_FIFO, usual],
                         [call.args[1] for call in change.mock_calls])

    def test_a_guest_that_lets_nobody_change_its_policy(self):
        """As with SystemCallFilter=~@resources."""
        done = []
        with mock.patch('os.sched_setscheduler', autospec=True,
                        side_effect=PermissionError):
            with overlap.urgently():
                done.append('switch')

        self.assertEqual(['switch'], done)
