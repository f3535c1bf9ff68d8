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

"""What a server's flavor or image asks for counts before the host's policy."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import dataclasses

import ddt
from nova import objects
from nova.tests.functional.api import client

from tests.simulation import errors
from tests.simulation import paper_agent

MISSING = paper_agent.Mood.MISSING


class ModesTestCase(base.FailoverTestCase):

    def start(self, policy='native', **hosts):
        self.flags(policy=policy, group='vf_failover')
        self.start_hosts(**hosts)

    def server_of(self, flavor=None, image=None):
        """A server whose flavor and image ask for these modes."""
        if image:
            for known in self.glance.images.values():
                known['properties']['vf_failover_mode'] = image
        specs = {'vf_failover:mode': flavor} if flavor else None
        return self.boot(self.add_port(),
                         flavor_id=self._create_flavor(extra_spec=specs))

    def assertSwapped(self, server):
        self.migrate(server)
        self.assertWorld(server, 'beta')
        self.assertIn('plug_macvtap', self.plane('alpha').calls)

    def assertNovasWay(self, server):
        self.migrate(server)
        self.assertWorld(server, 'beta')
        self.assertNotIn('plug_macvtap', self.plane('alpha').calls)

    def assertRefused(self, server):
        refusal = self.refusal(server)
        self.assertIn('Migration pre-check error', refusal)
        self.assertIn('The image needs', refusal)
        self.assertWorld(server, 'alpha')


@ddt.ddt
class ServerModeTestCase(ModesTestCase):

    @ddt.data(('off', None), (None, 'off'), ('off', 'required'))
    @ddt.unpack
    def test_off_is_novas_own_way(self, flavor, image):
        self.start('required')

        self.assertNovasWay(self.server_of(flavor, image))

    @ddt.data(('required', None), (None, 'required'), ('required', 'auto'),
              (None, ' Required'))
    @ddt.unpack
    def test_required_refuses(self, flavor, image):
        self.start('native')
        server = self.server_of(flavor, image)
        self.agent.mood = MISSING

        self.assertRefused(server)

    @ddt.data(('auto', None), (None, 'auto'), ('auto', 'required'))
    @ddt.unpack
    def test_auto_takes_what_there_is(self, flavor, image):
        self.start('required')
        server = self.server_of(flavor, image)
        self.agent.mood = MISSING

        self.assertNovasWay(server)

    @ddt.data('required', 'auto')
    def test_is_swapped_where_it_can_be(self, mode):
        self.start()

        self.assertSwapped(self.server_of(mode))

    def test_what_is_no_mode_does_not_count(self):
        self.start('required')
        server = self.server_of(image='sometimes')
        self.agent.mood = MISSING

        self.assertRefused(server)
        self.assertIn('image property vf_failover_mode of the server is '
                      "'sometimes'", self.stdlog.logger.output)

    def test_required_goes_to_no_host_without_the_plugin(self):
        self.start(beta={'plugin': False})
        server = self.server_of('required')

        self.migrate(server, 'failed')

        self.assertWorld(server, 'alpha')
        self.assertIn('does not answer the offer', self.stdlog.logger.output)

    def test_required_is_refused_by_a_destination_that_cannot(self):
        self.start()
        server = self.server_of('required')
        links = self.plane('beta').links
        links['betapf0'] = dataclasses.replace(links['betapf0'], up=False)

        self.assertIn('PF betapf0 is down', self.refusal(server))
        self.assertWorld(server, 'alpha')

    def test_degraded_server_is_swapped_whatever_it_asks_for(self):
        self.start()
        server = self.server_of()
        self.plane('beta').fail_next('assign_vf', errors.system('no VF'))
        self.migrate(server)
        self.assertWorld(server, 'beta', base.STANDBY)
        instance = objects.Instance.get_by_uuid(self.ctxt, server['id'])
        instance.system_metadata['image_vf_failover_mode'] = 'off'
        instance.save()

        self.migrate(server)

        self.assertWorld(server, 'alpha')


class ExtraSpecTestCase(ModesTestCase):
    """Nova's API knows the extra spec."""

    def answer(self, **specs):
        flavor = self._create_flavor()
        try:
            self.api.post_extra_spec(flavor, {'extra_specs': {
                f'vf_failover:{name}': value
                for name, value in specs.items()}})
        except client.OpenStackApiException as error:
            return error.response.status_code, error.response.text
        return 200, ''

    def test_each_mode_is_taken(self):
        for mode in ('required', 'auto', 'off'):
            self.assertEqual((200, ''), self.answer(mode=mode))

    def test_what_is_no_mode_is_refused(self):
        code, text = self.answer(mode='sometimes')

        self.assertEqual(400, code)
        self.assertIn('required, auto, off', text)

    def test_what_is_no_extra_spec_is_refused(self):
        code, text = self.answer(made='off')

        self.assertEqual(400, code)
        self.assertIn('vf_failover:made', text)
