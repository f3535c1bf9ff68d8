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

"""The channel through the QEMU guest agent, which most images have.

Each intent is one ``guest-exec`` of the agent's program with the intent on
its standard input; the report is what it prints. Only ``guest-exec`` and
``guest-exec-status`` are used, see QEMU's qga/qapi-schema.json.
"""

import base64
import binascii
import importlib
import sys
import time
import typing

from nova.virt.libvirt import guest as libvirt_guest
from oslo_config import cfg
from oslo_log import log as logging
from oslo_serialization import jsonutils
from oslo_utils import timeutils
import tenacity

from nova_vf_failover.channels import base
from nova_vf_failover.channels import intent as intents
from nova_vf_failover import domain
from nova_vf_failover import exception

LOG = logging.getLogger(__name__)
CONF = cfg.CONF

# Seconds between two looks at a program in the guest. The protocol has no
# event for its end.
FIRST_PAUSE = 0.02
LONGEST_PAUSE = 1.0
# Seconds that the QEMU guest agent itself may take for one answer.
ANSWER_TIMEOUT = 10
# Seconds on top of what the agent may wait in the guest: for the start of
# the program and the way back of its answer.
WAY_TIMEOUT = 10

# After these errors, of libvirt's include/libvirt/virterror.h, the next
# command may be answered: the QEMU guest agent is busy or out of step
# (src/qemu/qemu_agent.c), or another client of libvirt has its job
# (src/qemu/qemu_domainjob.c). Old and new releases lack some of them.
_PASSING = ('VIR_ERR_AGENT_UNRESPONSIVE', 'VIR_ERR_AGENT_COMMAND_TIMEOUT',
            'VIR_ERR_AGENT_UNSYNCED', 'VIR_ERR_OPERATION_TIMEOUT')


class _StillRunning(Exception):
    """The program in the guest has not ended yet."""


class _Unanswered(exception.ChannelError):
    """Nobody knows whether the command was carried out."""


class QemuGuestAgentChannel(base.Channel):
    """Runs ``vf-failover-agent`` in the guest."""

    cure = ('The image needs vf-failover-agent, the QEMU guest agent with a '
            'configuration that allows guest-exec, and '
            'hw_qemu_guest_agent=yes.')

    @classmethod
    def missing_requirement(cls) -> str | None:
        try:
            _libvirt_qemu()
        except ImportError:
            return ('the Python module libvirt_qemu is missing, which comes '
                    'with libvirt-python (Debian: python3-libvirt).')
        return None

    def check(self, guest: domain.Domain,
              intent: intents.Intent) -> intents.Report:
        return self._run(guest, ['check'], intent,
                         CONF.vf_failover.check_timeout)

    def tell(self, guest: domain.Domain,
             intent: intents.Intent) -> intents.Report:
        return self._run(guest, ['apply'], intent,
                         CONF.vf_failover.check_timeout)

    def ask(self, guest: domain.Domain, intent: intents.Intent,
            timeout: float) -> intents.Report:
        return self._run(guest, ['apply', '--wait', str(timeout)], intent,
                         timeout + WAY_TIMEOUT)

    def _run(self, guest: domain.Domain, arguments: list[str],
             intent: intents.Intent, timeout: float) -> intents.Report:
        """Run the agent's program and read the report that it prints."""
        watch = timeutils.StopWatch(duration=timeout)
        watch.start()
        program = CONF.vf_failover.agent_program
        pid = _command(guest, 'guest-exec', {
            'path': program,
            'arg': arguments,
            'input-data': base64.b64encode(
                intent.to_json().encode()).decode('ascii'),
            'capture-output': True,
        }, 'pid')
        ended = self._wait(guest, pid, watch, program)
        output = _decoded(ended.get('out-data', ''))
        if not output:
            raise exception.ChannelError(
                f'{program} in the guest ended with exit code '
                f'{_exit_code(ended)} and said nothing; on its standard '
                f'error: {_decoded(ended.get("err-data", ""))[-300:]!r}')
        report = intents.Report.parse(output)
        LOG.debug('The guest answered %(arguments)s of generation '
                  '%(generation)s after %(seconds).2f s: %(report)s',
                  {'arguments': arguments, 'generation': intent.generation,
                   'seconds': watch.elapsed(), 'report': report})
        if report.generation not in (0, intent.generation):
            raise exception.ChannelError(
                f'the agent answered to generation {report.generation} and '
                f'was asked about {intent.generation}')
        return report

    def _wait(self, guest: domain.Domain, pid: int,
              watch: timeutils.StopWatch,
              program: str) -> dict[str, typing.Any]:
        """What ``guest-exec-status`` says once the program has ended.

        A look that was not answered starts nothing, so there is another one.
        ``guest-exec`` is not tried again: the program may run.
        """
        def status() -> dict[str, typing.Any]:
            answer = _command(guest, 'guest-exec-status', {'pid': pid})
            if not isinstance(answer, dict):
                raise exception.ChannelError(
                    'the QEMU guest agent answered guest-exec-status with '
                    'nonsense')
            if not answer.get('exited'):
                raise _StillRunning('it still runs')
            return answer

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(
                (_StillRunning, _Unanswered)),
            wait=tenacity.wait_exponential(
                multiplier=FIRST_PAUSE, max=LONGEST_PAUSE),
            stop=lambda _state: watch.expired(),
            sleep=time.sleep)
        try:
            return retrying(status)
        except tenacity.RetryError as error:
            raise exception.ChannelError(
                f'{program} in the guest has not answered within '
                f'{watch.elapsed():.0f} s: {error.last_attempt.exception()}'
            ) from error


