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

"""Clouds that are otherwise than most: their NICs, or how guests are told."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import typing

import fixtures
from nova.api import wsgi

from tests.simulation import metadata_service
from tests.simulation import paper
from tests.simulation import paper_air


class ExclusiveNics(base.FailoverTestCase):
    """Hosts whose NICs do not deliver a MAC to the PF while a VF has it."""

    STEERING = 'auto'
    MODE = paper.EXCLUSIVE
    DRIVER = 'ice'

    def setUp(self) -> None:
        super().setUp()
        self.flags(steering=self.STEERING, group='vf_failover')

    def start_host(self, name: str, *arguments: typing.Any,
                   **keywords: typing.Any) -> None:
        super().start_host(name, *arguments, **keywords)
        plane = self.plane(name)
        plane.mode, plane.driver = self.MODE, self.DRIVER


class MetadataGuests(base.FailoverTestCase):
    """Guests without a QEMU guest agent, told by Nova's metadata service.

    :ivar url: where the metadata are
    """

    #: seconds for which the service keeps an answer; 15 unless told otherwise
    CACHED = 2
    #: of the option of that name
    METADATA_DELAY = 10

    def setUp(self) -> None:
        super().setUp()
        self.flags(channel='metadata', metadata_delay=self.METADATA_DELAY,
                   group='vf_failover')
        self.air = self.useFixture(paper_air.PaperAir(self.hosts))
        self.serve(self.CACHED)

    def serve(self, seconds: int) -> None:
        """Start a service that keeps an answer for so many seconds."""
        self.flags(metadata_cache_expiration=seconds, group='api')
        self.url = self.useFixture(metadata_service.Application(
            wsgi.Loader().load_app('metadata'))).url

    def _add_guest_agent_to_images(self) -> None:
        """There is no QEMU guest agent in them."""

    def boot(self, *ports: dict[str, typing.Any],
             metadata: dict[str, str] | None = None,
             **keywords: typing.Any) -> dict[str, typing.Any]:
        """A server with these metadata; its guest does not look yet."""
        server = super().boot(*ports, **keywords)
        self.api.api_post(f'/servers/{server["id"]}/metadata',
                          {'metadata': metadata or {}})
        del self.hosts.world.guest_agents[server['id']]
        self.useFixture(fixtures.MonkeyPatch(
            'nova.network.neutron.API.get_fixed_ip_by_address',
            lambda *_: {'instance_uuid': server['id']}))
        return server

    def speak(self) -> paper_air.Speaker:
        """Have the guest that was booted last look from now on."""
        return self.useFixture(paper_air.Speaker(
            self.air, self.agent, self.url))
