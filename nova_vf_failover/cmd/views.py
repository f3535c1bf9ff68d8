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

"""What an operator sees of servers: a table, a page, or JSON."""

from __future__ import annotations

from collections.abc import Iterable
import time
import typing

import prettytable

from nova_vf_failover.cmd import servers
from nova_vf_failover.cmd import timeline
from nova_vf_failover import moves


def table(found: Iterable[servers.Server]) -> str:
    """A line for each server."""
    lines = prettytable.PrettyTable(
        ['Server', 'Name', 'State', 'NICs', 'Last move', 'Interruption'])
    lines.align = 'l'
    for server in found:
        lines.add_row([
            server.uuid, server.name, _state(server),
            '\n'.join(f'{nic.mac} {nic.role} {nic.on}'
                      for nic in server.nics),
            '\n'.join(_short(move) for move in server.last.halves),
            '\n'.join(_milliseconds(move) for move in server.last.halves)])
    return lines.get_string()


def _state(server: servers.Server) -> str:
    """With what is to be known before the plugin is turned off."""
    return server.state + (', VF kept' if server.journal.kept else '')


def page(server: servers.Server) -> str:
    """All about one server, for people."""
    lines = prettytable.PrettyTable(['Field', 'Value'])
    lines.align = 'l'
    lines.add_row(['server', server.uuid])
    lines.add_row(['name', server.name])
    lines.add_row(['domain', server.domain])
    lines.add_row(['state', server.state])
    for nic in server.nics:
        lines.add_row([nic.role, f'{nic.mac} on {nic.on}'])
    for entry in server.journal.entries.values():
        lines.add_row(['journal', f'{entry.port} ({entry.mac}): '
                       f'{entry.state.value} since {_moment(entry.since)}'])
        if entry.reason:
            lines.add_row(['reason', entry.reason])
        if entry.attempts:
            lines.add_row(['attempts', f'{entry.attempts}, the next one '
                           + (f'at {_moment(entry.next_attempt)}'
                              if entry.next_attempt else 'if it is asked '
                              'for')])
    for port, mac in server.journal.kept.items():
        lines.add_row(['kept VF', f'{port} ({mac}): ' + (
            'the guest has let it go' if port in server.lost else
            'the guest was asked for it and may still let it go')])
    if server.fault:
        lines.add_row(['journal', server.fault])
    if server.request:
        lines.add_row(['asked for', _moment(server.request.at)])
    picture = timeline.draw(server.last)
    return (lines.get_string() + '\n\n'
            + (picture or 'It has not been moved since it was started.'))


def document(server: servers.Server) -> dict[str, typing.Any]:
    """All about one server, for programs."""
    return {
        'server': server.uuid,
        'name': server.name,
        'domain': server.domain,
        'state': server.state,
        'nics': [{'mac': nic.mac, 'role': nic.role, 'on': nic.on}
                 for nic in server.nics],
        'journal': {
            'generation': server.journal.generation,
            'fault': server.fault or None,
            'ports': [{'id': entry.port, 'mac': entry.mac,
                       'state': entry.state.value,
                       'reason': entry.reason or None, 'since': entry.since,
                       'attempts': entry.attempts,
                       'next_attempt_at': entry.next_attempt or None}
                      for entry in server.journal.entries.values()],
            'kept': [{'id': port, 'mac': mac}
                     for port, mac in server.journal.kept.items()],
            'lost': list(server.lost),
        },
        'requested_at': server.request.at if server.request else None,
        'last_move': [_move(move) for move in server.last.halves],
    }


def _move(move: moves.Move) -> dict[str, typing.Any]:
    return {
        'move': move.kind, 'host': move.host, 'started_at': move.started,
        'duration_s': move.duration, 'error': move.error or None,
        'ports': list(move.ports), 'interruption_s': move.interruption,
        'steps': [step.document for step in move.steps],
        'guest_steps': [step.document for step in move.guest],
    }


def _short(move: moves.Move) -> str:
    outcome = 'failed' if move.error else 'done'
    return f'{move.kind} {_moment(move.started)} {outcome}'


def _milliseconds(move: moves.Move) -> str:
    if move.interruption is None:
        return '-'
    return f'{move.interruption * 1000:.1f} ms'


def _moment(seconds: float) -> str:
    if not seconds:
        return '-'
    return time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime(seconds))
