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

"""Rule 4: say what happened.

Every step is a line in the log with its duration, a notification, a number in
the metrics and an instance event, which the server's owner sees with
``openstack server event show``. So is every failover and failback as a whole;
the last ones are kept in the server's domain besides.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import sys
import time
import typing

from nova.compute import utils as compute_utils
from nova import exception as nova_exception
from nova import objects
from oslo_log import log as logging

from nova_vf_failover.channels import intent as intents
from nova_vf_failover import domain
from nova_vf_failover import exception
from nova_vf_failover import metrics
from nova_vf_failover import moves
from nova_vf_failover import notifications

LOG = logging.getLogger(__name__)

# The instance event of a move; that of one of its steps begins with it.
EVENT = 'compute_vf_'
# The action that events of recovery belong to.
RECOVERY = 'vf_recovery'


class Reporter:
    """Tells about the moves of one server on one host.

    :param host: the name of this compute service
    """

    def __init__(self, context: typing.Any, instance: objects.Instance,
                 host: str) -> None:
        self._context = context
        self._instance = instance
        self._host = host
        self._notify = notifications.Notifier(
            context, instance.uuid, host).send
        self._metrics = metrics.of_process()
        self._recorder: moves.Recorder | None = None

    @contextlib.contextmanager
    def move(self, kind: str, ports: list[str],
             guest: domain.Domain) -> Iterator[None]:
        """A failover or a failback, while the body runs.

        An exception of the body makes it one that failed. A server that is
        worked upon without an action of its API gets no instance events.

        :param kind: moves.FAILOVER or moves.FAILBACK
        """
        recorder = self._recorder = moves.Recorder(
            kind, self._host, ports, time.time())
        clock = time.monotonic()
        self._notify(kind, 'start', {
            'ports': ports, 'started_at': recorder.started})
        failure: Exception | None = None
        try:
            with self._event(f'{EVENT}{kind}'):
                try:
                    yield
                except Exception as error:
                    failure = error
                    raise
                finally:
                    self._write_events(recorder)
        finally:
            self._recorder = None
            move = recorder.move(time.monotonic() - clock,
                                 _sentence(failure) if failure else '')
            if isinstance(failure, exception.MadeWay):
                self._leave_off(move)
            else:
                self._end_move(guest, move)

    def heard(self, report: intents.Report) -> None:
        """The guest has said how the move that is going on went in it."""
        if self._recorder:
            self._recorder.heard(report)

    def without_nic(self) -> None:
        """The guest has had no NIC for a port before it got its VF.

        Since when nobody knows, and the guest's report only of the end of it.
        """
        if self._recorder:
            self._recorder.timed = False

    @contextlib.contextmanager
    def action(self, name: str) -> Iterator[None]:
        """An action of the server, for work that nobody has asked Nova for.

        Without one the events of the body would be added to the last thing
        that the owner did (nova/db/main/api.py, ``action_event_start``).
        """
        with self._telling(name):
            objects.InstanceAction.action_start(
                self._context, self._instance.uuid, name, want_result=False)
        try:
            yield
        finally:
            with self._telling(name):
                objects.InstanceAction.action_finish(
                    self._context, self._instance.uuid, want_result=False)

    @contextlib.contextmanager
    def step(self, name: str, ports: list[str]) -> Iterator[None]:
        """One step of a move, with its start, its end and how it ended."""
        started, clock = time.time(), time.monotonic()
        self._notify(name, 'start', {'ports': ports, 'started_at': started})
        error = ''
        try:
            yield
        except Exception as failure:
            error = _sentence(failure)
            raise
        finally:
            self._end_step(ports, moves.Step(
                name, started, time.monotonic() - clock, error))

    def degraded(self, reasons: dict[str, str]) -> None:
        """Ports are not back on their VFs and rid of their standbys."""
        for port, reason in reasons.items():
            LOG.error('Port %(port)s is degraded: %(reason)s',
                      {'port': port, 'reason': reason},
                      instance=self._instance)
        self._notify('failback', 'degraded', {
            'ports': list(reasons), 'error': '; '.join(reasons.values())})

    def postponed(self, reasons: dict[str, str], attempt: int,
                  next_attempt: float) -> None:
        """An attempt of recovery has failed.

        :param next_attempt: when there will be another one, 0 if never
        """
        LOG.error(
            'Attempt %(attempt)d to bring the server back onto its VFs has '
            'failed; %(outlook)s. %(reasons)s',
            {'attempt': attempt, 'outlook': _outlook(next_attempt),
             'reasons': '; '.join(reasons.values())},
            instance=self._instance)
        self._notify('recovery', 'postponed' if next_attempt else 'given_up', {
            'ports': list(reasons), 'error': '; '.join(reasons.values()),
            'attempt': attempt, 'next_attempt_at': next_attempt or None})

    def recovered(self, ports: Iterable[str], attempt: int) -> None:
        """An attempt of recovery has worked."""
        LOG.info('The server is back on its VFs after %d attempt(s)', attempt,
                 instance=self._instance)
        self._notify('recovery', 'end', {
            'ports': list(ports), 'attempt': attempt})

    @contextlib.contextmanager
    def _event(self, name: str) -> Iterator[None]:
        """An instance event, which ends as the body does."""
        event = compute_utils.EventReporter(
            self._context, name, self._host, self._instance.uuid)
        with self._telling(name):
            event.__enter__()
        try:
            yield
        except exception.MadeWay:
            # Nova knows success and error, and this is no error.
            with self._telling(name):
                event.__exit__(None, None, None)
            raise
        except BaseException:
            with self._telling(name):
                event.__exit__(*sys.exc_info())
            raise
        with self._telling(name):
            event.__exit__(None, None, None)

    @contextlib.contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        """Whatever keeps Nova from storing something, the move goes on."""
        try:
            yield
        except nova_exception.InstanceActionNotFound:
            LOG.debug('%s is no part of an action of the server', name,
                      instance=self._instance)
        except Exception as error:
            # Of the conductor, of the database, or of the message bus.
            LOG.warning('The event %(event)s cannot be stored: %(error)s',
                        {'event': name, 'error': error},
                        instance=self._instance)

    def _end_step(self, ports: list[str], step: moves.Step) -> None:
        LOG.info('%(step)s of %(count)d port(s) %(outcome)s after '
                 '%(duration).3f s',
                 {'step': step.name, 'count': len(ports),
                  'outcome': 'failed' if step.error else 'done',
                  'duration': step.duration}, instance=self._instance)
        self._notify(step.name, 'error' if step.error else 'end', {
            'ports': ports, 'started_at': step.started,
            'duration_s': step.duration, 'error': step.error or None})
        self._metrics.count_step(step)
        if self._recorder:
            self._recorder.steps.append(step)
        else:
            self._write_event(step.name, [step])
            self._metrics.write()

    def _end_move(self, guest: domain.Domain, move: moves.Move) -> None:
        LOG.info('%(move)s of %(count)d port(s) %(outcome)s after '
                 '%(duration).3f s%(guest)s',
                 {'move': move.kind, 'count': len(move.ports),
                  'outcome': 'failed' if move.error else 'done',
                  'duration': move.duration, 'guest': _heard(move)},
                 instance=self._instance)
        try:
            moves.keep(guest.libvirt_domain, move)
        except Exception as error:
            # Of libvirt, or of XML that is none: the record is only there
            # to be looked at, and the server is where it is.
            LOG.warning('The domain does not keep its last move: %s', error,
                        instance=self._instance)
        self._notify(move.kind, 'error' if move.error else 'end',
                     notifications.move_data(move))
        self._metrics.count_move(move)
        self._metrics.write()

    def _leave_off(self, move: moves.Move) -> None:
        """Tell of a failback that made way, which is no failure: it goes on.
        """
        LOG.info('%(move)s of %(count)d port(s) left off after '
                 '%(duration).3f s: %(reason)s',
                 {'move': move.kind, 'count': len(move.ports),
                  'duration': move.duration, 'reason': move.error},
                 instance=self._instance)
        self._notify(move.kind, 'left_off', notifications.move_data(
            dataclasses.replace(move, error='')))

    def _write_events(self, recorder: moves.Recorder) -> None:
        """The instance events of the steps of a move, with their true times.

        They are written when it is over: each is a question to the conductor,
        and there are moments in which a guest waits for the next step.
        """
        steps: dict[str, list[moves.Step]] = {}
        for step in recorder.steps:
            steps.setdefault(step.name, []).append(step)
        for name, same in steps.items():
            self._write_event(f'{recorder.kind} {name}', same)

    def _write_event(self, what: str, steps: list[moves.Step]) -> None:
        """One event for the steps of one name, for Nova tells no two apart.
        """
        name = EVENT + what.replace(' ', '_')
        errors = [step.error for step in steps if step.error]
        with self._telling(name):
            objects.InstanceActionEvent(
                self._context, event=name, host=self._host,
                start_time=_moment(min(step.started for step in steps)),
                finish_time=_moment(max(step.finished for step in steps)),
                result='Error' if errors else 'Success',
                details=errors[0][:255] if errors else None,
            ).create(self._instance.uuid, self._context.request_id)


def _sentence(failure: Exception) -> str:
    """What an exception says, and never nothing."""
    return str(failure) or type(failure).__name__


def _heard(move: moves.Move) -> str:
    if move.interruption is None:
        return ''
    return (f'; the guest was {move.interruption * 1000:.1f} ms without a '
            'NIC in use')


def _moment(seconds: float) -> datetime.datetime:
    """For a field of a versioned object, which has to know its zone."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def _outlook(next_attempt: float) -> str:
    if not next_attempt:
        return ('it was the last one. Mend what is wrong and ask for another '
                'one with "nova-vf-failover failback", or live migrate or '
                'hard reboot the server')
    return 'the next one is at ' + time.strftime(
        '%Y-%m-%dT%H:%M:%SZ', time.gmtime(next_attempt))
