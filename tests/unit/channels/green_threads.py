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

"""Asks a silent guest as a nova-compute in green threads does.

A program, for a process in which Nova runs native threads can import no
eventlet. It says whether another green thread ran meanwhile.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from nova.tests import functional  # noqa: F401  # isort: skip

import eventlet
import eventlet.patcher
import eventlet.tpool
import fixtures

from nova_vf_failover.channels import qga
from tests.unit.channels import guest_agent


def main() -> None:
    others_run = eventlet.patcher.original('threading').Event()
    noted = []

    def be_silent(domain, command, timeout, flags):
        # As the C function: it holds the native thread that calls it.
        noted.append(others_run.wait(10))
        return domain.name

    with guest_agent.Answers(), fixtures.MonkeyPatch(
            'libvirt_qemu.qemuAgentCommand', be_silent):
        eventlet.spawn(others_run.set)
        # As Nova wraps its domains.
        answer = qga._ask(eventlet.tpool.Proxy(_Domain()), '{}')
    print(answer, noted)


class _Domain:
    name = 'instance-1'


if __name__ == '__main__':
    main()
