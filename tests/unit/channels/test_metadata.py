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

"""How the metadata channel waits, with a conductor that fails or hangs."""

import types
from unittest import mock

import ddt
import fixtures
from nova import objects
import oslo_messaging
from oslotest import base

from nova_vf_failover.channels import frames
from nova_vf_failover.channels import intent as intents
from nova_vf_failover.channels import items
from nova_vf_failover.channels import listener
from nova_vf_failover.channels import metadata
from nova_vf_failover import conf
from nova_vf_failover import domain
from nova_vf_failover import exception

MAC = 'fa:16:3e:00:00:01'
INTENT = intents.Intent(5, intents.Use.STANDBY, 30.0, {'port': MAC})
State = intents.ReportState

# Seconds for which a call to a conductor waits: rpc_response_timeout.
RPC_TIMEOUT = 60


class Air:
    """Frames that come when it is time, and the clock that says so.

    :ivar now: seconds since the beginning
    :ivar coming: when a guest says what
    :ivar devices: of each time that it was listened
    """

    def __init__(self):
        self.now = 0.0
        self.coming = []
        self.devices = []

    def listen(self, devices, generation):
        self.devices.append(dict(devices))
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Nothing is open."""

    def hear(self, timeout):
        # A call takes some time, even if it waits for nothing.
        end = self.now + 0.001 + min(timeout, listener.LONGEST_WAIT)
        self.now = max(self.now, min(
            [end] + [second for second, _ in self.coming]))
        heard = [state for second, state in self.coming
                 if second <= self.now]
        del self.coming[:len(heard)]
        return [(MAC, frames.Report(
            INTENT.generation, INTENT.use, state, True)) for state in heard]


class Conductor:
    """Keeps the metadata of the one server there is.

    :ivar broken: what happens instead when a call is made, or None
    """

    def __init__(self):
        self.metadata = {'owner': 'me'}
        self.broken = None

    def get_by_uuid(self, context, uuid, expected_attrs):
        if self.broken:
            self.broken()
        return types.SimpleNamespace(
            metadata=dict(self.metadata), save=mock.Mock())


class ChannelTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        conf.register_opts(metadata.CONF)
        metadata.CONF.set_override('metadata_delay', 10, 'vf_failover')
        self.addCleanup(metadata.CONF.clear_override, 'metadata_delay',
                        'vf_failover')
        objects.register_all()
        self.log = self.useFixture(fixtures.FakeLogger())
        self.air = Air()
        self.useFixture(fixtures.MonkeyPatch(
            'oslo_utils.timeutils.now', lambda: self.air.now))
        self.conductor = Conductor()
        self.useFixture(fixtures.MockPatchObject(
            objects.Instance, 'get_by_uuid', self.conductor.get_by_uuid))
        self.guest = mock.Mock(uuid='server')
        self.guest.standby = lambda mac: domain.Interface(
            mac, 'direct', None, '', 'macvtap0')

    def fail(self):
        raise oslo_messaging.RemoteError('DBConnectionError', 'gone away')


class WaitTestCase(ChannelTestCase):

    def ask(self):
        """Wait for twenty seconds."""
        report = metadata.MetadataChannel(self.air.listen).ask(
            self.guest, INTENT, 10)
        return report.state

    def hang(self):
        self.air.now += RPC_TIMEOUT
        raise oslo_messaging.MessagingTimeout('no reply')

    def begin(self, broken):
        """Have the conductor break once the intent is written."""
        written = self.conductor.get_by_uuid

        def once(*arguments, **keywords):
            stored = written(*arguments, **keywords)
            self.conductor.broken = broken
            return stored

        self.useFixture(fixtures.MockPatchObject(
            objects.Instance, 'get_by_uuid', once))

    def test_whether_it_may_listen_is_checked_without_a_device(self):
        self.guest.standby = lambda mac: None

        report = metadata.MetadataChannel(self.air.listen).check(
            self.guest, INTENT)

        self.assertIs(State.READY, report.state)
        self.assertEqual([{}], self.air.devices)

    def test_a_look_that_fails_does_not_end_the_wait(self):
        self.begin(self.fail)
        self.air.coming = [(8, State.WORKING), (14, State.DONE)]

        self.assertIs(State.DONE, self.ask())

        self.assertEqual(14, int(self.air.now))
        self.assertIn('gone away', self.log.output)

    def test_what_is_said_while_a_look_hangs_counts(self):
        self.begin(self.hang)
        self.air.coming = [(2, State.WORKING), (30, State.DONE)]

        self.assertIs(State.DONE, self.ask())

    def test_a_guest_that_says_nothing_while_a_look_hangs(self):
        self.begin(self.hang)

        self.assertIs(State.NONE, self.ask())

    def test_a_guest_that_is_not_done_in_time(self):
        self.air.coming = [(8, State.WORKING), (21, State.DONE)]
        self.conductor.metadata.update(items.build(INTENT))

        self.assertIs(State.WORKING, self.ask())

        self.assertEqual(20, int(self.air.now))

    def test_the_report_counts_when_its_items_cannot_be_removed(self):
        self.begin(self.fail)
        self.air.coming = [(2, State.DONE)]

        self.assertIs(State.DONE, self.ask())

        self.assertIn('items of an intent are left', self.log.output)

    def test_nothing_is_written_where_nobody_could_be_heard(self):
        self.guest.standby = lambda mac: domain.Interface(
            mac, 'direct', None, '', None)
        self.conductor.broken = self.hang

        error = self.assertRaises(exception.ChannelError, self.ask)

        self.assertIn('port port has no standby NIC', str(error))
        self.assertEqual(0, self.air.now)


@ddt.ddt
class TwoPortsTestCase(base.BaseTestCase):
    """What the reports on two standbys come to."""

    OTHER = 'fa:16:3e:00:00:02'

    @ddt.named_data(
        ['both_have_moved', (State.DONE, State.DONE), State.DONE],
        ['one_is_silent', (State.DONE,), None],
        ['one_is_not_done', (State.DONE, State.WORKING), State.WORKING],
        ['one_has_stayed', (State.FAILED,), State.FAILED],
        ['one_was_heard_before', (State.WORKING, State.REFUSED),
         State.REFUSED],
        ['of_one_nobody_knows', (State.FAILED, State.NONE), State.NONE])
    def test_states(self, states, expected):
        intent = intents.Intent(5, intents.Use.STANDBY, 30.0, {
            'port': MAC, 'other': self.OTHER})
        report = metadata._combined(intent, {
            mac: frames.Report(5, intents.Use.STANDBY, state, True)
            for mac, state in zip((MAC, self.OTHER), states)})

        self.assertIs(expected, report and report.state)


class SweepTestCase(ChannelTestCase):
    """Which servers are looked at for what was left."""

    def setUp(self):
        super().setUp()
        self.asked = []
        self.useFixture(fixtures.MockPatchObject(
            objects.InstanceList, 'get_by_filters', self.get_by_filters))
        self.channel = metadata.MetadataChannel(self.air.listen)
        self.found = types.SimpleNamespace(
            uuid='server', task_state=None, metadata={})

    def get_by_filters(self, context, filters, expected_attrs):
        self.asked.append(filters.get('uuid'))
        if self.conductor.broken:
            self.conductor.broken()
        return [self.found]

    def look(self, *busy):
        """Which servers are asked for, None for all; none if nobody is."""
        self.asked.clear()
        self.channel.sweep('alpha', busy)
        return list(self.asked)

    def test_all_of_them_once(self):
        self.assertEqual([None], self.look())
        self.assertEqual([], self.look())

    def test_all_of_them_until_that_has_worked(self):
        self.conductor.broken = self.fail
        self.assertRaises(exception.ChannelError, self.look)
        self.conductor.broken = None

        self.assertEqual([None], self.look())

    def test_one_that_has_not_answered(self):
        self.look()
        self.channel.ask(self.guest, INTENT, 10)
        self.found.metadata = items.build(INTENT)

        self.assertEqual([['server']], self.look('server'))
        self.assertEqual([['server']], self.look())
        self.assertEqual([], self.look())

    def test_one_that_could_not_be_looked_at(self):
        self.look()
        self.channel.ask(self.guest, INTENT, 10)
        self.conductor.broken = self.fail
        self.assertRaises(exception.ChannelError, self.look)
        self.conductor.broken = None

        self.assertEqual([['server']], self.look())

    def test_one_that_was_written_without_an_answer(self):
        self.look()
        self.conductor.broken = self.fail
        self.assertRaises(exception.ChannelError, self.channel.ask,
                          self.guest, INTENT, 10)
        self.conductor.broken = None

        self.assertEqual([['server']], self.look())

    def test_one_that_has_answered(self):
        self.look()
        self.air.coming = [(1, State.DONE)]
        self.channel.ask(self.guest, INTENT, 10)

        self.assertEqual([], self.look())

    def test_one_that_has_left_the_host(self):
        self.look()
        self.channel.ask(self.guest, INTENT, 10)

        self.assertEqual([['server']], self.look())
        self.assertEqual([], self.look())
