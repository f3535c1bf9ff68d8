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
"""The metadata channel: the host writes items and hears report frames."""

import os
import socket
import time
from unittest import mock

import ddt
import fixtures
from oslo_privsep import priv_context
from oslo_serialization import jsonutils
from oslotest import base as test_base

from nova_vf_failover.channels import frames
from nova_vf_failover.channels import intent as intents
from nova_vf_failover.channels import items
from nova_vf_failover.channels import listener
from nova_vf_failover.channels import metadata
from nova_vf_failover import conf
from nova_vf_failover import domain
from nova_vf_failover import exception
from nova_vf_failover.guest import frames as guest_frames
from nova_vf_failover.guest import intent as guest_intents
from nova_vf_failover.guest import reportframe
from nova_vf_failover import privileges
from tests.guest import base
from tests.simulation import hosts
from tests.simulation import metadata_service
from tests.simulation import paper
from tests.simulation import paper_air

Use, State = intents.Use, intents.ReportState

DAY = 24 * 3600 * 1000


class StoredInstance:
    """What the channel uses of an instance, kept by the simulated service."""

    def __init__(self, service):
        self._service = service
        self.metadata = dict(service.items)

    def save(self):
        self._service.items = dict(self.metadata)

    def delete_metadata_key(self, name):
        del self.metadata[name]
        self._service.items = {
            key: value for key, value in self._service.items.items()
            if key != name}


class MetadataTestCase(base.GuestTestCase):

    def prepare_agent(self):
        # Behind the guest's gateway, as Neutron has it.
        self.service = self.useFixture(metadata_service.MetadataService(
            self.net.peer, str(self.ports[0].peers[0].ip)))
        self.agent.options = ('--metadata', '--metadata-url', self.service.url,
                              '--metadata-interval', '0.2')

    def setUp(self):
        super().setUp()
        conf.register_opts(metadata.CONF)
        metadata.CONF.set_override('metadata_delay', 10, 'vf_failover')
        self.addCleanup(metadata.CONF.clear_override, 'metadata_delay',
                        'vf_failover')
        self.useFixture(fixtures.MockPatchObject(
            privileges.net_raw, 'client_mode', False))
        self.useFixture(fixtures.MockPatchObject(
            metadata, '_load', lambda _: StoredInstance(self.service)))
        self.channel = metadata.MetadataChannel(self.listen)
        self.where = 'alpha'
        self.newest = int(time.time() * 1000)

    def listen(self, devices, generation):
        return self.net.hosts[self.where].namespace.inside(
            lambda: listener.Listening(devices, generation))

    def domain(self):
        devices = {port.mac: f'macvtap{number}'
                   for number, port in enumerate(self.ports)}
        guest = mock.Mock(uuid='server')
        guest.standby = lambda mac: domain.Interface(
            mac, 'direct', None, '', devices[mac])
        return guest

    def make(self, use, ports=None):
        self.newest += 1
        return intents.Intent(self.newest, use, 10, {
            f'port-{number}': port.mac
            for number, port in enumerate(ports or self.ports)})

    def ask(self, intent):
        return self.channel.ask(self.domain(), intent, 10)

    def status(self):
        return self.agent.command('status')[1]

    def await_state(self, state):
        until = time.monotonic() + 10
        while self.status()['state'] != state:
            self.assertLess(time.monotonic(), until)

    def fail_over(self):
        for port in self.ports:
            self.attach_standby('alpha', port)
        report = self.ask(self.make(Use.STANDBY))
        self.assertEqual(State.DONE, report.state)
        self.assertEqual({True}, set(report.proven.values()))
        for number, port in enumerate(self.ports, 1):
            self.detach_vf('alpha', port, number)

    def carry(self):
        for port in self.ports:
            self.carry_standby(port)
        self.where = 'beta'

    def arm(self):
        intent = self.make(Use.PRIMARY)
        self.assertEqual(State.ARMED, self.channel.tell(
            self.domain(), intent).state)
        return intent

    def attach_vfs(self):
        for number, port in enumerate(self.ports, 1):
            self.attach_vf('beta', port, number)

    def end_failback(self, intent):
        self.assertEqual(State.DONE, self.ask(intent).state)
        for port in self.ports:
            self.detach_standby(self.where, port)


