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

"""rtnetlink, as much of it as the agent needs, on the standard library.

Why not a netlink library: what a NIC wears (addresses, routes, neighbours)
is kept and put back as the kernel's own messages, as ``ip route save`` and
``ip route restore`` do, so that an attribute that this program has never
heard of survives; several requests travel in one system call; and one
file set serves every Python from 3.6 on in guests that have no packages
to install from.

Layouts are those of include/uapi/linux/netlink.h, rtnetlink.h, if_link.h,
if_addr.h, neighbour.h and fib_rules.h.
"""

import errno
import os
import socket
import struct
from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple

# Message types.
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSG_OVERRUN = 4
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34

# Flags of a request.
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800

# Multicast groups of events (enum rtnetlink_groups).
GROUP_LINK = 1
GROUP_IPV4_ROUTE = 7
GROUP_IPV4_RULE = 8
GROUP_IPV6_ROUTE = 11
GROUP_IPV6_RULE = 19

_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NETLINK_DROP_MEMBERSHIP = 2
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NLMSGERR_ATTR_MSG = 1
_NLM_F_CAPPED = 0x100
_NLM_F_ACK_TLVS = 0x200

_HEADER = struct.Struct('=IHHII')
_ATTRIBUTE = struct.Struct('=HH')
_TYPE_MASK = 0x3fff  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER

# A send larger than the socket's buffer is refused (EMSGSIZE); the answers
# to so many requests have to fit into the receive buffer as well.
_BATCH_BYTES = 32768
_BATCH_REQUESTS = 128

Attributes = List[Tuple[int, bytes]]


class Message(NamedTuple):
    """One message of the kernel.

    :param type: RTM_*
    :param body: everything after the netlink header
    """

    type: int
    body: bytes


class Request(NamedTuple):
    """One request to the kernel.

    :param type: RTM_*
    :param flags: NLM_F_* beside REQUEST and ACK
    :param body: everything after the netlink header
    """

    type: int
    flags: int
    body: bytes


class NetlinkError(OSError):
    """The kernel refused a request; that request has changed nothing."""


class Overrun(Exception):
    """Events were lost; whoever keeps a picture of the kernel must look again.
    """


def unpack(data: bytes) -> Attributes:
    """Split a run of attributes; the type keeps its flag bits."""
    found = []
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            break
        found.append((kind, data[offset + 4:offset + length]))
        offset += (length + 3) & ~3
    return found


def unpack_dict(data: bytes) -> Dict[int, bytes]:
    """Attributes by type, flag bits removed; the last of a type wins."""
    return {kind & _TYPE_MASK: value for kind, value in unpack(data)}


def pack(attributes: Iterable[Tuple[int, bytes]]) -> bytes:
    """The inverse of :func:`unpack`."""
    parts = []
    for kind, value in attributes:
        parts.append(_ATTRIBUTE.pack(len(value) + 4, kind))
        parts.append(value)
        parts.append(b'\0' * (-len(value) % 4))
    return b''.join(parts)


def plain(kind: int) -> int:
    """An attribute's type without its flag bits."""
    return kind & _TYPE_MASK


def u32(value: int) -> bytes:
    return struct.pack('=I', value)


def from_u32(value: bytes) -> int:
    return int(struct.unpack('=I', value[:4])[0])


def text(value: bytes) -> str:
    return value.split(b'\0', 1)[0].decode(errors='replace')


def _open(groups: int) -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK,
                         socket.SOCK_RAW | socket.SOCK_CLOEXEC,
                         socket.NETLINK_ROUTE)
    sock.bind((0, groups))
    return sock


