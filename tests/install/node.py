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

"""A cloud without the plugin that becomes one with it, while a server runs.

A process of its own, by the Python that the plugin was installed into: two
compute nodes of the demonstration, whose nova.conf gets the settings of the
page.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.demo import cloud as demo  # isort: skip

import argparse
import json
import pathlib
import shlex
import sys
import time
import typing

import fixtures
import testtools

import nova_vf_failover
from nova_vf_failover.cmd import servers
from nova_vf_failover.cmd import views
from tests.simulation.fabric import traffic

HOSTS = ('alpha', 'beta')
SERVER = 'vm'


class Cloud(demo.Cloud):
    """Two nodes, on which a page is followed.

    :param settings: what the page wants in nova.conf
    :param commands: what the page types to move a server
    """

    def __init__(self, settings: str, commands: list[str],
                 people: typing.TextIO) -> None:
        super().__init__(argparse.Namespace(scheme=demo.NATIVE), people)
        self._settings = settings
        self._commands = commands

    def _nova_conf(self) -> str:
        return str(self._file)

    def live_migrate(self) -> None:
        """Move a server without the plugin, enable it, move it again."""
        self._file = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path, 'nova.conf')
        self._file.write_text(demo.NOVA_CONF)
        self.start_hosts()
        self._openstack = self._open_doors()
        server = self._create_server_with_vf(self._openstack)
        before = self._move(self._commands[0])
        self._enable()
        self._start_agent(server)
        after = self._move(*self._commands)
        self._say(views.page(servers.of(self._domain(server))))
        self._judge(before, after)

    def _enable(self) -> None:
        self._say(f'In nova.conf of both nodes:\n\n{self._settings}')
        with self._file.open('a') as file:
            file.write(f'\n{self._settings}')
        for host in HOSTS:
            self._say(f'{host}: systemctl restart nova-compute')
            self._install(True)
            self.restart_host(host)

    def _move(self, *commands: str) -> tuple[traffic.Direction,
                                             traffic.Direction]:
        """Type what moves the server, with traffic running."""
        session = self.net.traffic(self._port, rate=1000)
        time.sleep(demo.QUIET)
        for command in commands:
            self._type(command)
        time.sleep(demo.QUIET)
        ways = session.stop()
        towards, away = (1000 * way.interruption for way in ways)
        self._say(f'Interrupted for {towards:.0f} ms to the server and '
                  f'{away:.0f} ms from it.')
        return ways

    def _type(self, command: str) -> None:
        program, *arguments = shlex.split(command)
        if program != 'openstack':
            # What is typed on a host is another process there.
            return
        names = {'SERVER': SERVER}
        if 'REQUEST' in arguments:
            names['REQUEST'] = self._newest_request()
        typed = [names.get(word, word) for word in arguments]
        self._say(f'$ openstack {" ".join(typed)}')
        self._say(self._openstack.run(*typed).rstrip())

    def _newest_request(self) -> str:
        return next(event['Request ID'] for event in self._openstack.ask(
            'server', 'event', 'list', SERVER)
            if event['Action'] == 'live-migration')

    def _domain(self, server: str) -> typing.Any:
        host = self._openstack.ask(
            'server', 'show', SERVER)['OS-EXT-SRV-ATTR:host']
        return self.domain(host, {'id': server})

    def _judge(self, before: tuple[traffic.Direction, ...],
               after: tuple[traffic.Direction, ...]) -> None:
        shown = self._openstack.ask('server', 'event', 'show', SERVER,
                                    self._newest_request())
        events = {event['event']: event['result']
                  for event in shown['events']}
        self.assertEqual(
            ['Success', 'Success'],
            [events.get(f'compute_vf_{name}')
             for name in ('failover', 'failback')])
        for without, with_it in zip(before, after, strict=True):
            self.assertLess(with_it.interruption, without.interruption)


def main() -> int:
    """The exit code: 0 if all went as the page says."""
    parser = argparse.ArgumentParser()
    parser.add_argument('page', help='JSON: settings, and commands')
    page = json.loads(pathlib.Path(parser.parse_args().page).read_text())
    people = demo.stdout_for_people()
    print(f'The plugin is {nova_vf_failover.__path__[0]}', file=people)
    cloud = Cloud(page['settings'], page['commands'], people)
    result = testtools.TestResult()
    cloud.run(result)
    for _, failure in result.errors + result.failures:
        print(failure, file=sys.stderr)
    return 0 if result.wasSuccessful() else 1


if __name__ == '__main__':
    sys.exit(main())
