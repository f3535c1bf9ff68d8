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

"""What can be heard and said on a NIC itself, below its addresses."""

import errno
import select
import socket
import struct
import threading
import time
import typing

from nova_vf_failover.guest import frames
from nova_vf_failover.guest import links

_ETH_P_ALL = 0x0003
# include/uapi/linux/if_packet.h
_OUTGOING = 4
_SOL_PACKET, _ADD_MEMBERSHIP, _PROMISCUOUS = 263, 1, 1

# Seconds until a question is asked again: a NIC that has just come up may
# lose the first ones.
_PATIENCE = (0.01, 0.02, 0.05, 0.1, 0.25, 0.3)

# Bytes that a raw socket keeps for a reader who is late.
_BUFFER = 4 * 1024 * 1024
_SO_RCVBUFFORCE = 33

# Seconds before each repetition of an announcement: they get lost while
# switches and bridges still learn (bugs 1815989 and 1996995 of Nova).
_PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0)

Address = typing.Tuple[int, str]


class Wire:
    """A raw socket on one NIC.

    :param nic: it has to be up
    :param mac: of the port; a NIC that is parked has another one
    """

    def __init__(self, nic: links.Nic, mac: str) -> None:
        self.nic = nic
        self.mac = frames.mac_bytes(mac)
        # It hears nothing before it is bound: leaving the other NICs would
        # take tens of milliseconds (net/packet/af_packet.c, packet_do_bind).
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self.socket.bind((nic.name, _ETH_P_ALL))
        self.socket.setblocking(False)
        # A NIC may filter by the MAC that the guest has given it.
        self.socket.setsockopt(
            _SOL_PACKET, _ADD_MEMBERSHIP,
            struct.pack('=iHH8x', nic.index, _PROMISCUOUS, 0))

    def __enter__(self) -> 'Wire':
        return self

    def __exit__(self, *_: typing.Any) -> None:
        self.socket.close()

    def send(self, frame: bytes) -> None:
        try:
            self.socket.send(frame)
        except OSError as error:
            # It has gone down or away: what was to be said is lost like any
            # other frame.
            if error.errno not in (errno.ENETDOWN, errno.ENXIO,
                                   errno.ENODEV, errno.ENOBUFS):
                raise

    def heard(self) -> typing.List[typing.Tuple[bool, bytes]]:
        """Frames since the last call; True for those sent to this MAC."""
        found: typing.List[typing.Tuple[bool, bytes]] = []
        while True:
            try:
                frame, whence = self.socket.recvfrom(128)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENETDOWN,
                                   errno.ENXIO, errno.ENODEV):
                    return found
                raise
            found.append((whence[2] != _OUTGOING
                          and frame[:6] == self.mac, frame))


class Proof:
    """What was seen while a NIC was tried.

    :ivar unicast: frames for us came in on it
    :ivar answered: somebody answered what was asked on it, wherever the
        answer came in
    """

    def __init__(self) -> None:
        self.unicast = False
        self.answered = False


def prove(tried: Wire, other: typing.Optional[Wire], own: typing.List[Address],
          asked: typing.List[Address]) -> Proof:
    """Ask neighbours over one NIC and listen on both.

    A NIC that does not replicate delivers the answers to the VF, whichever
    NIC has asked. Returns as soon as unicast traffic has come in on the NIC
    tried, and when the tries are used up.

    :param own: our addresses, to ask from
    :param asked: neighbours that were known
    """
    proof = Proof()
    for _ in _ask(tried, other, own, asked, proof):
        if proof.unicast:
            break
    return proof


def answered_on(tried: Wire, own: typing.List[Address],
                asked: typing.List[Address]) -> bool:
    """Whether unicast traffic comes in on a NIC, with an answer behind it.

    What was on its way to another NIC when the question was sent is there
    before the answer is.
    """
    tried.heard()
    proof = Proof()
    for _ in _ask(tried, None, own, asked, proof):
        if proof.answered:
            break
    return proof.unicast


def _ask(tried: Wire, other: typing.Optional[Wire],
         own: typing.List[Address], asked: typing.List[Address],
         proof: Proof) -> typing.Iterator[None]:
    """Ask, and yield after everything that is heard."""
    expected = set(asked)
    questions = _questions(tried.mac, own, asked)
    for patience in _PATIENCE:
        for question in questions:
            tried.send(question)
        until = time.monotonic() + patience
        while True:
            waiting = [wire.socket for wire in (tried, other) if wire]
            left = until - time.monotonic()
            if left <= 0 or not select.select(waiting, [], [], left)[0]:
                break
            _listen(tried, proof, expected, True)
            if other:
                _listen(other, proof, expected, False)
            yield
        if proof.unicast or proof.answered or not questions:
            return


def _listen(
        wire: Wire, proof: Proof, expected: typing.Any, tried: bool) -> None:
    for unicast, frame in wire.heard():
        if unicast and frames.answer_to(frame) in expected:
            proof.answered = True
        if unicast and tried:
            proof.unicast = True


def _questions(mac: bytes, own: typing.List[Address],
               asked: typing.List[Address]) -> typing.List[bytes]:
    sources: typing.Dict[int, str] = {}
    for family, address in own:
        # A link-local source reaches every neighbour of IPv6.
        if family not in sources or address.startswith('fe80:'):
            sources[family] = address
    text = ':'.join('%02x' % part for part in mac)
    return [frames.question(family, text, sources[family], address)
            for family, address in asked if family in sources]


def announce(wire: Wire, mac: str, own: typing.List[Address]) -> None:
    """Say where our addresses are, at once and again in the background.

    :param wire: it is closed after the last time
    """
    said = [frames.announcement(family, mac, address)
            for family, address in own]
    for frame in said:
        wire.send(frame)
    threading.Thread(target=_repeat, args=(wire, said), daemon=True).start()


def _repeat(wire: Wire, said: typing.List[bytes]) -> None:
    with wire:
        for pause in _PAUSES:
            time.sleep(pause)
            for frame in said:
                wire.send(frame)


def close_later(wires: typing.Iterable[Wire]) -> None:
    """Close raw sockets without waiting for it.

    The kernel lets the last frame pass first, which takes tens of
    milliseconds each (net/packet/af_packet.c, packet_release).
    """
    threading.Thread(target=_close, args=(list(wires),), daemon=True).start()


def _close(wires: typing.List[Wire]) -> None:
    for wire in wires:
        wire.socket.close()
