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

"""A QEMU guest agent that answers what a test has it answer."""

import types

import fixtures
from nova.tests.fixtures import libvirt as fakelibvirt

from nova_vf_failover.channels import qga
from nova_vf_failover import conf
from tests.simulation import modules


class Answers(fixtures.Fixture):
    """What the guest agent says to one command after the other.

    :ivar said: texts and errors, of which each command takes the first one
    """

    def __init__(self):
        self.said = []

    def _setUp(self):
        conf.register_opts(qga.CONF)
        module = types.ModuleType('libvirt_qemu')
        module.qemuAgentCommand = self._command
        self.useFixture(modules.StandIn('libvirt_qemu', module))
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.guest.libvirt', fakelibvirt))

    def _command(self, domain, command, timeout, flags):
        answer = self.said.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer
