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

"""``nova-vf-failover``, for whoever operates a compute host.

Reads the options that nova-compute reads, and libvirt of this host; Nova's
API, its database and its message bus are not needed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import json
import os
import signal
import sys
import time
import traceback
import typing

import nova.conf
from nova import config
import nova.version
from oslo_config import cfg
from oslo_log import log as logging

from nova_vf_failover.cmd import checks
from nova_vf_failover.cmd import servers
from nova_vf_failover.cmd import views
from nova_vf_failover import conf
from nova_vf_failover import request

CONF = nova.conf.CONF

# Exit codes, besides those of the checks.
DONE, NOT_DONE, UNUSABLE, CRASHED = 0, 1, 2, 255
# As a shell tells of a program that SIGPIPE has ended.
CUT_OFF = 128 + signal.SIGPIPE

# Seconds between two looks at a domain: nova-compute says in its metadata
# that it has tried, and looks for requests once in a period itself.
_PAUSE = 1.0


def check() -> int:
    """Look at this host before the plugin is enabled, or after."""
    return int(checks.HostChecks(
        ask_guests=not CONF.command.skip_guests).check())


def list_servers() -> int:
    """Print the servers of this host that have VFs."""
    found = servers.all_of(servers.domains(read_only=True))
    if CONF.command.json:
        _print_json([views.document(server) for server in found])
    else:
        print(views.table(found))
    return DONE


def show() -> int:
    """Print all that the domain of one server says."""
    server = servers.of(servers.pick(
        servers.domains(read_only=True), CONF.command.server))
    if CONF.command.json:
        _print_json(views.document(server))
    else:
        print(views.page(server))
    return DONE


def failback() -> int:
    """Have nova-compute try to bring a server back onto its VFs now."""
    domain = servers.pick(servers.domains(), CONF.command.server)
    server = servers.of(domain)
    if server.state in (servers.ON_VF, servers.UNKNOWN):
        said, code = _outcome(server)
    elif servers.has_job(domain):
        said, code = _busy(server), NOT_DONE
    else:
        server = _ask(domain)
        said, code = _outcome(server)
    if CONF.command.json:
        _print_json({**views.document(server), 'message': said})
    else:
        print(said)
    return code


def _ask(domain: typing.Any) -> servers.Server:
    """The server once it was asked for, or tried if that is waited for."""
    request.write(domain)
    if CONF.command.wait and _tried():
        return _await(domain, CONF.command.timeout)
    return servers.of(domain)


def _await(domain: typing.Any, timeout: float) -> servers.Server:
    """Wait until nova-compute has tried, or the time is up."""
    until = time.monotonic() + timeout
    while True:
        server = servers.of(domain)
        if server.request is None or time.monotonic() >= until:
            return server
        time.sleep(_PAUSE)


def _busy(server: servers.Server) -> str:
    return (f'Server {server.name} ({server.uuid}) is {server.state}, and '
            'libvirt is migrating or saving it: no request can be written '
            'meanwhile, and none is. Ask again when that is over.')


def _outcome(server: servers.Server) -> tuple[str, int]:
    """The sentence about a server after a request, and the exit code."""
    called = f'Server {server.name} ({server.uuid})'
    if server.state == servers.ON_VF:
        return f'{called} is on its VFs.', DONE
    if server.state == servers.UNKNOWN:
        return (f'{called} is unknown, and nobody will try: {server.fault}',
                NOT_DONE)
    if server.request is None:
        reasons = '; '.join(server.reasons.values())
        return (f'{called} is {server.state} after an attempt: '
                f'{reasons or "nova-compute is at it"}',
                NOT_DONE)
    if not _tried():
        return (f'{called} is {server.state}. It was asked for, and nobody '
                'will try: [vf_failover] has enabled = '
                f'{CONF.vf_failover.enabled} and recovery_interval = '
                f'{CONF.vf_failover.recovery_interval} in '
                f'{", ".join(CONF.config_file) or "no file"}. Set both and '
                'start nova-compute anew; or if it reads other files, name '
                'them with "--config-file". The request stands.', NOT_DONE)
    if CONF.command.wait:
        return (f'{called} is {server.state}, and nova-compute has not tried '
                f'within {CONF.command.timeout:g} s: see that it runs with '
                '[vf_failover] enabled and a recovery_interval, and that the '
                'server runs and has no task. The request stands.', NOT_DONE)
    return (f'{called} is {server.state}. It was asked for; nova-compute '
            'tries at its next look. "--wait" waits for that.', DONE)


def _tried() -> bool:
    """Whether nova-compute looks for requests, as far as its options say."""
    return bool(CONF.vf_failover.enabled
                and CONF.vf_failover.recovery_interval)


def _print_json(document: typing.Any) -> None:
    print(json.dumps(document, indent=2))


def _add_commands(parsers: typing.Any) -> None:
    def add(name: str, action: Callable[[], int],
            description: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = parsers.add_parser(
            name, help=description, description=description)
        parser.add_argument('--json', action='store_true',
                            help='print JSON for programs')
        parser.set_defaults(action_fn=action)
        return parser

    add('check', check, 'Say whether this host is fit for VF failover: 0 '
        'yes, 1 with warnings, 2 no.').add_argument(
            '--skip-guests', action='store_true',
            help='do not ask the guests of the running servers')
    add('list', list_servers, 'List the running servers with VFs.')
    add('show', show, 'Show one server, and the timeline of its last move.',
        ).add_argument('server', help='UUID or name')
    parser = add('failback', failback, 'Try now to bring a server back onto '
                 'its VFs.')
    parser.add_argument('server', help='UUID or name')
    parser.add_argument('--wait', action='store_true',
                        help='wait until nova-compute has tried')
    parser.add_argument('--timeout', type=float, default=300.0,
                        help='seconds to wait at most (default: 300)')


def _prepare(arguments: list[str]) -> None:
    """Read the options, from where nova-compute does."""
    conf.register_opts(CONF)
    CONF.register_cli_opt(cfg.SubCommandOpt(
        'command', title='commands', help='what to do',
        handler=_add_commands))
    # As nova.config.parse_args, which takes no folders: nova-compute reads
    # files of its own name too, and Debian's packages put its driver there.
    logging.register_options(CONF)
    config.set_lib_defaults()
    CONF(arguments, project='nova', version=nova.version.version_string(),
         default_config_files=cfg.find_config_files('nova', 'nova-compute'),
         default_config_dirs=cfg.find_config_dirs('nova', 'nova-compute'))
    # Nova's log is no place for what one looks at on a terminal.
    CONF.set_override('log_config_append', None)
    CONF.set_override('log_file', None)
    CONF.set_override('log_dir', None)
    CONF.set_override('use_stderr', True)
    if not CONF.debug:
        CONF.set_override('default_log_levels', [
            f'{name}=ERROR' for name in (
                'nova', 'nova_vf_failover', 'os_vif', 'oslo_service')])
    logging.setup(CONF, 'nova')


class _Unreadable(Exception):
    """The options; the message says why."""


def _read_options(arguments: list[str]) -> None:
    """As :func:`_prepare`; says what is wrong, and ends with no 1.

    Python ends with 1 after an exception, and so does oslo.config where a
    value of an option of oslo.log is wrong. Of a check it says "warnings".

    :raises _Unreadable: a file cannot be read, or what is in it
    """
    try:
        _prepare(arguments)
    except (cfg.Error, OSError, UnicodeDecodeError) as error:
        raise _Unreadable(f'The options cannot be read: {error}') from error
    except SystemExit as ended:
        if ended.code == NOT_DONE:
            raise _Unreadable('The options cannot be read.') from ended
        raise


def main(arguments: list[str] | None = None) -> int:
    """The console script.

    :returns: the exit code: of a check 0, 1 or 2, see :mod:`.checks`; of
        another command 0, or 1 where a failback was asked for in vain. 2 also
        where it cannot be said: of options that are wrong, without libvirt,
        or where no one server is meant. 141 where nobody reads on, and 255
        where this program itself is at fault
    :raises SystemExit: 2 for wrong arguments, 0 after "--help"
    """
    try:
        _read_options(sys.argv[1:] if arguments is None else arguments)
        action: Callable[[], int] = CONF.command.action_fn
        code = action()
        # What cannot be written is known now, and not when Python ends.
        sys.stdout.flush()
        return code
    except (_Unreadable, servers.NotHere, servers.Unreachable) as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    except cfg.Error as error:
        # A value is read when it is needed, whichever section it is of.
        print(f'The options cannot be read: {error}', file=sys.stderr)
        return UNUSABLE
    except servers.libvirt_errors() as error:
        print(f'libvirt: {error}', file=sys.stderr)
        return UNUSABLE
    except BrokenPipeError:
        # Nobody reads on, as in "list | head". Python would try once more to
        # write what is left when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CUT_OFF
    except Exception:
        # As oslo.upgradecheck ends, so that it is no exit code of a check.
        traceback.print_exc()
        return CRASHED


if __name__ == '__main__':
    sys.exit(main())
