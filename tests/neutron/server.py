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

"""A real Neutron of one test's own, on loopback."""

from collections.abc import Callable
import importlib.util
import pathlib
import socket
import subprocess
import sys
import typing
import urllib.error
import urllib.request

import fixtures
from oslo_serialization import jsonutils

from tests.neutron import process
from tests.neutron import settings
from tests.neutron import vf_files
from tests.rabbit import broker

# What its workers say, with --debug, when they listen.
_LISTENING = ('start finished, description: rpc worker',
              'start finished, description: rpc reports worker')

#: the headers of a request that Keystone has found to be an administrator's
ADMINISTRATOR = {'X-User-Id': 'administrator', 'X-Project-Id': 'services',
                 'X-Roles': 'admin,service,member,reader'}

Document = dict[str, typing.Any]


def missing_requirement() -> str | None:
    """Why there can be no Neutron here, or None."""
    if not importlib.util.find_spec('neutron'):
        return ('Neutron is not installed; ".ci/tox -e neutron" makes an '
                'environment with it.')
    return broker.missing_requirement()


class Server(fixtures.Fixture):
    """RabbitMQ, Neutron's API and its RPC server, with a database.

    :param nova: where Nova is to be told of ports, see
        :func:`.settings.write_server`
    :ivar url: where the API is; it takes from the headers of a request who
        asks, as from Keystone's middleware
    :ivar broker: the URL of RabbitMQ
    """

    def __init__(self, nova: dict[str, str] | None = None) -> None:
        self._nova = nova

    def _setUp(self) -> None:
        self.folder = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path)
        self.broker = self.useFixture(broker.Broker()).url
        self._processes: dict[str, process.Process] = {}
        path = str(settings.write_server(
            self.folder, self.broker, self._nova))
        self._make_tables(path)
        self.start('neutron-rpc-server', [
            sys.executable, '-m', 'tests.neutron.rpc_server', '--debug',
            '--config-file', path],
            lambda log: all(line in log for line in _LISTENING))
        port = _free_port()
        self.url = f'http://127.0.0.1:{port}'
        self.start('neutron-api', [
            sys.executable, '-m', 'tests.neutron.api', str(port), path],
            lambda log: self._answers())

    def start(self, name: str, argv: list[str],
              ready: Callable[[str], bool]) -> None:
        """Start one more service of this Neutron.

        :param ready: whether it is, asked with what it has printed
        """
        self._processes[name] = self.useFixture(process.Process(
            name, argv, self.folder / f'{name}.log', ready))

    def start_agent(self, host: str, pf: str, files: vf_files.VfFiles,
                    report_interval: int = 30) -> None:
        """Start the SR-IOV agent of a host and wait until it is known.

        :param pf: the PF through which the host is in the physical network
        :param report_interval: seconds between two heartbeats
        """
        path = settings.write_agent(self.folder, self.broker, host, pf,
                                    report_interval)
        self.start(f'neutron-sriov-nic-agent-{host}', [
            sys.executable, '-m', 'tests.neutron.sriov_agent',
            str(files.folder), '--config-file', str(path)],
            lambda log: self._knows_agent(host))

    def _knows_agent(self, host: str) -> bool:
        code, answer = self.ask('GET', f'/agents?host={host}')
        return any(agent['alive'] for agent in answer['agents'])

    def ask(self, method: str, path: str, body: Document | None = None,
            ) -> tuple[int, Document]:
        """Ask the API as its administrator.

        :returns: the status code and the answer, which may be empty
        """
        code, _, answer = request(
            method, f'{self.url}/v2.0{path}', ADMINISTRATOR, body)
        return code, answer

    def make_network(self, name: str, project: str = 'services') -> str:
        """Make a flat network of a project with a subnet on it.

        :returns: its ID
        """
        _, made = self.ask('POST', '/networks', {'network': {
            'name': name, 'project_id': project,
            'provider:network_type': 'flat',
            'provider:physical_network': settings.PHYSICAL_NETWORK}})
        network = made['network']['id']
        # The addresses that the guest of the fabric has in its first network.
        self.ask('POST', '/subnets', {'subnet': {
            'network_id': network, 'project_id': project, 'ip_version': 4,
            'enable_dhcp': False,
            'cidr': '192.168.1.0/24', 'gateway_ip': '192.168.1.1',
            'allocation_pools': [{'start': '192.168.1.11',
                                  'end': '192.168.1.11'}]}})
        return network

    def trouble(self) -> list[str]:
        """What its services have said of errors."""
        return [f'{name}: {line}'
                for name, service in self._processes.items()
                for line in service.trouble()]

    def _make_tables(self, path: str) -> None:
        made = subprocess.run(
            [sys.executable, '-m', 'tests.neutron.database', '--config-file',
             path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True)
        if made.returncode:
            raise process.ServiceFailed(
                f'The tables of Neutron cannot be made:\n{made.stdout}')

    def _answers(self) -> bool:
        try:
            request('GET', self.url, {})
        except (urllib.error.URLError, ConnectionError):
            return False
        return True


def request(method: str, url: str, headers: dict[str, str],
            body: Document | None = None,
            ) -> tuple[int, typing.Any, Document]:
    """Ask somebody by HTTP.

    :returns: the status code, the headers and the answer, which may be empty
    """
    asked = urllib.request.Request(
        url, method=method,
        headers={**headers, 'Content-Type': 'application/json'},
        data=jsonutils.dump_as_bytes(body) if body else None)
    # This machine, whatever proxy it has.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(asked, timeout=300) as response:
            code, text = response.status, response.read()
            headers = response.headers
    except urllib.error.HTTPError as error:
        code, text, headers = error.code, error.read(), error.headers
    try:
        return code, headers, jsonutils.loads(text) if text else {}
    except ValueError:
        return code, headers, {}


def _free_port() -> int:
    """A port that nobody has right now."""
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]
