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

"""What arrives at those who listen for Nova's versioned notifications."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import queue

from nova import rpc
import oslo_messaging
from oslo_messaging.notify import notifier

from tests.rabbit import broker
from tests import schemas
from tests.simulation import paper_agent

# The real one; the harness puts another one in its place for each test.
NOTIFIER = notifier.Notifier

TOPIC = 'versioned_notifications'


class Endpoint:
    """Takes what comes with either priority."""

    def __init__(self) -> None:
        self.arrived: queue.Queue = queue.Queue()

    def info(self, context, publisher, event, payload, metadata):
        self.arrived.put(('info', publisher, event, payload))

    def error(self, context, publisher, event, payload, metadata):
        self.arrived.put(('error', publisher, event, payload))


class RabbitTestCase(base.FailoverTestCase):

    def setUp(self):
        missing = broker.missing_requirement()
        if missing:
            self.skipTest(missing)
        super().setUp()
        url = self.useFixture(broker.Broker()).url
        # As nova.rpc.init() does with notification_format = versioned.
        transport = oslo_messaging.get_notification_transport(
            base.CONF, url=url)
        self.addCleanup(transport.cleanup)
        self.endpoint = Endpoint()
        self.listen(transport)
        rpc.NOTIFIER = NOTIFIER(
            transport, driver='messagingv2', topics=[TOPIC],
            serializer=rpc.RequestContextSerializer(
                rpc.JsonPayloadSerializer()))
        self.start_hosts()

    def listen(self, transport):
        listener = oslo_messaging.get_notification_listener(
            transport, [oslo_messaging.Target(topic=TOPIC)], [self.endpoint],
            executor='threading', serializer=rpc.RequestContextSerializer(
                rpc.JsonPayloadSerializer()))
        listener.start()
        self.addCleanup(listener.wait)
        self.addCleanup(listener.stop)

    def until(self, *events):
        """What has arrived of the plugin when all these events have."""
        found = []
        while not set(events) <= {one[2] for one in found}:
            one = self.endpoint.arrived.get(timeout=60)
            if one[2].startswith('vf_failover.'):
                found.append(one)
                schemas.validator('notification').validate(one[3])
        return found

    def test_a_move(self):
        server = self.boot(self.add_port())

        self.migrate(server)

        found = self.until('vf_failover.failback.end')
        for kind, host in (('failover', 'alpha'), ('failback', 'beta')):
            for phase in ('start', 'end'):
                one, = (one for one in found
                        if one[2] == f'vf_failover.{kind}.{phase}')
                self.assertEqual(('info', f'nova-compute:{host}'), one[:2])
                data = one[3]['nova_object.data']
                self.assertEqual((server['id'], host, kind), (
                    data['server_id'], data['host'], data['step']))
        self.assertEqual({'info'}, {one[0] for one in found})

    def test_a_failover_that_is_undone(self):
        server = self.boot(self.add_port())
        self.agent.mood = paper_agent.Mood.FAILING

        self.migrate(server, 'failed')

        # Queues of different priorities keep no order among each other.
        found = self.until('vf_failover.failback.end',
                           'vf_failover.failover.error')
        error, = (one for one in found
                  if one[2] == 'vf_failover.failover.error')
        self.assertEqual('error', error[0])
        self.assertIn('nobody answers over eth1',
                      error[3]['nova_object.data']['error'])
