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

"""Listens for report frames on the macvtaps of standbys.

Opening the sockets needs CAP_NET_RAW and so happens in the privileged daemon
of oslo.privsep, from which no file descriptor can be handed back: what an
entry point returns is packed with msgpack. The sockets therefore stay in the
daemon, and a listening is three calls: ``_open`` gives a number for sockets
on which the kernel collects frames from then on, ``_hear`` waits for some of
them, ``_close`` ends it. The caller waits for a call like for any other one of
oslo.privsep, which suspends a thread or a green thread and blocks no hub. With
the daemon, which ends with nova-compute, all sockets go.
"""

from collections.abc import Mapping
import itertools
import select
import socket
import types

from oslo_log import log as logging
from oslo_privsep import daemon

from nova_vf_failover.channels import frames
from nova_vf_failover import exception
from nova_vf_failover.guest import packetfilter
from nova_vf_failover import privileges

LOG = logging.getLogger(__name__)

# A call keeps one thread of the daemon busy for so many seconds at most.
LONGEST_WAIT = 3.0
# Frames that one call takes from each socket; the kernel keeps the others. An
# agent sends fewer on an intent (guest/voice.py), so the last is among them.
_MOST_FRAMES = 64

_ETH_P_ALL = 0x0003

# What a call into the daemon may end with. oslo.privsep starts one where none
# runs, and where that fails it tries again at the next call.
_FAULTS = (OSError, LookupError, daemon.FailedToDropPrivileges)

# In the daemon: the sockets of each listening and the MACs they are for.
_open_sockets: dict[int, dict[socket.socket, str]] = {}
_numbers = itertools.count(1)


class Listening:
    """Hears the reports on one intent from now until it is closed.

    :param devices: name of the macvtap of each port, by MAC; without any it
        is tried whether this host may listen
    :raises exception.ChannelError: it cannot be listened on one of them
    """

    def __init__(self, devices: Mapping[str, str], generation: int) -> None:
        try:
            self._number = _open(dict(devices), generation)
        except _FAULTS as error:
            where = f' on {", ".join(devices.values())}' if devices else ''
            raise exception.ChannelError(
                f'the reports of the guest cannot be heard{where}: {error}'
            ) from error

    def __enter__(self) -> 'Listening':
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 traceback: types.TracebackType | None) -> None:
        try:
            _close(self._number)
        except _FAULTS as failure:
            # What was heard counts. With the daemon its sockets have gone.
            LOG.warning('The sockets for the reports of a guest could not be '
                        'closed: %s', failure)

    def hear(self, timeout: float) -> list[tuple[str, frames.Report]]:
        """Wait for frames; after LONGEST_WAIT at the latest there are none.

        :returns: the MAC and the report of each that is not nonsense
        """
        try:
            heard = _hear(self._number, min(timeout, LONGEST_WAIT))
        except _FAULTS as error:
            raise exception.ChannelError(
                f'the reports of the guest cannot be heard: {error}'
            ) from error
        parsed = [(mac, frames.parse(frame)) for mac, frame in heard]
        return [(mac, report) for mac, report in parsed if report]


def packet_socket(device: str, program: bytes) -> socket.socket:
    """A socket on a device that keeps what a filter lets through.

    It belongs to no protocol until the filter is in place, so nothing comes
    past it. Frames that leave are shown to a socket of all protocols only.
    """
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        packetfilter.load(made, program)
        made.bind((device, _ETH_P_ALL))
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


@privileges.net_raw.entrypoint
def _open(devices: dict[str, str], generation: int) -> int:
    opened: dict[socket.socket, str] = {}
    if not devices:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    try:
        for mac, device in devices.items():
            kept = [packetfilter.OUTGOING,
                    *frames.conditions(mac, generation)]
            opened[packet_socket(
                device, packetfilter.program([kept], frames.LENGTH))] = mac
    except OSError:
        _end(opened)
        raise
    number = next(_numbers)
    _open_sockets[number] = opened
    return number


@privileges.net_raw.entrypoint
def _hear(number: int, timeout: float) -> list[tuple[str, bytes]]:
    opened = _open_sockets[number]
    heard: list[tuple[str, bytes]] = []
    for ready in select.select(list(opened), [], [], timeout)[0]:
        for _ in range(_MOST_FRAMES):
            try:
                heard.append((opened[ready], ready.recv(frames.LENGTH)))
            except OSError:
                # Nothing is left, or the device has gone down or away.
                break
    return heard


@privileges.net_raw.entrypoint
def _close(number: int) -> None:
    _end(_open_sockets.pop(number, {}))


def _end(opened: dict[socket.socket, str]) -> None:
    for made in opened:
        made.close()