class MoveTestCase(MetadataTestCase):

    PORTS = 2

    def test_there_and_back(self):
        before = self.configuration()
        self.service.items = {'owner': 'tenant'}
        self.fail_over()
        self.assertReachable()
        self.carry()
        intent = self.arm()
        self.attach_vfs()

        self.end_failback(intent)

        self.assertEqual(before, self.configuration())
        self.assertReachable()
        self.assertEqual({'owner': 'tenant'}, self.service.items)

    def test_the_host_listens_when_the_guest_has_done_it(self):
        before = self.configuration()
        self.fail_over()
        self.carry()
        intent = self.arm()
        self.attach_vfs()
        self.await_state('done')

        self.end_failback(intent)

        self.assertEqual(before, self.configuration())

    def test_the_agent_is_restarted_while_it_is_armed(self):
        self.fail_over()
        self.carry()
        intent = self.arm()
        self.agent.kill()
        self.attach_vfs()
        self.agent.start()

        self.end_failback(intent)

        self.assertReachable()

    def test_items_that_are_deleted_are_written_again(self):
        self.fail_over()
        self.carry()
        metadata.CONF.set_override('check_timeout', 10, 'vf_failover')
        self.addCleanup(metadata.CONF.clear_override, 'check_timeout',
                        'vf_failover')
        self.useFixture(fixtures.MockPatchObject(
            metadata, 'LOOK_INTERVAL', 0.5))
        self.service.answer = self.lose_items
        self.arm()

    def lose_items(self):
        """The owner deletes them before the guest has seen them."""
        self.service.items = {}
        self.service.answer = self.service._usual
        return 200, b'{}'


@ddt.ddt
class HostileTestCase(MetadataTestCase):
    """Whatever the metadata service says, the guest keeps its network."""

    def assertNothingChanges(self):
        """And the next intent of the host is carried out."""
        before = self.configuration()
        self.service.await_looks()
        self.assertEqual((0, 'none'), (
            self.status()['generation'], self.status()['state']))
        self.assertEqual(before, self.configuration())
        self.service.answer = self.service._usual
        self.service.items = {}
        self.fail_over()
        self.assertReachable()

    @ddt.named_data(
        ['missing', 404, b'{}'], ['failing', 500, b''],
        ['no_json', 200, b'\xff{'], ['depth', 200, b'[' * 100000],
        ['a_list', 200, b'[]'], ['list_of_items', 200, b'{"meta": []}'],
        ['number', 200, b'{"meta": {"vf_failover": 5}}'],
        ['endless', 200, b' ' * 2000000],
        ['elsewhere', 302, b''])
    def test_service(self, status, body):
        self.service.answer = lambda: (status, body)

        self.assertNothingChanges()

    @ddt.named_data(
        ['garbage', '1 standby'],
        ['unknown_version', '2 {now} 1/1 standby 30 fa163e000001'],
        ['tomorrow', '1 {tomorrow} 1/1 standby 30 fa163e000001'],
        ['long_ago', '1 1000 1/1 standby 30 fa163e000001'],
        ['a_part', '1 {now} 1/2 standby 30 fa163e000001'],
        ['both', '1 {now} 1/1 both 30 fa163e000001'],
        ['forever', '1 {now} 1/1 standby 99999 fa163e000001'])
    def test_item(self, text):
        for port in self.ports:
            self.attach_standby('alpha', port)
        now = self.newest
        self.service.items = {items.NAME: text.format(
            now=now, tomorrow=now + DAY + 60000)}
        self.useFixture(fixtures.MockPatchObject(self, 'attach_standby'))

        self.assertNothingChanges()

    def test_service_that_is_down(self):
        self.service.close()
        before = self.configuration()

        self.attach_standby('alpha', self.ports[0])
        metadata.CONF.set_override('metadata_delay', 0, 'vf_failover')

        report = self.channel.ask(
            self.domain(), self.make(Use.STANDBY), 2)

        self.assertEqual(State.NONE, report.state)
        self.assertIn(self.ports[0].mac, report.message)
        self.assertEqual(before, self.configuration())
        self.assertReachable()

    def test_stale(self):
        old = self.make(Use.PRIMARY)
        self.fail_over()
        newest = self.status()['generation']
        self.service.items = items.build(old)

        self.service.await_looks()

        self.assertEqual((newest, 'done'), (
            self.status()['generation'], self.status()['state']))

    def test_a_refusal_is_heard(self):
        before = self.configuration()
        self.guest.run('ip', 'link', 'add', 'up0', 'link', 'eth0', 'type',
                       'macvlan')
        self.attach_standby('alpha', self.ports[0])

        report = self.ask(self.make(Use.STANDBY))

        self.assertEqual(State.REFUSED, report.state)
        self.assertTrue(report.stayed)
        self.assertEqual({}, self.service.items)
        self.detach_standby('alpha', self.ports[0])
        self.guest.run('ip', 'link', 'del', 'up0')
        self.assertEqual(before, self.configuration())
        self.assertReachable()


