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

"""The stand-in for Neutron and the real one, asked the same.

A process of its own: ``python -m tests.neutron.comparison RESULT``. It prints
a line for each thing that it does and writes both dialogues into a file.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.demo import cloud as demo  # isort: skip

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import typing

import fixtures
from keystoneauth1 import noauth
from keystoneauth1 import session as sessions
from neutronclient.v2_0 import client
from nova import context
import testtools

from tests.demo import doors
from tests.neutron import dialogue
from tests.neutron import server
from tests.neutron import vf_files


class StandInSide:
    """What the demonstration has in Neutron's place: a door and a client."""

    def __init__(self, cloud: 'Comparison') -> None:
        self.client = cloud.neutron._get_client(
            context.get_admin_context(), admin=True)
        self.network = cloud.neutron.network_4['id']
        identity = cloud._open_doors().environment['OS_AUTH_URL']
        self._url = identity.replace('/identity/v3', '/network/v2.0')
        self._token = self._authenticate(f'{identity}/auth/tokens')

    def http(self, method: str, path: str,
             body: dialogue.Document | None = None,
             ) -> tuple[int, dialogue.Document]:
        code, _, answer = server.request(
            method, self._url + path, {'X-Auth-Token': self._token}, body)
        return code, answer

    def _authenticate(self, url: str) -> str:
        _, headers, _ = server.request('POST', url, {}, {'auth': {'identity': {
            'methods': ['password'], 'password': {'user': {
                'name': doors.USER, 'password': doors.PASSWORD}}}}})
        return headers['X-Subject-Token']


class RealSide:
    """Neutron itself with the SR-IOV agents of alpha and beta."""

    def __init__(self, neutron: server.Server) -> None:
        self._neutron = neutron
        self.client = client.Client(
            session=sessions.Session(
                auth=noauth.NoAuth(endpoint=neutron.url),
                additional_headers=server.ADMINISTRATOR),
            endpoint_override=neutron.url)
        self.network = neutron.make_network('sriov')

    def http(self, method: str, path: str,
             body: dialogue.Document | None = None,
             ) -> tuple[int, dialogue.Document]:
        return self._neutron.ask(method, path, body)


class Comparison(demo.Cloud):
    """The demonstration's cloud, in which nothing is booted.

    :ivar dialogues: the answers, by side
    """

    def __init__(self, people: typing.TextIO) -> None:
        super().__init__(argparse.Namespace(), people)
        self._dialogues: dict[str, list[dialogue.Answer]] = {}

    @property
    def dialogues(self) -> dict[str, list[dialogue.Answer]]:
        return self._dialogues

    def live_migrate(self) -> None:
        self._say('Asking the stand-in')
        self._hold('stand-in', StandInSide(self))
        self._say('Starting RabbitMQ, Neutron\'s RPC server and its API')
        neutron = self.useFixture(server.Server())
        files = vf_files.VfFiles(pathlib.Path(
            self.useFixture(fixtures.TempDir()).path))
        for host, vf in dialogue.VFS.items():
            self._say(f'Starting neutron-sriov-nic-agent on {host}')
            files.add_pf(f'{host}pf0', [vf])
            neutron.start_agent(host, f'{host}pf0', files)
        self._say('Asking Neutron')
        self._hold('neutron', RealSide(neutron))

    def _hold(self, name: str, side: dialogue.Side) -> None:
        held = dialogue.Dialogue(side)
        held.hold()
        self._dialogues[name] = held.answers


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument('result')
    arguments = parser.parse_args()
    # What is said is for people; what Nova prints goes with the errors.
    people = os.fdopen(os.dup(sys.stdout.fileno()), 'w')
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    comparison = Comparison(people)
    result = testtools.TestResult()
    comparison.run(result)
    for _, failure in result.errors + result.failures:
        print(failure, file=sys.stderr)
    if not result.wasSuccessful():
        return 1
    with open(arguments.result, 'w') as file:
        json.dump({name: [dataclasses.asdict(answer) for answer in answers]
                   for name, answers in comparison.dialogues.items()}, file)
    return 0


if __name__ == '__main__':
    sys.exit(main())
