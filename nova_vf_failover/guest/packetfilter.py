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

"""Filters with which the kernel drops frames before a raw socket has them.

Classic BPF, see filter.rst in the kernel's Documentation/networking. A guest
may get more frames than the agent could look at, in its turn, one by one.
"""

import array
import socket
import struct
import typing

from nova_vf_failover.guest import frames

# include/uapi/asm-generic/socket.h
_SO_ATTACH_FILTER = 26

# include/uapi/linux/filter.h and bpf_common.h: load 1, 2 or 4 bytes of the
# frame, jump if equal, return a number of bytes.
_LOAD = {1: 0x30, 2: 0x28, 4: 0x20}
_JUMP_EQUAL, _RETURN = 0x15, 0x06
_INSTRUCTION = struct.Struct('=HBBI')

#: more than any message or frame has
WHOLE = 0x40000

# How many bytes, where, and the number that must be there.
Condition = typing.Tuple[int, int, int]
Conditions = typing.Sequence[Condition]

#: that a frame leaves: not of the frame, but what the kernel knows of it
#: (SKF_AD_PKTTYPE and PACKET_OUTGOING of include/uapi/linux)
OUTGOING: Condition = (4, 0xfffff000 + 4, 4)


def to(mac: bytes) -> typing.List[Conditions]:
    """Whatever is sent to this MAC alone."""
    high, low = struct.unpack('!IH', mac)
    return [[(4, 0, high), (2, 4, low)]]


def answers(mac: bytes) -> typing.List[Conditions]:
    """ARP, and neighbour advertisements, sent to this MAC alone."""
    here, = to(mac)
    return [[*here, (2, 12, frames.ETH_P_ARP)],
            [*here, (2, 12, frames.ETH_P_IPV6), (1, 20, frames.ICMPV6),
             (1, 54, frames.ADVERTISEMENT)]]


def load(made: socket.socket, program_: bytes) -> None:
    """Have a socket keep what a program of the filter lets through."""
    code = array.array('B', program_)
    address, length = code.buffer_info()
    # struct sock_fprog: how many instructions of 8 bytes, and where.
    made.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack(
        '@HP', length // _INSTRUCTION.size, address))


def incoming(kept: typing.Iterable[Conditions]) -> bytes:
    """Keeps what comes in and fulfils all of one of the lists."""
    return _if_all([OUTGOING], 0) + program(kept)


def program(kept: typing.Iterable[Conditions], length: int = WHOLE) -> bytes:
    """Keeps what fulfils all of one of the lists, in either direction.

    A load from behind the end of a frame drops it too.

    :param length: how many bytes of it
    """
    return b''.join(
        _if_all(conditions, length) for conditions in kept) + _return(0)


def _if_all(conditions: Conditions, length: int) -> bytes:
    code = b''
    for number, (size, offset, value) in enumerate(conditions):
        # Behind the other conditions and the return.
        missed = 2 * (len(conditions) - number - 1) + 1
        code += instruction(_LOAD[size], 0, 0, offset)
        code += instruction(_JUMP_EQUAL, 0, missed, value)
    return code + _return(length)


def instruction(code: int, if_so: int, if_not: int, number: int) -> bytes:
    """One of a program: what to do, how many to skip then, with what."""
    return _INSTRUCTION.pack(code, if_so, if_not, number)


def _return(length: int) -> bytes:
    return instruction(_RETURN, 0, 0, length)
