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

"""The agent is killed at the worst moments."""

import errno
import json
import subprocess
import time
from unittest import mock

from nova_vf_failover.guest import dressing
from tests.guest import base
from tests.guest import groups
from tests.guest import in_process


class RestartTestCase(groups.Listening, base.GuestTestCase):

    def restart(self):
        self.agent.kill()
        self.agent.start()

    def test_between_failover_and_failback(self):
        before = self.configuration()
        self.fail_over()
        self.restart()
        self.carry_standby(self.ports[0])
        self.assertReachable()

        self.fail_back()

        self.assertEqual(before, self.configuration())

    def test_groups_are_heard_on_the_standby(self):
        self.join()
        self.fail_over()
        self.hear_groups('alpha')

        self.restart()

        self.assertHeard()

    def test_groups_are_heard_after_failback(self):
        self.join()
        self.fail_over()
        self.carry_standby(self.ports[0])
        self.fail_back()

        self.restart()

        self.assertHeard()

    def test_while_it_is_armed(self):
        before = self.configuration()
        port, = self.ports
        self.fail_over()
        intent = self.intent('primary')
        self.ask(intent, 'apply')
        self.restart()

        self.attach_vf('alpha', port, 2)

        self.done(intent)
        self.detach_standby('alpha', port)
        self.assertEqual(before, self.configuration())
        self.assertReachable()

    def test_the_vf_comes_while_it_is_dead(self):
        before = self.configuration()
        port, = self.ports
        self.fail_over()
        intent = self.intent('primary')
        self.ask(intent, 'apply')
        self.agent.kill()
        self.attach_vf('alpha', port, 2)
        self.assertReachable()
        self.agent.start()

        self.done(intent)
        self.detach_standby('alpha', port)

        self.assertEqual(before, self.configuration())

    def test_somebody_sets_the_standby_down(self):
        port, = self.ports
        before = self.configuration()
        self.fail_over()
        standby, = self.guest.names() - {'lo'}

        self.guest.set(standby, state='down')
        # As "netplan apply" does.
        self.guest.set(standby, ifname='eth0', state='up')

        self.await_traffic(port)
        self.carry_standby(port)
        self.fail_back()
        self.assertEqual(before, self.configuration())

    def await_traffic(self, port):
        until = time.monotonic() + 20
        while not self.has_traffic(port):
            self.assertLess(time.monotonic(), until)

    def has_traffic(self, port):
        try:
            return all(self.net.reaches(port, version) for version in (4, 6))
        except OSError:
            # The guest has no such address yet.
            return False

    def test_while_the_standby_is_proven(self):
        port, = self.ports
        before = self.configuration()
        self.attach_standby('alpha', port)
        # So that it takes its time.
        self.net.hosts['alpha'].namespace.set('macvtap0', state='down')
        self.ask(self.intent('standby'), 'apply')
        self.await_standby_up()

        self.restart()

        place, = self.agent.command('status')[1]['places']
        self.assertEqual('primary', place['on'])
        self.assertReachable()
        self.detach_standby('alpha', port)
        self.assertEqual(before, self.configuration())

    def await_standby_up(self):
        until = time.monotonic() + 10
        while len(self.guest.run('ip', '-oneline', 'link', 'show',
                                 'up').splitlines()) < 3:
            self.assertLess(time.monotonic(), until)

    def test_a_command_that_waits_does_not_say_what_it_cannot_know(self):
        # Nobody plugs a standby, so the service waits for it.
        command = self.agent.run(
            ('vf-failover-agent', 'apply', '--wait', '30'),
            json.dumps(self.intent('standby')).encode())
        self.await_state('working')

        self.agent.kill()

        self.assertEqual(1, command.wait())
        self.assertEqual('none', json.loads(command.output()[0])['state'])

    def await_state(self, state):
        """Until the service has taken an intent."""
        until = time.monotonic() + 10
        while self.agent.command('status')[1]['state'] != state:
            self.assertLess(time.monotonic(), until)

    def test_an_old_intent_stays_old(self):
        old = self.intent('standby')
        self.fail_over()
        self.restart()

        report = self.ask(old)

        self.assertIn('stale', report['message'])

    def test_a_snapshot_that_was_cut_off(self):
        with open(self.agent.snapshot, 'w') as file:
            file.write(json.dumps({'intent': None})[:-3])
        self.restart()

        self.move()

        self.assertReachable()

    def test_more_links_change_than_can_be_told(self):
        """As where somebody makes and removes many containers."""
        self.guest.run('ip', 'link', 'add', 'more', 'type', 'veth', 'peer',
                       'name', 'more-c')
        with self.agent.held_up():
            subprocess.run(
                self.guest.command('ip', '-batch', '-'), check=True,
                text=True, input=''.join(
                    f'link set more mtu {1300 + number % 100}\n'
                    for number in range(10000)))

        self.move()

        self.assertReachable()


class GivenUpTestCase(in_process.InProcess):

    def test_a_standby_that_cannot_be_dressed_again(self):
        """Each try is a change of a link, which would bring the next one."""
        port, = self.ports
        self.attach_standby('alpha', port)
        self.run_mover('standby')
        self.detach_vf('alpha', port, 1)
        standby, = self.guest.names() - {'lo'}
        self.guest.set(standby, state='down')

        with mock.patch.object(
                dressing, 'put_on_standby', autospec=True,
                side_effect=OSError(errno.EBUSY, 'busy')) as dress:
            for _ in range(3):
                self.guest.inside(self.mover.tidy)

        dress.assert_called_once()
