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

"""The command: boots a server with a VF, pings it, and live migrates it."""

import argparse
import shlex
import sys
import time

import openstack

from tests.scenario import cloud as clouds
from tests.scenario import pinging

# Seconds of quiet before and after the move.
QUIET = 2.0
HALVES = ('compute_vf_failover', 'compute_vf_failback')


def main() -> int:
    arguments = _arguments()
    cloud = clouds.Cloud(openstack.connect(), arguments.timeout)
    try:
        answers, events = _play(cloud, arguments)
    except (clouds.Unexpected, pinging.NoAnswer,
            openstack.exceptions.SDKException) as error:
        print(f'FAILED: {error}')
        return 1
    faults = list(_faults(answers, events, arguments.interruption))
    print(f'Longest time without an answer: {answers.longest_gap * 1e3:.0f} '
          f'ms; {answers.lost} of the pings had none.')
    for half in HALVES:
        print(f'{half}: {events.get(half, "there is no such event")}')
    for fault in faults:
        print(f'FAILED: {fault}')
    return 1 if faults else 0


def _play(cloud: clouds.Cloud, arguments: argparse.Namespace,
          ) -> tuple[pinging.Answers, dict[str, str]]:
    with cloud.port(arguments.network) as port:
        _say('Creating a server')
        with cloud.server(port, arguments.image, arguments.flavor,
                          arguments.source) as server:
            address = arguments.address or port.fixed_ips[0]['ip_address']
            _say(f'Waiting for {address}')
            ping = pinging.Ping(address, shlex.split(arguments.ping_prefix),
                                arguments.interval)
            try:
                ping.await_answer(arguments.timeout)
                time.sleep(QUIET)
                _say(f'Live migrating it from {server.compute_host}')
                server = cloud.migrate(server, arguments.destination)
                _say(f'It is on {server.compute_host}')
                time.sleep(QUIET)
            finally:
                answers = ping.stop()
            return answers, cloud.events(server)


def _faults(answers: pinging.Answers, events: dict[str, str],
            allowed: float) -> list[str]:
    faults = [f'{half} was {events.get(half, "not done")}'
              for half in HALVES if events.get(half) != 'Success']
    if answers.longest_gap > allowed:
        faults.append(f'the server did not answer for '
                      f'{answers.longest_gap:.2f} s, and {allowed:g} s are '
                      'allowed')
    return faults


def _say(sentence: str) -> None:
    print(sentence, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='tox -e scenario --',
        description='Boots a server with a VF on the cloud that OS_CLOUD or '
                    'the other variables of OpenStack name, pings it, live '
                    'migrates it, and says whether it was answered all the '
                    'time. What it makes it removes.')
    parser.add_argument('--network', required=True,
                        help='name or id of an SR-IOV network')
    parser.add_argument('--image', required=True,
                        help='name or id of an image with the agent')
    parser.add_argument('--flavor', required=True)
    parser.add_argument('--source', metavar='HOST',
                        help='where it is made (default: the scheduler says)')
    parser.add_argument('--destination', metavar='HOST',
                        help='where it is moved to (default: likewise)')
    parser.add_argument('--address',
                        help='what is pinged, if not the address of the port')
    parser.add_argument('--ping-prefix', metavar='COMMAND', default='',
                        help='what ping is called with in front, such as '
                             '"ssh bastion" or "ip netns exec qrouter-..."')
    parser.add_argument('--interval', type=float, default=0.05,
                        help='seconds between two pings (default: 0.05)')
    parser.add_argument('--interruption', type=float, default=1.0,
                        help='seconds that it may take until an answer comes '
                             'again (default: 1)')
    parser.add_argument('--timeout', type=float, default=600.0,
                        help='seconds for a start or a move (default: 600)')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main())
