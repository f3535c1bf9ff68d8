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

"""Servers that cannot be suspended for now, or not for a snapshot.

When it suspends a server, Nova detaches its direct ports as if their owner
did, and attaches them when it resumes it (nova/virt/libvirt/driver.py). A port
that is on its standby would lose that, and would be resumed with the VF that
it could not have.
"""

from nova.compute import task_states
from nova import exception as nova_exception
from nova import objects

from nova_vf_failover import exception
from nova_vf_failover import workbench


def check(bench: workbench.Workbench, instance: objects.Instance) -> None:
    """See that each port of a server is on its VF, once recovery makes way.

    :raises nova.exception.InstanceFaultRollback: one is not, or nobody knows;
        it is the error after which Nova leaves the server as it is
    :raises nova.exception.InstanceSuspendFailure: the same, where it is for a
        snapshot of a server that has to stand still, which knows no rollback
    """
    try:
        with bench.operations.begin(instance.uuid):
            entries = bench.domain(instance).read_journal().entries
    except exception.VFFailoverError as error:
        raise _refusal(instance, str(error)) from error
    if entries:
        raise _refusal(
            instance, f'Ports {", ".join(entries)} are not on their VFs, and '
            'their standby NICs would be lost. Have them brought back with '
            '"nova-vf-failover failback", or migrate the server.')


def _refusal(instance: objects.Instance, reason: str) -> Exception:
    failure: Exception = nova_exception.InstanceSuspendFailure(reason=reason)
    if instance.task_state != task_states.SUSPENDING:
        return failure
    rollback: Exception = nova_exception.InstanceFaultRollback(failure)
    return rollback
