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

"""Messages of the kernel's routing netlink, rtnetlink(7), as bytes.

What moves from one NIC to another is kept as the kernel has printed it, and
given back with a few numbers replaced: so it need not be understood, and what
a newer kernel knows goes along. A library that decodes each message needs
6 s and 410 MB to read 100,000 routes (pyroute2 0.7.12 and 0.9.7), and 30 MB
before it has read the first; the agent has to live in small guests.
"""

import base64
import errno
import os
import socket
import struct
import typing

# include/uapi/linux/netlink.h
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
REPLACE, EXCLUSIVE, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800
_INTERRUPTED = 0x10
_ERROR, _DONE = 2, 3
_SOL_NETLINK, _CAP_ACK, _EXT_ACK, _STRICT = 270, 10, 11, 12
_ADD_MEMBERSHIP, _DROP_MEMBERSHIP = 1, 2
_CAPPED, _ACK_TLVS = 0x100, 0x200
_ERROR_MESSAGE = 1
_KIND_MASK = 0x3fff
NESTED = 0x8000

_HEADER = struct.Struct('=IHHII')
_ATTRIBUTE = struct.Struct('=HH')
_INT = struct.Struct('=i')
_UINT = struct.Struct('=I')

# Bytes that are sent at once, and that are read at once.
_LONGEST_BATCH = 32 * 1024
_LONGEST_ANSWER = 256 * 1024
# A list that changes while it is read is read again.
_TRIES = 20

# Seconds until the kernel must have said something; it may have to wait for
# others that change links.
_LONGEST_SILENCE = 30.0

_BUFFER = 4 * 1024 * 1024
_SO_RCVBUFFORCE = 33

Attributes = typing.Iterator[typing.Tuple[int, bytes]]


class Message(typing.NamedTuple('Message', [
        ('kind', int), ('flags', int), ('body', bytes)])):
    """What to do (RTM_...), how (flags above), and with what.

    The body is a fixed part, a C struct, with attributes behind it.
    """


class NetlinkError(OSError):
    """The kernel has refused something."""


Refused = typing.Tuple[Message, NetlinkError]


