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

"""Every call that leaves nova-compute or nova-conductor, caught on its way.

Caught is the outermost call only: what libvirt does to the host's interfaces
for a call of Nova's is part of that call. A call is told to the listener with
who makes it, what kind it is and what it is made for.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import functools
import sys
import types
import typing

import fixtures
from nova.conductor import manager as conductor
from nova import objects
from nova.scheduler.client import report
import oslo_messaging
from oslo_messaging.rpc import client as rpc_client
from oslo_versionedobjects import base as ovo_base

from nova_vf_failover.channels import listener
from tests.faults import faults
from tests.faults import processes
from tests.simulation import guest_agent
from tests.simulation import hosts
from tests.simulation import hypervisor
from tests.simulation import paper_agent

# Modules whose functions say how something is done and not what for.
_MEANS = (
    'nova.conductor.manager', 'nova.conductor.api', 'nova.conductor.rpcapi',
    'nova.compute.rpcapi', 'nova.compute.utils', 'nova.exception_wrapper',
    'nova.objects', 'nova.db', 'nova.utils', 'nova.rpc', 'nova.profiler',
    'nova.privsep', 'nova.network', 'nova.scheduler.client', 'nova.pci.utils',
    'nova.virt.libvirt.guest', 'nova.virt.libvirt.host', 'nova.tests',
    'nova.context', 'nova.hacking', 'nova.service_auth', 'nova.notifications',
    'nova_vf_failover.domain', 'nova_vf_failover.ledger',
    'nova_vf_failover.channels', 'nova_vf_failover.conversation',
    'nova_vf_failover.standby.links', 'nova_vf_failover.workbench',
    'nova_vf_failover.moves', 'nova_vf_failover.request',
    'nova_vf_failover.domain_metadata', 'nova_vf_failover.domain_xml',
)
# What services do all the time.
_HOUSEKEEPING = ('nova.servicegroup', 'nova.service', 'nova.manager')

# What libvirt's client knows by itself.
_LOCAL = frozenset({
    'UUID', 'UUIDString', 'ID', 'name', 'connect', 'hostname', 'world',
    'targets', 'nics', 'receive', 'forget', 'emit_device', 'prepare',
    'take_over', 'dismiss', 'redefine', 'complete_job', 'fail_job',
    'verify_hostdevs_interface_are_vfs', 'domainEventRegisterAny',
    'registerCloseCallback', 'has_min_version'})

#: (process, kind, call, what for, act) -> what the act returns
Listener = Callable[
    [processes.Process, str, str, str, Callable[[], typing.Any]], typing.Any]


class Boundary(fixtures.Fixture):
    """Stands between the processes and everything else.

    :param neutron: Nova's stand-in for Neutron
    :param listener: carries out each call
    """

    def __init__(self, neutron: typing.Any, listener: Listener) -> None:
        self._neutron = neutron
        self._listener = listener

    def _setUp(self) -> None:
        self._wrap(faults.LIBVIRT, hypervisor.Domain,
                   _public(hypervisor.Domain))
        self._wrap(faults.LIBVIRT, hypervisor.Connection,
                   _public(hypervisor.Connection))
        self._wrap(faults.HOST, hosts.PaperLinks, (
            '_all', 'add_vlan', 'keep_host_off', 'mark',
            'receive_all_groups', 'remove'))
        self._wrap(faults.HOST, hosts.PaperFunctions, (
            'mac', 'set_mac', 'renew_filter'))
        self._wrap(faults.RPC, rpc_client._BaseCallContext, ('call', 'cast'),
                   lambda _context, _ctxt, method, **_: method)
        self._wrap(faults.PLACEMENT, report.SchedulerReportClient, (
            'get', 'post', 'put', 'delete'),
            lambda _client, url, *_, **__: url)
        self._wrap_host_commands()
        self._wrap_listener()
        self._wrap_agents()
        self._wrap_neutron()
        self.useFixture(fixtures.MonkeyPatch(
            'nova.objects.base.NovaObject.indirection_api',
            _ThroughConductor(self)))

    def pass_through(self, kind: str, call: str,
                     act: Callable[[], typing.Any]) -> typing.Any:
        """A call of this thread to something outside of its process."""
        process = processes.current()
        if process is None:
            return act()
        process.need_life()
        purpose = _purpose()
        if not purpose:
            with processes.outside():
                return act()
        return self._listener(process, kind, call, purpose, act)

    def _wrap(self, kind: str, owner: type, names: Iterable[str],
              describe: Callable[..., str] | None = None) -> None:
        for name in names:
            original = getattr(owner, name)

            @functools.wraps(original)
            def passed(*arguments: typing.Any,
                       _original: typing.Any = original, _name: str = name,
                       **keywords: typing.Any) -> typing.Any:
                act = functools.partial(_original, *arguments, **keywords)
                call = _name
                if describe:
                    call = _call(describe(*arguments, **keywords), _name)
                return self.pass_through(kind, call, act)

            self.useFixture(fixtures.MonkeyPatch(
                f'{owner.__module__}.{owner.__name__}.{name}', passed))

    def _wrap_host_commands(self) -> None:
        from nova.privsep import linux_net
        for name in ('device_exists', 'add_vlan', 'set_device_enabled',
                     'set_device_mtu'):
            self.useFixture(fixtures.MonkeyPatch(
                f'nova.privsep.linux_net.{name}',
                self._passing(faults.HOST, name, getattr(linux_net, name))))

    def _wrap_listener(self) -> None:
        for name in ('open', 'hear', 'close'):
            self.useFixture(fixtures.MonkeyPatch(
                f'nova_vf_failover.channels.listener._{name}',
                self._passing(faults.LISTENER, name,
                              getattr(listener, f'_{name}'))))

    def _wrap_agents(self) -> None:
        module = sys.modules['libvirt_qemu']
        original = module.qemuAgentCommand

        def command(domain: typing.Any, text: str,
                    *arguments: typing.Any) -> typing.Any:
            name = text.split('"execute": "')[1].split('"')[0]
            return self.pass_through(
                faults.CHANNEL, name, functools.partial(
                    original, domain, text, *arguments))

        self.useFixture(fixtures.MonkeyPatch(
            'libvirt_qemu.qemuAgentCommand', command))
        start = paper_agent.PaperAgent.start

        def started(agent: paper_agent.PaperAgent, argv: typing.Any,
                    given: bytes) -> guest_agent.Program:
            """The guest is outside of every process, and a place of its own.
            """
            process = processes.caller()
            act = functools.partial(start, agent, argv, given)
            if process is None:
                return act()
            return self._listener(
                process, faults.AGENT,
                ' '.join(each for each in argv[1:3] if each.isidentifier()
                         or each.startswith('--')), _purpose(), act)

        # Guests have been given the method of their agent already.
        self.useFixture(fixtures.MonkeyPatch(
            'tests.simulation.paper_agent.PaperAgent.start', started))

    def _wrap_neutron(self) -> None:
        get_client = self._neutron._get_client
        self.useFixture(fixtures.MonkeyPatch(
            'nova.network.neutron.get_client',
            lambda *arguments, **keywords: _Client(
                get_client(*arguments, **keywords), self)))

    def _passing(self, kind: str, call: str,
                 original: Callable[..., typing.Any],
                 ) -> Callable[..., typing.Any]:
        @functools.wraps(original)
        def passed(*arguments: typing.Any, **keywords: typing.Any,
                   ) -> typing.Any:
            return self.pass_through(kind, call, functools.partial(
                original, *arguments, **keywords))
        return passed


class _Client:
    """A client of Neutron whose every request passes the boundary."""

    def __init__(self, client: typing.Any, boundary: Boundary) -> None:
        self._client = client
        self._boundary = boundary

    def __getattr__(self, name: str) -> typing.Any:
        method = getattr(self._client, name)
        if not callable(method):
            return method
        return self._boundary._passing(faults.NEUTRON, name, method)


class _ThroughConductor:
    """``NovaObject.indirection_api`` as each process has its own.

    nova-compute has one and asks the conductor; everybody else, the
    conductor too, asks the database.
    """

    def __init__(self, boundary: Boundary) -> None:
        self._api = _ConductorAPI(boundary)

    def __get__(self, instance: typing.Any,
                owner: typing.Any) -> typing.Any:
        process = processes.current()
        if process is None or process.host == processes.CONDUCTOR:
            return None
        return self._api


class _ConductorAPI(ovo_base.VersionedObjectIndirectionAPI):
    """What the conductor does for objects of nova-compute.

    The real conductor does it, on copies as if they had come over the
    message bus; only the bus is left out, for the sake of speed.
    """

    def __init__(self, boundary: Boundary) -> None:
        self._boundary = boundary

    def object_action(self, context: typing.Any, objinst: typing.Any,
                      objmethod: str, args: typing.Any,
                      kwargs: typing.Any) -> typing.Any:
        def act() -> typing.Any:
            return conductor.ConductorManager.object_action(
                _CONDUCTOR, context, objinst.obj_clone(), objmethod, args,
                kwargs)
        return self._ask(f'{objinst.obj_name()}.{objmethod}', act)

    def object_class_action_versions(
        self, context: typing.Any, objname: str, objmethod: str,
        object_versions: typing.Any, args: typing.Any, kwargs: typing.Any,
    ) -> typing.Any:
        def act() -> typing.Any:
            return conductor.ConductorManager.object_class_action_versions(
                _CONDUCTOR, context, objname, objmethod, object_versions,
                args, kwargs)
        return self._ask(f'{objname}.{objmethod}', act)

    def object_class_action(self, *arguments: typing.Any) -> typing.Any:
        raise NotImplementedError

    def object_backport_versions(self, *arguments: typing.Any,
                                 ) -> typing.Any:
        raise NotImplementedError

    def _ask(self, call: str, act: Callable[[], typing.Any]) -> typing.Any:
        def asked() -> typing.Any:
            try:
                return act()
            except oslo_messaging.ExpectedException as expected:
                raise expected.exc_info[1]
        return self._boundary.pass_through(faults.DATABASE, call, asked)


# The methods of the manager that are used need nothing of a running one.
_CONDUCTOR = object.__new__(conductor.ConductorManager)


def _public(owner: type) -> list[str]:
    """The methods of a class of libvirt's that ask libvirtd something."""
    return [name for name in dir(owner)
            if not name.startswith('_') and name not in _LOCAL
            and isinstance(getattr(owner, name), types.FunctionType)]


def _call(described: str, name: str) -> str:
    """A name for a call that is the same in each run."""
    if not described.startswith('/'):
        return described
    # Of a URL of Placement: what it is about, without whose.
    return f'{name}_{described.split("?")[0].split("/")[1]}'


def _frames() -> Iterator[tuple[str, str]]:
    frame: types.FrameType | None = sys._getframe(1)
    while frame:
        yield frame.f_globals.get('__name__', ''), frame.f_code.co_name
        frame = frame.f_back


def _purpose() -> str:
    """The function that a call is made for, or nothing for housekeeping."""
    for module, function in _frames():
        if not module.startswith(('nova.', 'nova_vf_failover.')):
            continue
        if module.startswith(_HOUSEKEEPING):
            return ''
        if module.startswith(_MEANS) or function.startswith(
                ('<', 'decorated', 'wrap', 'inner', '__')):
            continue
        return function
    return ''


# Registered objects, lest the first action of a run registers them.
objects.register_all()
