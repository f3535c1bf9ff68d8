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


class UnitTestCase(base.BaseTestCase):

    def test_however_often_it_ends_it_is_started_again(self):
        # Some keys are there more than once.
        unit = configparser.RawConfigParser(strict=False)
        unit.optionxform = str
        unit.read(PATH)

        self.assertEqual('always', unit['Service']['Restart'])
        self.assertEqual('0', unit['Unit']['StartLimitIntervalSec'])
