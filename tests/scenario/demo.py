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

"""The scenario on the cloud of the demonstration.

The scenario is a process of its own that knows the cloud by its HTTP doors
only; what is pinged is the guest in its namespace, from the peer.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.demo import cloud as demo  # isort: skip

import argparse
import subprocess
import sys
import typing

import testtools

from tests.simulation.fabric import namespace
from tests.simulation.fabric import network


class ScenarioCloud(demo.Cloud):
    """The demonstration's cloud, whose user is the scenario.

    :param scenario: arguments of the scenario
    :param people: where it says what it does
    """

    def __init__(self, scheme: str, copy_seconds: float,
                 scenario: list[str], people: typing.TextIO) -> None:
        super().__init__(argparse.Namespace(
            scheme=scheme, copy_seconds=copy_seconds), people)
        self._scenario = scenario
        self._code: int | None = None

    @property
    def code(self) -> int | None:
        """What the scenario ended with; None if it was not come to."""
        return self._code

    def _observe(self, name: str, phase: str) -> None:
        booting = not hasattr(self, 'agent')
        super()._observe(name, phase)
        if (booting and (name, phase) == ('assign_vf', 'end')
                and self._arguments.scheme == demo.VF_FAILOVER):
            server, = self.api.get_servers(detail=False)
            self._start_agent(server['id'])

    def live_migrate(self) -> None:
        self.hosts.world.migrations.copy_seconds = (
            self._arguments.copy_seconds)
        self.start_hosts()
        openstack = self._open_doors()
        address = network.Port(1, '').v4.ip
        self._code = subprocess.run(
            [sys.executable, '-m', 'tests.scenario', '--network', 'sriov',
             '--image', self.glance.image1['id'],
             '--flavor', self._create_flavor(), '--source', 'alpha',
             '--destination', 'beta', '--address', str(address),
             '--ping-prefix', f'ip netns exec {self.net.peer.name}',
             *self._scenario],
            env=openstack.environment, stdout=self._people).returncode


def main() -> int:
    parser = argparse.ArgumentParser(
        prog='tox -e scenario-demo --',
        description='The scenario on the cloud of the demonstration.')
    parser.add_argument('--scheme', default=demo.VF_FAILOVER,
                        choices=[demo.NATIVE, demo.VF_FAILOVER])
    parser.add_argument('--copy-seconds', type=float, default=3.0)
    arguments, scenario = parser.parse_known_args()
    cloud = ScenarioCloud(arguments.scheme, arguments.copy_seconds, scenario,
                          demo.stdout_for_people())
    result = testtools.TestResult()
    try:
        cloud.run(result)
    finally:
        namespace.sweep()
    for _, failure in result.errors + result.failures:
        print(failure, file=sys.stderr)
    if cloud.code is None or not result.wasSuccessful():
        return 2
    return cloud.code


if __name__ == '__main__':
    sys.exit(main())
