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

"""A RabbitMQ of one test's own, on loopback."""

import os
import queue
import socket
import subprocess
import tempfile
import threading

import fixtures

# Not the wrapper in /usr/sbin, which starts the machine's broker as its user.
PROGRAM = '/usr/lib/rabbitmq/bin/rabbitmq-server'

_READY = 'completed with'
# Seconds for an Erlang machine on a busy computer.
_PATIENCE = 120


def missing_requirement() -> str | None:
    """Why there can be no broker here, or None."""
    if not os.path.exists(PROGRAM):
        return (f'{PROGRAM} is missing; ".ci/tox -e rabbit" installs '
                'rabbitmq-server.')
    if os.geteuid():
        return 'Only root can keep a broker in a PID namespace of its own.'
    return None


class Broker(fixtures.Fixture):
    """Runs until the test is over.

    The broker is the first process of a PID namespace: with it end epmd, the
    port mapper that Erlang starts as a daemon, and everything else that it
    has started. epmd's port is another one than the machine's.

    :ivar url: for ``transport_url``
    """

    def _setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        port, distribution, mapper = _free_ports(3)
        self.url = f'rabbit://guest:guest@127.0.0.1:{port}/'
        self._process = subprocess.Popen(
            ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc',
             PROGRAM],
            env={
                'PATH': os.environ['PATH'],
                # The cookie of Erlang is put there.
                'HOME': folder.name,
                'ERL_EPMD_PORT': str(mapper),
                'ERL_EPMD_ADDRESS': '127.0.0.1',
                'RABBITMQ_NODENAME': f'vff{port}@localhost',
                'RABBITMQ_NODE_IP_ADDRESS': '127.0.0.1',
                'RABBITMQ_NODE_PORT': str(port),
                'RABBITMQ_DIST_PORT': str(distribution),
                'RABBITMQ_MNESIA_BASE': f'{folder.name}/mnesia',
                'RABBITMQ_LOG_BASE': f'{folder.name}/log',
                'RABBITMQ_PID_FILE': f'{folder.name}/pid',
                'RABBITMQ_CONFIG_FILE': f'{folder.name}/rabbitmq',
                'RABBITMQ_CONF_ENV_FILE': os.devnull,
                'RABBITMQ_ENABLED_PLUGINS_FILE': f'{folder.name}/plugins',
            },
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.addCleanup(self._stop)
        self._await()

    def _stop(self) -> None:
        # Its data go with it: there is nothing to be written.
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def _await(self) -> None:
        """Wait until the broker says that it has started."""
        said = []
        while True:
            line = self._lines.get(timeout=_PATIENCE)
            if line is None:
                raise RuntimeError('RabbitMQ has not started:\n'
                                   + ''.join(said))
            said.append(line)
            if _READY in line:
                return

    def _read(self) -> None:
        """Until the end, lest the broker has to wait for a reader."""
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has right now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(('127.0.0.1', 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