class Netlink:
    """A conversation with the kernel about this network namespace.

    :param groups: what to be told of without asking, RTMGRP_... as bits
    :param strict: dumps heed the table that is asked for, as far as the
        kernel can do that (4.20); others ignore it
    :param protocol: the part of the kernel to talk to, NETLINK_...
    :raises OSError: this kernel does not have that part
    """

    def __init__(self, groups: int = 0, strict: bool = False,
                 protocol: int = socket.NETLINK_ROUTE) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW,
                                    protocol)
        self._sequence = 0
        options = (_CAP_ACK, _EXT_ACK) + ((_STRICT,) if strict else ())
        for option in options:
            try:
                self.socket.setsockopt(_SOL_NETLINK, option, 1)
            except OSError as error:
                # Before Linux 4.3, 4.12 and 4.20.
                if error.errno != errno.ENOPROTOOPT:
                    raise
        # What it refuses of one batch has to fit.
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        # A worker that waits for ever would keep everybody else waiting.
        self.socket.settimeout(_LONGEST_SILENCE)
        self.socket.bind((0, groups))

    def __enter__(self) -> 'Netlink':
        return self

    def __exit__(self, *_: typing.Any) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def join(self, group: int) -> None:
        """Be told without asking from now on, too.

        :param group: RTNLGRP_..., a number
        """
        self.socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)

    def leave(self, group: int) -> None:
        self.socket.setsockopt(_SOL_NETLINK, _DROP_MEMBERSHIP, group)

    def heard(self) -> typing.List[typing.Tuple[int, bytes]]:
        """The kind and the body of what is told next without asking.

        :raises OSError: ENOBUFS, some of it was lost
        """
        return [(kind, body) for kind, _, _, body in _messages(
            self.socket.recv(_LONGEST_ANSWER))]

    def forget(self) -> None:
        """Skip what has been told, for a socket that nobody asks over."""
        while True:
            try:
                self.socket.recv(_LONGEST_ANSWER, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                # Some of it was lost, and would have been skipped as well.
                if error.errno != errno.ENOBUFS:
                    raise

    def dump(self, kind: int, body: bytes) -> typing.List[bytes]:
        """The bodies of all that there is of a kind.

        :param kind: RTM_GET...
        :raises NetlinkError: the kernel does not know the kind, or the list
            changes faster than it can be read
        """
        for _ in range(_TRIES):
            found = self._read_dump(kind, body)
            if found is not None:
                return found
        raise NetlinkError(errno.EBUSY, 'the list of kind %d changes all the '
                                        'time' % kind)

    def get(self, kind: int, body: bytes) -> bytes:
        """The body of the one answer to a question.

        :raises NetlinkError: there is none
        """
        sequence = self._next()
        self.socket.send(_packed(kind, _REQUEST, sequence, body))
        while True:
            for kind_, flags, its, content in _messages(
                    self.socket.recv(_LONGEST_ANSWER)):
                if its == sequence and kind_ == _ERROR:
                    raise _refusal(kind, flags, content)
                if its == sequence:
                    return content

    def _read_dump(
            self, kind: int, body: bytes,
    ) -> typing.Optional[typing.List[bytes]]:
        """One reading; None if the list has changed in the middle of it."""
        sequence = self._next()
        self.socket.send(_packed(kind, _REQUEST | _DUMP, sequence, body))
        found: typing.List[bytes] = []
        whole = True
        while True:
            for kind_, flags, its, content in _messages(
                    self.socket.recv(_LONGEST_ANSWER)):
                if its != sequence:
                    continue
                whole = whole and not flags & _INTERRUPTED
                if kind_ == _DONE:
                    return found if whole else None
                if kind_ == _ERROR:
                    raise _refusal(kind, flags, content)
                found.append(content)

    def ask(self, messages: typing.Iterable[Message],
            tolerated: typing.Container[int] = ()) -> None:
        """Have the kernel do all of this, in this order.

        What stands behind a message that is refused is done nevertheless.

        :param tolerated: error numbers that are not worth a word
        :raises NetlinkError: the first refusal
        """
        for _, refusal in self.attempt(messages, tolerated):
            raise refusal

    def attempt(self, messages: typing.Iterable[Message],
                tolerated: typing.Container[int] = ()) -> typing.List[Refused]:
        """The same, but what is refused is handed back with its reason."""
        refusals: typing.List[Refused] = []
        batch: typing.List[Message] = []
        length = 0
        for message in messages:
            batch.append(message)
            length += _HEADER.size + len(message.body) + 3
            if length > _LONGEST_BATCH:
                refusals += self._send(batch, tolerated)
                batch, length = [], 0
        if batch:
            refusals += self._send(batch, tolerated)
        return refusals

    def transact(self, begin: Message, messages: typing.List[Message],
                 end: Message) -> None:
        """Have the kernel do all of this or nothing, as nfnetlink does.

        :raises NetlinkError: the first refusal
        """
        for _, refusal in self._send([begin] + messages + [end], (),
                                     framed=True):
            raise refusal

    def _send(self, batch: typing.List[Message],
              tolerated: typing.Container[int],
              framed: bool = False) -> typing.List[Refused]:
        """Send all at once, and read what the kernel says to it.

        :param framed: the first message and the last one are not answered,
            but for a refusal of all
        """
        first = self._sequence + 1
        answered = batch[-2 if framed else -1]
        packed = []
        for message in batch:
            # Refusals come back anyway; this message says that all is done.
            packed.append(_packed(
                message.kind, _REQUEST | message.flags
                | (_ACK if message is answered else 0), self._next(),
                message.body))
        self.socket.send(b''.join(packed))
        final = {first + (len(batch) - 2 if framed else len(batch) - 1)}
        if framed:
            final.add(first)
        refusals = []
        while True:
            for kind, flags, its, content in _messages(
                    self.socket.recv(_LONGEST_ANSWER)):
                if kind != _ERROR or not first <= its <= self._sequence:
                    continue
                code = -_INT.unpack_from(content)[0]
                if code and code not in tolerated:
                    asked = batch[its - first]
                    refusals.append(
                        (asked, _refusal(asked.kind, flags, content)))
                if its in final:
                    return refusals

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence


# What a kernel says that cannot do a thing at all.
_UNKNOWN = frozenset([errno.EPROTONOSUPPORT, errno.EINVAL, errno.EOPNOTSUPP,
                      errno.ECONNREFUSED, errno.EPERM, errno.ENOENT])


def asked(protocol: int, kind: int, body: bytes) -> typing.List[bytes]:
    """All of a kind of another part of the kernel; none if it is missing."""
    try:
        with Netlink(protocol=protocol) as kernel:
            return kernel.dump(kind, body)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        return []


def _packed(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence,
                        0) + _padded(body)


def _messages(
        data: bytes,
) -> typing.Iterator[typing.Tuple[int, int, int, bytes]]:
    """Kind, flags, sequence number and body of each message in a packet."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield kind, flags, sequence, data[offset + _HEADER.size:
                                          offset + length]
        offset += (length + 3) & ~3


def _refusal(kind: int, flags: int, content: bytes) -> NetlinkError:
    code = -_INT.unpack_from(content)[0]
    words = os.strerror(code)
    if flags & _ACK_TLVS:
        # The number, then the header of what was asked.
        start = _INT.size + _HEADER.size
        if not flags & _CAPPED:
            start += _UINT.unpack_from(content, _INT.size)[0] - _HEADER.size
        said = dict(attributes(content, start)).get(_ERROR_MESSAGE)
        if said:
            words = '%s (%s)' % (words, text(said))
    return NetlinkError(code, 'message of kind %d: %s' % (kind, words))


# -- attributes -------------------------------------------------------------

def attributes(body: bytes, start: int) -> Attributes:
    """Kind and value of each attribute from an offset on."""
    end = len(body)
    while start + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(body, start)
        if length < 4:
            return
        yield kind & _KIND_MASK, body[start + 4:start + length]
        start += (length + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(value), kind) + _padded(value)


def number(value: typing.Optional[bytes]) -> typing.Optional[int]:
    """Of an attribute that is a u32, if it is there."""
    return None if value is None else _UINT.unpack_from(value)[0]


def numeric(kind: int, value: int) -> bytes:
    """An attribute that is a u32."""
    return attribute(kind, _UINT.pack(value))


def text(value: bytes) -> str:
    return value.split(b'\0', 1)[0].decode('utf-8', 'replace')


def textual(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b'\0')


def _padded(value: bytes) -> bytes:
    return value + b'\0' * (-len(value) % 4)


# -- bodies in a JSON document ----------------------------------------------

def to_text(bodies: typing.Iterable[bytes]) -> str:
    """Bodies as one text; they may be very many."""
    return base64.b64encode(b''.join(
        _UINT.pack(len(body)) + body for body in bodies)).decode('ascii')


def from_text(kept: str) -> typing.List[bytes]:
    data = base64.b64decode(kept.encode('ascii'))
    found = []
    offset = 0
    while offset < len(data):
        length = _UINT.unpack_from(data, offset)[0]
        found.append(data[offset + 4:offset + 4 + length])
        offset += 4 + length
    return found
