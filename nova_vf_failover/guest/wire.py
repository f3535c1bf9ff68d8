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
from nova_vf_failover.guest import packetfilter

_ETH_P_ALL = 0x0003
# include/uapi/linux/if_packet.h
_SOL_PACKET, _ADD_MEMBERSHIP, _PROMISCUOUS = 263, 1, 1

# Seconds until a question is asked again: a NIC that has just come up may
# lose the first ones.
_PATIENCE = (0.01, 0.02, 0.05, 0.1, 0.25, 0.3)
#: for what is not worth a longer wait
BRIEF = _PATIENCE[:1]
#: where one answer is to tell that there is no other one: a copy of it comes
#: within microseconds, and has the rest of the try on a busy host
THOROUGH = _PATIENCE[2:]

# Frames that are read before anything else is done again.
_MOST_AT_ONCE = 64

# Seconds before each repetition of an announcement: they get lost while
# switches and bridges still learn (bugs 1815989 and 1996995 of Nova).
_PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0)

Address = typing.Tuple[int, str]


class Mouth:
    """A raw socket that says something on one NIC and hears nothing."""

    def __init__(self, nic: links.Nic) -> None:
        self.name = nic.name
        self._sending = _packet_socket()
        self._sending.bind((nic.name, 0))

    def __enter__(self) -> 'Mouth':
        return self

    def __exit__(self, *_: typing.Any) -> None:
        self.close()

    def close(self) -> None:
        self._sending.close()

    def send(self, frame: bytes) -> None:
        try:
            self._sending.send(frame)
        except OSError as error:
            # It has gone down or away: what was to be said is lost like any
            # other frame.
            if error.errno not in (errno.ENETDOWN, errno.ENXIO,
                                   errno.ENODEV, errno.ENOBUFS):
                raise


class Wire(Mouth):
    """A mouth that also hears what comes in on its NIC for a MAC.

    :ivar answers: the socket that has what neighbours answer
    :ivar traffic: the socket that has something when anything has come in
        for this MAC; it loses most of it

    :param nic: it has to be up
    :param mac: of the port; a NIC that is parked has another one
    """

    def __init__(self, nic: links.Nic, mac: str) -> None:
        super().__init__(nic)
        self.mac = frames.mac_bytes(mac)
        self.answers = _listening(nic, packetfilter.answers(self.mac))
        self.traffic = _listening(nic, packetfilter.to(self.mac))
        self.traffic.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)

    def close(self) -> None:
        super().close()
        self.answers.close()
        self.traffic.close()

    def answered(self) -> typing.Set[typing.Tuple[int, str]]:
        """Who has answered since the last call."""
        found = map(frames.answer_to, _received(self.answers))
        return {answer for answer in found if answer}

    def carried(self) -> bool:
        """Whether anything has come in since the last call."""
        return bool(_received(self.traffic))


def _packet_socket() -> socket.socket:
    # It hears nothing before it is bound: leaving the other NICs would take
    # tens of milliseconds (net/packet/af_packet.c, packet_do_bind).
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)


def _listening(nic: links.Nic,
               kept: typing.List[packetfilter.Conditions]) -> socket.socket:
    made = _packet_socket()
    packetfilter.load(made, packetfilter.incoming(kept))
    made.bind((nic.name, _ETH_P_ALL))
    made.setblocking(False)
    # A NIC may filter by the MAC that the guest has given it.
    made.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP,
                    struct.pack('=iHH8x', nic.index, _PROMISCUOUS, 0))
    return made


def _received(sock: socket.socket) -> typing.List[bytes]:
    found: typing.List[bytes] = []
    while len(found) < _MOST_AT_ONCE:
        try:
            found.append(sock.recv(128))
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENETDOWN, errno.ENXIO,
                               errno.ENODEV):
                break
            raise
    return found


