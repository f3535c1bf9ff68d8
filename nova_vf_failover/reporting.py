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

Every step is a log line with its duration and a notification; the failover
and the failback of a server are instance events besides, which its owner sees
with ``openstack server event show``.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import time
import typing

from nova.compute import utils as compute_utils
from nova import objects
from nova import rpc
from oslo_log import log as logging

LOG = logging.getLogger(__name__)

FAILOVER = 'compute_vf_failover'
FAILBACK = 'compute_vf_failback'
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

    @contextlib.contextmanager
    def event(self, name: str) -> Iterator[None]:
        """An instance event that is open while the body runs.

        An exception of the body makes it an event that failed. A server
        that is worked upon without an action of its API, as by a periodic
        task, gets none.
        """
        raised: Exception | None = None
        with compute_utils.EventReporter(
                self._context, name, self._host, self._instance.uuid,
                graceful_exit=True):
            try:
                yield
            except Exception as error:
                raised = error
                raise
        if raised:
            # Where there is no action, Nova's reporter swallows it.
            raise raised

    @contextlib.contextmanager
    def action(self, name: str) -> Iterator[None]:
        """An action of the server, for work that nobody has asked Nova for.

        Without one the events of the body would be added to the last thing
        that the owner did (nova/db/main/api.py, ``action_event_start``).
        """
        objects.InstanceAction.action_start(
            self._context, self._instance.uuid, name, want_result=False)
        try:
            yield
        finally:
            objects.InstanceAction.action_finish(
                self._context, self._instance.uuid, want_result=False)

    @contextlib.contextmanager
    def step(self, name: str, ports: list[str]) -> Iterator[None]:
        """One step of a move, with its start, its end and how it ended."""
        started, clock = time.time(), time.monotonic()
        self._notify(name, 'start', {'ports': ports, 'started_at': started})
        outcome: dict[str, typing.Any] = {}
        try:
            yield
        except Exception as error:
            outcome['error'] = str(error)
            raise
        finally:
            duration = time.monotonic() - clock
            phase = 'error' if 'error' in outcome else 'end'
            self._notify(name, phase, {
                'ports': ports, 'started_at': started,
                'duration_s': duration, **outcome})
            LOG.info('%(step)s of %(count)d port(s) %(outcome)s after '
                     '%(duration).3f s',
                     {'step': name, 'count': len(ports), 'outcome':
                      'failed' if outcome else 'done', 'duration': duration},
                     instance=self._instance)

    def degraded(self, reasons: dict[str, str]) -> None:
        """The server stays on its standby NICs for now."""
        for port, reason in reasons.items():
            LOG.error('Port %(port)s is degraded: it goes on over its '
                      'standby NIC, the network of the server works. '
                      '%(reason)s', {'port': port, 'reason': reason},
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

    def _notify(self, step: str, phase: str,
                payload: dict[str, typing.Any]) -> None:
        notifier = rpc.get_versioned_notifier(f'nova-compute:{self._host}')
        send = notifier.error if 'error' in payload else notifier.info
        send(self._context,
             f'vf_failover.{step.replace(" ", "_")}.{phase}',
             {'server_id': self._instance.uuid, 'host': self._host,
              'step': step, **payload})


def _outlook(next_attempt: float) -> str:
    if not next_attempt:
        return ('it was the last one. Mend what is wrong and ask for another '
                'one with "nova-vf-failover failback", or live migrate or '
                'hard reboot the server')
    return 'the next one is at ' + time.strftime(
        '%Y-%m-%dT%H:%M:%SZ', time.gmtime(next_attempt))
