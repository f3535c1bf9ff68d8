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

"""What systemd is told of the agent."""

import configparser
import pathlib

from oslotest import base

PATH = (pathlib.Path(__file__).parents[3] / 'etc' / 'vf-failover-agent'
        / 'vf-failover-agent.service')


def lines(key: str) -> list[str]:
    """Each value that a key has in the unit."""
    return [line[len(key) + 1:] for line in PATH.read_text().splitlines()
            if line.startswith(f'{key}=')]


class UnitTestCase(base.BaseTestCase):

    def test_however_often_it_ends_it_is_started_again(self):
        # Some keys are there more than once.
        unit = configparser.RawConfigParser(strict=False)
        unit.optionxform = str
        unit.read(PATH)

        self.assertEqual('always', unit['Service']['Restart'])
        self.assertEqual('0', unit['Unit']['StartLimitIntervalSec'])

    def test_a_systemd_that_knows_no_group_of_calls_forbids_none(self):
        # What is left of a list of what is allowed is no call at all.
        filters = lines('SystemCallFilter')

        self.assertTrue(filters)
        for words in filters:
            self.assertTrue(words.startswith('~'), words)
        self.assertIn('@module', ' '.join(filters).lstrip('~').split())

    def test_its_folder_is_there_where_systemd_makes_none(self):
        # 232 to 234 have a read-only file system, and no StateDirectory=.
        name, = lines('StateDirectory')

        self.assertEqual([f'-/var/lib/{name}'], lines('ReadWritePaths'))
        command, = lines('ExecStartPre')
        # Outside of that file system, and never in the way of the agent.
        self.assertTrue(command.startswith('-+/'), command)
        self.assertEqual(f'/var/lib/{name}', command.split()[-1])
