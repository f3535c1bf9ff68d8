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

"""What the agent does where nobody says anything else."""

import os
import pathlib

from oslotest import base

from nova_vf_failover.guest import agent
from tests.unit.guest import test_unit


class DefaultsTestCase(base.BaseTestCase):

    def drivers(self, *arguments):
        return agent._standby_drivers(agent._parser().parse_args(arguments))

    def test_a_standby_is_a_virtio_nic(self):
        for command in ('run',), ('udev', 'eth0'):
            self.assertEqual({'virtio_net'}, self.drivers(*command))

    def test_or_what_is_said_instead(self):
        self.assertEqual({'tun', 'vmxnet3'}, self.drivers(
            'run', '--standby-driver', 'tun', '--standby-driver', 'vmxnet3'))

    def test_its_places_are_those_of_the_unit(self):
        run, = test_unit.lines('RuntimeDirectory')
        state, = test_unit.lines('StateDirectory')

        self.assertEqual(f'/run/{run}/socket', agent.SOCKET)
        self.assertEqual(f'/var/lib/{state}', agent.FOLDER)

    def test_its_rule_of_udev_looks_for_its_place(self):
        rule = pathlib.Path(test_unit.PATH).with_name('70-vf-failover.rules')

        self.assertIn(f'"{os.path.dirname(agent.SOCKET)}"', rule.read_text())