class Proof:
    """What was seen while a NIC was tried.

    :ivar unicast: frames for us came in on it
    :ivar answered: somebody answered what was asked on it, wherever the
        answer came in
    :ivar elsewhere: an answer came in on the other NIC
    """

    def __init__(self) -> None:
        self.unicast = False
        self.answered = False
        self.elsewhere = False


def prove(tried: Wire, other: typing.Optional[Wire], own: typing.List[Address],
          asked: typing.List[Address],
          enough: typing.Callable[[Proof], bool],
          patience: typing.Sequence[float] = _PATIENCE) -> Proof:
    """Ask neighbours over one NIC and listen on both.

    A NIC that does not replicate delivers the answers to the VF, whichever
    NIC has asked. Returns as soon as enough was seen, and when the tries are
    used up.

    :param own: an address of ours in each family, to ask from
    :param asked: neighbours that were known
    :param patience: seconds until each try is given up
    """
    wires = [tried] + ([other] if other else [])
    for wire in wires:
        # What was asked over another NIC says nothing of this one.
        wire.answered()
    proof = Proof()
    listening = [tried.traffic] + [wire.answers for wire in wires]
    for _ in _ask(tried, listening, own, asked, patience):
        for wire in wires:
            if wire.answered().intersection(asked):
                proof.answered = True
                proof.elsewhere = proof.elsewhere or wire is other
        proof.unicast = tried.carried() or proof.unicast
        if enough(proof):
            break
    return proof


def answered_on(tried: Wire, own: typing.List[Address],
                asked: typing.List[Address]) -> bool:
    """Whether unicast traffic comes in on a NIC, with an answer behind it.

    What was on its way to another NIC when the question was sent is there
    before the answer is. Where nobody answers, any traffic will do.
    """
    tried.answered()
    tried.carried()
    listening = tried.answers if asked else tried.traffic
    for _ in _ask(tried, [listening], own, asked):
        if not asked or tried.answered().intersection(asked):
            return True
    return tried.carried()


def _ask(tried: Wire, listening: typing.List[socket.socket],
         own: typing.List[Address], asked: typing.List[Address],
         every: typing.Sequence[float] = _PATIENCE,
         ) -> typing.Iterator[None]:
    """Ask, several times, and yield whenever something has come in."""
    questions = _questions(tried.mac, own, asked)
    for patience in every if questions else every[:1]:
        for question in questions:
            tried.send(question)
        until = time.monotonic() + patience
        while True:
            left = until - time.monotonic()
            if left <= 0 or not select.select(listening, [], [], left)[0]:
                break
            yield


def _questions(mac: bytes, own: typing.List[Address],
               asked: typing.List[Address]) -> typing.List[bytes]:
    sources = dict(own)
    text = ':'.join('%02x' % part for part in mac)
    return [frames.question(family, text, sources[family], address)
            for family, address in asked if family in sources]


def announce(mouth: Mouth, mac: str, own: typing.List[Address],
             router: bool) -> None:
    """Say where our MAC is, at once and again in the background.

    :param own: an address of ours in each family
    :param router: whether we are one, to IPv6
    :param mouth: it is closed after the last time
    """
    said = [frames.announcement(family, mac, address, router)
            for family, address in own]
    for frame in said:
        mouth.send(frame)
    threading.Thread(target=_repeat, args=(mouth, said), daemon=True).start()


def _repeat(mouth: Mouth, said: typing.List[bytes]) -> None:
    with mouth:
        for pause in _PAUSES:
            time.sleep(pause)
            for frame in said:
                mouth.send(frame)


def close_later(wires: typing.Iterable[Mouth]) -> None:
    """Close raw sockets without waiting for it.

    The kernel lets the last frame pass first, which takes tens of
    milliseconds each (net/packet/af_packet.c, packet_release).
    """
    threading.Thread(target=_close, args=(list(wires),), daemon=True).start()


def _close(wires: typing.List[Mouth]) -> None:
    for wire in wires:
        wire.close()