def _libvirt_qemu() -> typing.Any:
    """The part of libvirt-python that talks to the guest agent.

    Nova imports libvirt only when it is used, and so does this package: it is
    not installable from PyPI on every machine.
    """
    return importlib.import_module('libvirt_qemu')


def _command(guest: domain.Domain, name: str,
             arguments: dict[str, typing.Any],
             *keys: str) -> typing.Any:
    """One command to the QEMU guest agent.

    :param keys: the path of what is wanted in the answer
    :raises exception.ChannelError: there is no such agent, it does not
        answer, or it cannot do it
    """
    request = jsonutils.dumps({'execute': name, 'arguments': arguments})
    try:
        answer = _ask(guest.libvirt_domain, request)
    except libvirt_guest.libvirt.libvirtError as error:
        failure = _Unanswered if _passes(error) else exception.ChannelError
        # Among it is what the guest says for a reason, word by word
        # (libvirt's src/qemu/qemu_agent.c, qemuAgentStringifyError).
        reason = intents.shortened(str(error.get_error_message() or error))
        raise failure(
            f'the QEMU guest agent cannot do {name}: {reason}') from error
    try:
        result = jsonutils.loads(answer)['return']
        for key in keys:
            result = result[key]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise exception.ChannelError(
            f'the QEMU guest agent answered {name} with nonsense') from error
    return result


def _passes(error: typing.Any) -> bool:
    """Whether the next command may be answered after this libvirtError."""
    libvirt = libvirt_guest.libvirt
    return error.get_error_code() in [
        getattr(libvirt, name) for name in _PASSING if hasattr(libvirt, name)]


def _ask(libvirt_domain: typing.Any, request: str) -> str:
    """What the QEMU guest agent says, without keeping others waiting.

    On eventlet Nova has the methods of its domains carried out in native
    threads (nova/virt/libvirt/host.py, ``_wrap_libvirt_proxy``). This is a
    function of a module: called as it is it would hold all green threads of
    nova-compute for as long as the guest takes.
    """
    command = _libvirt_qemu().qemuAgentCommand
    tpool = sys.modules.get('eventlet.tpool')
    if tpool and isinstance(libvirt_domain, tpool.Proxy):
        return str(tpool.execute(
            command, libvirt_domain, request, ANSWER_TIMEOUT, 0))
    return str(command(libvirt_domain, request, ANSWER_TIMEOUT, 0))


def _exit_code(ended: dict[str, typing.Any]) -> str:
    """What should be a number, and comes from a guest."""
    return intents.shortened(str(ended.get('exitcode'))[:20])


def _decoded(data: typing.Any) -> str:
    try:
        return base64.b64decode(data, validate=True).decode(
            'utf-8', 'replace')
    except (binascii.Error, TypeError, ValueError) as error:
        raise exception.ChannelError(
            'the QEMU guest agent answered output that is not base64'
        ) from error
