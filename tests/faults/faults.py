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

"""What can go wrong with a call that leaves a process, and how it looks.

Each kind of call has the errors that it really raises: those of libvirt, of
the message bus, of the clients of Neutron and Placement, of netlink, of the
privileged daemon.
"""

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401 isort: skip

from collections.abc import Callable
import enum
import errno
import os
import threading
import typing

from keystoneauth1 import exceptions as keystone
from neutronclient.common import exceptions as neutron
from nova.tests.fixtures import libvirt as fakelibvirt
import oslo_messaging
from oslo_messaging.rpc import client as rpc_client
from oslo_privsep import comm as privsep
from pyroute2.netlink import exceptions as netlink

from tests.faults import processes
from tests.simulation import errors
from tests.simulation import guest_agent

LIBVIRT, CHANNEL, AGENT, HOST = 'libvirt', 'channel', 'agent', 'host'
LISTENER = 'listener'
RPC, DATABASE = 'rpc', 'db'
NEUTRON, PLACEMENT = 'neutron', 'placement'


class Fault(enum.Enum):
    """What happens to one call.

    ``error``, ``timeout`` and ``hang`` come before the act, which is not
    done then; ``lost`` and ``late`` come after it. A process is killed on
    either side.
    """

    #: the error that such a call has where the other side is broken
    ERROR = 'error'
    #: the caller's own time-out, and the act is not done
    TIMEOUT = 'timeout'
    #: nothing until that time-out has passed
    HANG = 'hang'
    #: the act is done, and its answer never comes
    LOST = 'lost'
    #: the act is done, and its answer comes when two periods have gone by, in
    #: which recovery and Nova's periodic task have looked
    LATE = 'late'
    #: nova-compute ends before the act, or the agent's program does
    KILLED_BEFORE = 'killed-before'
    #: and right after it
    KILLED_AFTER = 'killed-after'

    @property
    def kills(self) -> bool:
        return self in (Fault.KILLED_BEFORE, Fault.KILLED_AFTER)


# How each kind says that it failed, that nothing came back in time, and that
# the connection has gone while it waited.
_ERRORS: dict[str, tuple[Callable[[], Exception], ...]] = {
    LIBVIRT: (
        lambda: errors.internal('client socket is closed'),
        lambda: errors.error(
            fakelibvirt.VIR_ERR_OPERATION_TIMEOUT,
            'Timed out during operation: cannot acquire state change lock'),
        lambda: errors.internal('client socket is closed'),
    ),
    CHANNEL: (
        lambda: errors.error(
            fakelibvirt.VIR_ERR_AGENT_UNRESPONSIVE, 'Guest agent is not '
            'responding: QEMU guest agent is not connected'),
        lambda: errors.error(
            fakelibvirt.VIR_ERR_AGENT_UNRESPONSIVE, 'Guest agent is not '
            'responding: Guest agent not available for now'),
        lambda: errors.error(
            fakelibvirt.VIR_ERR_AGENT_UNRESPONSIVE, 'Guest agent is not '
            'responding: Guest agent disappeared while executing command'),
    ),
    HOST: (
        lambda: netlink.NetlinkError(16, 'Device or resource busy'),
        lambda: privsep.PrivsepTimeout('privsep helper does not answer'),
        lambda: privsep.PrivsepTimeout('privsep helper does not answer'),
    ),
    # The kernel's answer, and the end of the privileged daemon: a call into
    # one that hangs is waited for (oslo_privsep/comm.py).
    LISTENER: (
        lambda: OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)),
        lambda: OSError('Premature eof waiting for privileged process'),
        lambda: OSError('Premature eof waiting for privileged process'),
    ),
    RPC: (
        lambda: oslo_messaging.MessageDeliveryFailure('broker unreachable'),
        lambda: oslo_messaging.MessagingTimeout('no reply'),
        lambda: oslo_messaging.MessagingTimeout('no reply'),
    ),
    DATABASE: (
        lambda: rpc_client.RemoteError(
            'DBConnectionError', 'server has gone away'),
        lambda: oslo_messaging.MessagingTimeout('no reply of a conductor'),
        lambda: oslo_messaging.MessagingTimeout('no reply of a conductor'),
    ),
    NEUTRON: (
        lambda: neutron.InternalServerError('HTTP 500'),
        lambda: neutron.ConnectionFailed(reason='timed out'),
        lambda: neutron.ConnectionFailed(reason='timed out'),
    ),
    PLACEMENT: (
        lambda: keystone.ConnectFailure('connection refused'),
        lambda: keystone.ConnectTimeout('timed out'),
        lambda: keystone.ConnectTimeout('timed out'),
    ),
}


class Calls:
    """Carries out calls, one of them with a fault.

    :param bound: seconds after which a caller gives up by itself
    :param over: set when nobody waits for anything any more
    :param let_time_pass: returns when two periods have gone by
    """

    def __init__(self, bound: float, over: threading.Event,
                 let_time_pass: Callable[[], None]) -> None:
        self._bound = bound
        self._over = over
        self._let_time_pass = let_time_pass

    def carry_out(self, kind: str, fault: Fault, process: processes.Process,
                  act: Callable[[], typing.Any]) -> typing.Any:
        """What the caller gets."""
        if fault is Fault.LATE:
            return self._carry_out_late(act)
        if kind == AGENT:
            return self._run_agent(fault, act)
        if fault is Fault.KILLED_BEFORE:
            process.kill()
        if fault in (Fault.LOST, Fault.KILLED_AFTER):
            with processes.outside():
                act()
        if fault is Fault.KILLED_AFTER:
            process.kill()
        failed, late, lost = _ERRORS[kind]
        if fault is Fault.HANG:
            self._over.wait(self._bound)
            process.need_life()
        raise {Fault.ERROR: failed, Fault.LOST: lost}.get(fault, late)()

    def _carry_out_late(self, act: Callable[[], typing.Any]) -> typing.Any:
        try:
            with processes.outside():
                return act()
        finally:
            self._let_time_pass()

    @staticmethod
    def _run_agent(fault: Fault, act: Callable[[], guest_agent.Program],
                   ) -> guest_agent.Program:
        """A program in the guest; what hangs there has no end."""
        if fault is Fault.ERROR:
            return guest_agent.Ended(1, b'', b'Traceback: MemoryError')
        if fault is Fault.KILLED_BEFORE:
            return guest_agent.Ended(137, b'')
        if fault in (Fault.LOST, Fault.KILLED_AFTER):
            act()
        if fault is Fault.KILLED_AFTER:
            return guest_agent.Ended(137, b'')
        if fault is Fault.TIMEOUT:
            raise errors.error(
                fakelibvirt.VIR_ERR_AGENT_UNRESPONSIVE,
                'Guest agent is not responding: guest-exec timed out')
        return guest_agent.Hanging()
