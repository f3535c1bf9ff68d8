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
"""The metadata channel with Nova's own metadata service and database."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import settings  # isort: skip

import types
from unittest import mock

import fixtures
from nova import objects

from nova_vf_failover.channels import intent as intents
from nova_vf_failover.channels import items
from nova_vf_failover.channels import metadata
from nova_vf_failover import exception
from nova_vf_failover.guest import metadata as guest_metadata


class MetadataChannelTestCase(settings.MetadataGuests):

    def start(self, *ports):
        self.start_hosts()
        return self.boot(*ports or [self.add_port()],
                         metadata={'owner': 'me'})

    def stored(self, server):
        return self.api.get_server(server['id'])['metadata']

    # -- whole migrations ----------------------------------------------------

    def test_there_and_back(self):
        server = self.start(self.add_port('42'), self.add_port('43'))
        speaker = self.speak()

        self.migrate(server)

        self.assertWorld(server, 'beta')
        events = self.events(server)
        self.assertEqual(('Success', 'Success'), (
            events['compute_vf_failover'], events['compute_vf_failback']))
        self.assertEqual({'owner': 'me'}, self.stored(server))
        self.assertEqual(2, len(speaker.generations))
        self.migrate(server)
        self.assertWorld(server, 'alpha')
        self.assertEqual(4, len(speaker.generations))

    def test_with_the_cache_that_nova_has_by_default(self):
        self.flags(metadata_cache_expiration=15, group='api')
        self.flags(metadata_delay=25, group='vf_failover')
        server = self.start()
        speaker = self.speak()

        self.migrate(server)

        self.assertWorld(server, 'beta')
        self.assertEqual(2, len(speaker.generations))

    def _wait_for_server_parameter(self, server, expected, max_retries=10,
                                   **keywords):
        """As in the harness, with patience for the cache."""
        return super()._wait_for_server_parameter(
            server, expected, 12 * max_retries, **keywords)

    def test_a_guest_that_never_looks_stays_and_is_reachable(self):
        self.flags(metadata_delay=1, group='vf_failover')
        server = self.start()

        self.migrate(server, 'failed')

        self.assertReachable(server, 'alpha')
        self.assertEqual('ACTIVE', self.api.get_server(
            server['id'])['status'])
        self.assertIn('no report frame was heard',
                      self.stdlog.logger.output)
        # Nobody has answered, so it may still be found.
        self.assertIn(items.NAME, self.stored(server))

    def test_what_that_has_left_goes_with_the_next_move(self):
        self.test_a_guest_that_never_looks_stays_and_is_reachable()
        server = {'id': next(iter(self.hosts.agents))}
        self.flags(metadata_delay=10, group='vf_failover')
        self.speak()
        # Lest the claims of the first try stay (bug 1860555).
        self._run_periodics()

        self.migrate(server)

        self.assertWorld(server, 'beta')
        self.assertEqual({'owner': 'me'}, self.stored(server))

    def test_an_item_of_the_owner_is_not_overwritten(self):
        self.flags(policy='required', group='vf_failover')
        self.start_hosts()
        server = self.boot(self.add_port(),
                           metadata={items.NAME: 'on wednesdays'})

        self.assertIn('vf_failover', self.refusal(server))

        self.assertWorld(server, 'alpha')
        self.assertIn('its owner has to rename it',
                      self.stdlog.logger.output)
        self.assertEqual({items.NAME: 'on wednesdays'}, self.stored(server))

    def may_not_listen(self, devices, generation):
        raise exception.ChannelError('privsep helper exited')

    def host_that_may_not_listen(self):
        self.useFixture(fixtures.MonkeyPatch(
            'nova_vf_failover.channels.listener.Listening',
            self.may_not_listen))
        return self.start()

    def test_a_host_that_may_not_listen_refuses(self):
        self.flags(policy='required', group='vf_failover')
        server = self.host_that_may_not_listen()

        self.assertIn('cannot be told to change NICs', self.refusal(server))

        self.assertWorld(server, 'alpha')
        self.assertIn('privsep helper exited', self.stdlog.logger.output)
        self.assertEqual({'owner': 'me'}, self.stored(server))

    def test_a_host_that_may_not_listen_moves_it_as_nova_does(self):
        self.flags(policy='native', group='vf_failover')
        server = self.host_that_may_not_listen()

        self.migrate(server)

        self.assertWorld(server, 'beta')
        self.assertNotIn('compute_vf_failover', self.events(server))

    # -- what is left ------------------------------------------------------

    def test_an_intent_that_nobody_waits_for_is_swept(self):
        server = self.start()
        metadata._write(server['id'], items.build(self.intent(40)))

        self.recover('alpha')

        self.assertEqual({'owner': 'me'}, self.stored(server))

    def test_not_while_the_server_has_a_task(self):
        server = self.start()
        wanted = items.build(self.intent())
        metadata._write(server['id'], wanted)
        instance = objects.Instance.get_by_uuid(self.ctxt, server['id'])
        instance.task_state = 'migrating'
        instance.save()

        self.recover('alpha')

        self.assertEqual(dict(wanted, owner='me'), self.stored(server))

    def test_not_while_its_move_is_unfinished(self):
        self.test_a_guest_that_never_looks_stays_and_is_reachable()
        server = {'id': next(iter(self.hosts.agents))}
        # The second look is too early for an attempt, which would write it.
        self.flags(recovery_interval=3600, group='vf_failover')
        self.recover('alpha')

        self.recover('alpha')

        self.assertIn(items.NAME, self.stored(server))

    def test_an_item_of_the_owner_is_not_swept(self):
        self.start_hosts()
        theirs = {items.NAME: 'on wednesdays'}
        server = self.boot(self.add_port(), metadata=theirs)

        self.recover('alpha')

        self.assertEqual(theirs, self.stored(server))

    # -- one intent ----------------------------------------------------------

    def look(self):
        return guest_metadata.fetch(self.url)

    def intent(self, ports=1):
        return intents.Intent(1764000000000, intents.Use.STANDBY, 30, {
            f'port-{number}': f'fa:16:3e:00:01:{number:02x}'
            for number in range(ports)})

    def test_the_service_shows_it_when_its_cache_is_old(self):
        now = [0.0]
        self.useFixture(fixtures.MonkeyPatch(
            'oslo_cache.backends.dictionary.timeutils',
            types.SimpleNamespace(utcnow_ts=lambda: now[0])))
        self.serve(3600)
        server = self.start()
        self.assertEqual({'owner': 'me'}, self.look())
        wanted = items.build(self.intent(40))
        self.assertEqual(3, len(wanted))

        metadata._write(server['id'], wanted)

        self.assertEqual({'owner': 'me'}, self.look())
        now[0] += 3600
        self.assertEqual(dict(wanted, owner='me'), self.look())
        self.assertEqual(40, len(guest_metadata.read(self.look()).ports))
        metadata._remove(server['id'])
        now[0] += 3600
        self.assertEqual({'owner': 'me'}, self.look())

    def test_an_item_that_comes_while_they_are_removed_stays(self):
        server = self.start()
        metadata._write(server['id'], items.build(self.intent(40)))
        load = metadata._load

        def load_before_it_comes(uuid):
            instance = load(uuid)
            self.api.api_post(f'/servers/{uuid}/metadata',
                              {'metadata': {'colour': 'red'}})
            return instance

        with fixtures.MonkeyPatch(
                'nova_vf_failover.channels.metadata._load',
                load_before_it_comes):
            metadata._remove(server['id'])

        self.assertEqual({'owner': 'me', 'colour': 'red'},
                         self.stored(server))

    def test_a_stale_copy_of_the_instance_does_not_overwrite_it(self):
        server = self.start()
        stale = objects.Instance.get_by_uuid(
            self.ctxt, server['id'], expected_attrs=['metadata'])
        wanted = items.build(self.intent())

        metadata._write(server['id'], wanted)
        stale.display_description = 'changed'
        stale.save()

        self.assertEqual(dict(wanted, owner='me'), self.stored(server))

    def test_what_is_as_it_should_be_is_not_written(self):
        server = self.start()
        wanted = items.build(self.intent())
        metadata._write(server['id'], wanted)

        with mock.patch.object(objects.Instance, 'save',
                               autospec=True) as save:
            metadata._write(server['id'], wanted)

        save.assert_not_called()
