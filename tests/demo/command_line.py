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

"""The real ``openstack`` command, as a user of this cloud has it."""

import json
import os
import shutil
import subprocess
import sys
import typing

from tests.demo import doors


class CommandFailed(Exception):
    """The command has ended with an error; the message is what it said."""


class OpenStack:
    """Runs commands against one cloud.

    :param identity: the URL of Keystone
    :ivar environment: the variables that lead there
    """

    def __init__(self, identity: str) -> None:
        self.environment = {
            **{name: value for name, value in os.environ.items()
               if not name.startswith('OS_')},
            'OS_AUTH_TYPE': 'v3password', 'OS_AUTH_URL': f'{identity}/v3',
            'OS_USERNAME': doors.USER, 'OS_PASSWORD': doors.PASSWORD,
            'OS_PROJECT_NAME': doors.PROJECT_NAME,
            'OS_USER_DOMAIN_ID': 'default',
            'OS_PROJECT_DOMAIN_ID': 'default',
            'OS_REGION_NAME': 'demo', 'OS_COMPUTE_API_VERSION': '2.90',
            # The doors are on this machine, whatever proxy it has.
            'NO_PROXY': '127.0.0.1', 'no_proxy': '127.0.0.1'}
        self._program = shutil.which(
            'openstack', path=os.path.dirname(sys.executable))

    def run(self, *arguments: str) -> str:
        """Run a command to its end and return what it prints.

        :raises CommandFailed: it has failed
        """
        if not self._program:
            raise CommandFailed(
                'There is no openstack command beside this Python; install '
                'demo-requirements.txt.')
        done = subprocess.run(
            [self._program, *arguments], env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode:
            raise CommandFailed(
                f'openstack {" ".join(arguments)} has failed: '
                f'{done.stderr.strip() or done.stdout.strip()}')
        return done.stdout

    def ask(self, *arguments: str) -> typing.Any:
        """As :meth:`run`, and the answer as an object."""
        return json.loads(self.run(*arguments, '-f', 'json'))
