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

"""``vf-failover-agent``: the command line."""

import argparse
import json
import logging
import socket
import sys
import typing

from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import prose
from nova_vf_failover.guest import version

SOCKET = '/run/vf-failover-agent/socket'
FOLDER = '/var/lib/vf-failover-agent'
URL = 'http://169.254.169.254/openstack/latest/meta_data.json'

# Seconds for an answer that needs no waiting.
_PROMPT = 30.0


def main(argv: typing.Optional[typing.List[str]] = None) -> int:
    """Run a command; the exit code is 0, 1 (refused, failed) or 2 (usage)."""
    arguments = _parser().parse_args(argv)
    if arguments.command == 'run':
        return _run(arguments)
    if arguments.command == 'udev':
        return _tell_udev(arguments)
    document = _ask(arguments)
    print(prose.of(document) if arguments.text else json.dumps(document))
    return 1 if document['message'] else 0


def run() -> None:
    """The entry point of the one-file agent, which has no exit code else."""
    sys.exit(main())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='vf-failover-agent',
        description='Moves the traffic of this guest between a VF and the '
                    'virtio NIC that stands in for it.')
    parser.add_argument('--socket', default=SOCKET,
                        help='of the service (default: %(default)s)')
    parser.add_argument('--version', action=_Version, nargs=0,
                        help='print it and end')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND')
    commands.required = True
    run = commands.add_parser('run', help='the service')
    udev = commands.add_parser('udev', help='the properties of a NIC, for a '
                                            'rule of udev')
    udev.add_argument('interface')
    for command in (run, udev):
        command.add_argument('--state-dir', default=FOLDER,
                             help='default: %(default)s')
        command.add_argument(
            '--standby-driver', action='append', default=[],
            metavar='DRIVER', help='driver by which a standby is known, as '
            '"ethtool -i" shows it (default: virtio_net)')
    run.add_argument('--metadata', action='store_true',
                     help='look for intents in Nova\'s metadata service too')
    run.add_argument('--metadata-url', default=URL, metavar='URL',
                     help='where that is (default: %(default)s)')
    run.add_argument('--metadata-interval', default=5.0, type=float,
                     metavar='SECONDS', help='between two looks there '
                     '(default: %(default)s)')
    check = commands.add_parser('check', help='say what an intent on '
                                'standard input would do')
    check.add_argument('--all', action='store_true',
                       help='no intent: say it of each NIC that could be a '
                       'primary')
    apply_ = commands.add_parser('apply', help='carry out an intent that '
                                               'comes on standard input')
    apply_.add_argument('--wait', type=float, metavar='SECONDS',
                        help='for the end of it')
    status = commands.add_parser('status', help='the last report, and where '
                                 'each port stands')
    for command in (check, apply_, status):
        command.add_argument('--text', action='store_true',
                             help='lines for people instead of JSON')
    return parser


class _Version(argparse.Action):
    """Looks it up only when it is asked for, for that is slow."""

    def __call__(self, parser: argparse.ArgumentParser, *_: typing.Any,
                 ) -> None:
        print(version.version())
        parser.exit()


class _Formatter(logging.Formatter):
    """Logs a failure even if the lines of the source cannot be had.

    linecache looks for them in the one-file agent, where zipimport reads them
    from where they were when it was loaded. If the file was replaced since,
    there is something else, and EOFError or zlib.error leaves the logging.
    """

    def formatException(self, ei: typing.Any) -> str:
        try:
            return super().formatException(ei)
        except Exception:
            # Whatever it was, it must not take the place of the failure.
            return repr(ei[1])


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter('%(asctime)s %(levelname)s %(message)s'))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _run(arguments: argparse.Namespace) -> int:
    # What the commands do not need: they are to start quickly.
    from nova_vf_failover.guest import service
    _log_to_stderr()
    served = service.Service(
        arguments.state_dir,
        _standby_drivers(arguments))
    if arguments.metadata:
        served.watch_metadata(arguments.metadata_url,
                              arguments.metadata_interval)
    served.run(arguments.socket)
    return 0


def _tell_udev(arguments: argparse.Namespace) -> int:
    from nova_vf_failover.guest import properties
    for name, value in properties.of(
            arguments.interface, arguments.state_dir,
            _standby_drivers(arguments)).items():
        print('%s=%s' % (name, value))
    return 0


def _standby_drivers(arguments: argparse.Namespace) -> typing.FrozenSet[str]:
    return frozenset(arguments.standby_driver or ['virtio_net'])


def _ask(arguments: argparse.Namespace) -> typing.Any:
    request = {'command': arguments.command}
    wait = getattr(arguments, 'wait', None) or 0.0
    if getattr(arguments, 'all', False):
        request.update(all=True)
    elif arguments.command != 'status':
        given = sys.stdin.read(intents.LONGEST_INTENT + 1)
        try:
            intents.parse(given)
        except intents.BadIntent as error:
            return intents.Report(
                state=intents.REFUSED, message=str(error)).to_document()
        request.update(intent=given, wait=wait)
    try:
        return json.loads(_exchange(arguments.socket, request,
                                    wait + _PROMPT))
    except (OSError, ValueError) as error:
        # It may have died after it has changed something.
        return intents.Report(
            state=intents.NONE,
            message='The service does not answer on %s: %s'
                    % (arguments.socket, error)).to_document()


def _exchange(path: str, request: typing.Any, timeout: float) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        sock.connect(path)
        sock.sendall(json.dumps(request).encode() + b'\n')
        return sock.makefile().readline()