class Rtnetlink:
    """Requests and dumps. Every call returns when the kernel has done it.

    The kernel works on a request inside send(2) and has queued its answer
    when that returns, so no call here waits for anything but the kernel's
    RTNL lock.
    """

    def __init__(self) -> None:
        self._socket = _open(0)
        self._socket.settimeout(10)
        self._sequence = 0
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
            try:
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            except OSError:
                # Linux before 4.12: errors come without a sentence.
                break

    def close(self) -> None:
        self._socket.close()

    def run(self, requests: Iterable[Request]
            ) -> List[Optional[NetlinkError]]:
        """Carry out requests in their order, in as few calls as possible.

        One that is refused does not keep the following from being tried.

        :returns: per request None, or the error
        """
        waiting = list(requests)
        answers = []  # type: List[Optional[NetlinkError]]
        while waiting:
            size = 0
            count = 0
            for request in waiting[:_BATCH_REQUESTS]:
                size += _HEADER.size + len(request.body)
                if count and size > _BATCH_BYTES:
                    break
                count += 1
            answers += self._send(waiting[:count])
            del waiting[:count]
        return answers

    def request(self, request: Request) -> None:
        """Carry out one request.

        :raises NetlinkError: the kernel refused it
        """
        error = self.run([request])[0]
        if error is not None:
            raise error

    def dump(self, kind: int, body: bytes) -> List[Message]:
        """Everything that a GET request names, as one consistent picture.

        :raises NetlinkError: the kernel refused it, or the picture was
            changed again and again while it was taken
        """
        for _ in range(8):
            messages, consistent = self._dump(kind, body)
            if consistent:
                return messages
        raise NetlinkError(errno.EINTR, 'the kernel kept changing what was '
                                        'being read')

    def _send(self, batch: List[Request]) -> List[Optional[NetlinkError]]:
        first = self._sequence + 1
        parts = []
        for request in batch:
            self._sequence += 1
            parts.append(_HEADER.pack(
                _HEADER.size + len(request.body), request.type,
                NLM_F_REQUEST | NLM_F_ACK | request.flags,
                self._sequence, 0))
            # Bodies are packed to multiples of four.
            parts.append(request.body)
        self._socket.send(b''.join(parts))
        answers = {}  # type: Dict[int, Optional[NetlinkError]]
        while len(answers) < len(batch):
            for kind, flags, sequence, body in self._receive():
                if kind == NLMSG_ERROR and sequence >= first:
                    answers[sequence] = _error(flags, body)
        return [answers[first + i] for i in range(len(batch))]

    def _dump(self, kind: int, body: bytes) -> Tuple[List[Message], bool]:
        self._sequence += 1
        self._socket.send(_HEADER.pack(
            _HEADER.size + len(body), kind, NLM_F_REQUEST | NLM_F_DUMP,
            self._sequence, 0) + body)
        messages = []
        consistent = True
        while True:
            for kind, flags, sequence, body in self._receive():
                if sequence != self._sequence:
                    continue
                if flags & NLM_F_DUMP_INTR:
                    consistent = False
                if kind == NLMSG_ERROR:
                    error = _error(flags, body)
                    if error is not None:
                        raise error
                elif kind == NLMSG_DONE:
                    return messages, consistent
                else:
                    messages.append(Message(kind, body))

    def _receive(self) -> Iterable[Tuple[int, int, int, bytes]]:
        return list(_split(self._socket.recv(1 << 18)))


class Monitor:
    """The kernel's announcements of changes. Never blocks."""

    def __init__(self, groups: Iterable[int]) -> None:
        self._socket = _open(0)
        self._socket.setblocking(False)
        for group in groups:
            self.join(group)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def join(self, group: int) -> None:
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)

    def leave(self, group: int) -> None:
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_DROP_MEMBERSHIP, group)

    def read(self) -> List[Message]:
        """What has been announced since the last call.

        :raises Overrun: the socket's buffer was full and events are lost
        """
        messages = []
        while True:
            try:
                data = self._socket.recv(1 << 18)
            except BlockingIOError:
                return messages
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise Overrun()
                raise
            for kind, _, _, body in _split(data):
                if kind == NLMSG_OVERRUN:
                    raise Overrun()
                messages.append(Message(kind, body))


def _split(data: bytes) -> Iterable[Tuple[int, int, int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield (kind, flags, sequence,
               data[offset + _HEADER.size:offset + length])
        offset += (length + 3) & ~3


def _error(flags: int, body: bytes) -> Optional[NetlinkError]:
    """What an acknowledgement says: None for success."""
    code = struct.unpack_from('=i', body)[0]
    if code == 0:
        return None
    words = ''
    if flags & _NLM_F_ACK_TLVS:
        # After the error code comes the header of the request and, where
        # the answer is not capped, all of the request.
        if flags & _NLM_F_CAPPED:
            skip = _HEADER.size
        else:
            skip = (struct.unpack_from('=I', body, 4)[0] + 3) & ~3
        words = text(unpack_dict(body[4 + skip:])
                     .get(_NLMSGERR_ATTR_MSG, b''))
    return NetlinkError(-code, words or os.strerror(-code))