@ddt.ddt
class FrameTestCase(MetadataTestCase):
    """What is heard of the frames on a macvtap."""

    GENERATION = 1764000000000

    def setUp(self):
        super().setUp()
        # It would park the standby, over which the tests send.
        self.agent.kill()
        self.mac = self.ports[0].mac
        self.attach_standby('alpha', self.ports[0])
        self.guest.run('ip', 'link', 'set', 'eth1', 'up')

    def frame(self, mac, generation):
        report = guest_intents.Report(guest_intents.Intent(
            generation, 'standby', 5.0, [guest_intents.Port('port', mac)]),
            guest_intents.DONE)
        return reportframe.build(mac, [], report)

    def send(self, where, device, frame):
        def send():
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
                sender.bind((device, 0))
                sender.send(frame)
        where.inside(send)

    def assertHeardOnlyMarker(self, where, device, frame):
        """A frame is not heard, and one that is right behind it is."""
        with self.listen({self.mac: 'macvtap0'},
                         self.GENERATION) as listening:
            self.send(where, device, frame)
            marker = self.frame(self.mac, self.GENERATION)
            self.send(self.guest, 'eth1', marker)
            heard = listening.hear(3)
        self.assertEqual([self.marker()], heard)

    def marker(self):
        return self.mac, frames.Report(
            self.GENERATION, Use.STANDBY, State.DONE, None)

    @ddt.named_data(
        ['generation', lambda test: test.frame(test.mac, 5)],
        ['mac', lambda test: test.frame('fa:16:3e:99:99:99',
                                        test.GENERATION)],
        ['magic', lambda test: test.frame(
            test.mac, test.GENERATION).replace(b'vffR', b'vffS')],
        ['short', lambda test: test.frame(
            test.mac, test.GENERATION)[:42]],
        ['state', lambda test: test.frame(
            test.mac, test.GENERATION)[:56] + b'\x63\0\0\0'])
    def test_wrong(self, make):
        self.assertHeardOnlyMarker(self.guest, 'eth1', make(self))

        # The air on paper, which other tests have, lets through the same.
        self.assertEqual([self.marker()], self.heard_on_paper(
            make(self), self.frame(self.mac, self.GENERATION)))

    def heard_on_paper(self, *sent):
        with self.on_paper() as air, listener.Listening(
                {self.mac: 'macvtap0'}, self.GENERATION) as listening:
            for frame in sent:
                air.say(self.mac, frame)
            return listening.hear(3)

    def on_paper(self):
        plane = mock.create_autospec(paper.PaperDataPlane, instance=True)
        plane.macvtaps = {'macvtap0': paper.PaperMacvtap(
            'guest', 'pf', self.mac, flowing=True)}
        return paper_air.PaperAir(mock.create_autospec(
            hosts.SimulatedHosts, instance=True, planes={'alpha': plane}))

    def test_no_such_device_on_paper_either(self):
        real = self.assertRaises(
            exception.ChannelError, self.listen,
            {self.mac: 'nowhere'}, self.GENERATION)

        with self.on_paper():
            simulated = self.assertRaises(
                exception.ChannelError, listener.Listening,
                {self.mac: 'nowhere'}, self.GENERATION)

        self.assertEqual(str(real), str(simulated))

    def test_a_device_that_goes_down_meanwhile(self):
        """Others may be heard all the same."""
        with self.listen({self.mac: 'macvtap0'},
                         self.GENERATION) as listening:
            self.net.hosts['alpha'].namespace.set('macvtap0', state='down')

            self.assertEqual([], listening.hear(1))

    def test_from_another_server_of_the_host(self):
        """It sends with the port's MAC, and to that alone.

        What it sends to all the kernel keeps from the macvtap of this MAC
        (drivers/net/macvlan.c, ``macvlan_broadcast``).
        """
        host = self.net.hosts['alpha'].namespace
        standby, = jsonutils.loads(host.run(
            'ip', '-j', 'link', 'show', 'macvtap0'))
        host.run('ip', 'link', 'add', 'other', 'link', standby['link'],
                 'type', 'macvlan', 'mode', 'bridge')
        host.set('other', state='up')

        self.assertHeardOnlyMarker(
            host, 'other', guest_frames.mac_bytes(self.mac)
            + self.frame(self.mac, self.GENERATION)[6:])

    def test_from_the_network(self):
        """It has the port's MAC, and comes to the macvtap from outside."""
        self.assertHeardOnlyMarker(
            self.net.peer, 'eth0', self.frame(self.mac, self.GENERATION))


class PrivilegedTestCase(test_base.BaseTestCase):
    """The listening in a real daemon with no other capability."""

    def setUp(self):
        super().setUp()
        if os.geteuid():
            self.skipTest('the daemon needs root')
        # A test that has set options may have reset this one, which
        # oslo.privsep sets once, when the context is made.
        metadata.CONF.set_default('capabilities', privileges.CAPABILITIES,
                                  privileges.SECTION)
        privileges.net_raw.start(priv_context.Method.FORK)
        self.addCleanup(privileges.net_raw.stop)

    def test_it_listens(self):
        with listener.Listening({'fa:16:3e:00:00:01': 'lo'}, 5) as listening:
            self.assertEqual([], listening.hear(0.1))

        self.assertRaises(exception.ChannelError, listening.hear, 0.1)

    def test_no_such_device(self):
        error = self.assertRaises(
            exception.ChannelError, listener.Listening,
            {'fa:16:3e:00:00:01': 'nowhere'}, 5)

        self.assertIn('nowhere', str(error))
