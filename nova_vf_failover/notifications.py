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

"""What goes to the message bus: one payload, in the form that Nova's have.

Nova's versioned notifications wrap their data into the name and the version
of an object; who reads those can read these. ``doc/source/schemas/
notification.json`` says what is in them.
"""

from __future__ import annotations

import typing

from nova import rpc

from nova_vf_failover import moves

NAMESPACE = 'nova_vf_failover'
NAME = 'VFFailoverPayload'
# A new key makes another minor version, and what breaks a reader a major one.
VERSION = '1.0'


class Notifier:
    """Sends the notifications about one server.

    :param host: the name of this compute service
    """

    def __init__(self, context: typing.Any, server: str, host: str) -> None:
        self._context = context
        self._server = server
        self._host = host

    def send(self, step: str, phase: str,
             data: dict[str, typing.Any]) -> None:
        """Say that ``step`` has come to ``phase``.

        :param data: what else there is to say; a key that is not of the
            payload is a KeyError
        """
        payload = self._payload(step, data)
        notifier = rpc.get_versioned_notifier(f'nova-compute:{self._host}')
        emit = notifier.error if payload['error'] else notifier.info
        emit(self._context,
             f'vf_failover.{step.replace(" ", "_")}.{phase}',
             {'nova_object.name': NAME,
              'nova_object.namespace': NAMESPACE,
              'nova_object.version': VERSION,
              'nova_object.data': payload})

    def _payload(self, step: str,
                 data: dict[str, typing.Any]) -> dict[str, typing.Any]:
        payload: dict[str, typing.Any] = {
            'server_id': self._server,
            'host': self._host,
            'request_id': self._context.request_id,
            'step': step,
            'ports': [],
            'started_at': None,
            'duration_s': None,
            'error': None,
            'interruption_s': None,
            'steps': [],
            'guest_steps': [],
            'attempt': None,
            'next_attempt_at': None,
        }
        strangers = set(data) - set(payload)
        if strangers:
            raise KeyError(', '.join(sorted(strangers)))
        return {**payload, **data}


def move_data(move: moves.Move) -> dict[str, typing.Any]:
    """What a notification says of a move that is over."""
    return {
        'ports': list(move.ports),
        'started_at': move.started,
        'duration_s': move.duration,
        'error': move.error or None,
        'interruption_s': move.interruption,
        'steps': [step.document for step in move.steps],
        'guest_steps': [step.document for step in move.guest],
    }
