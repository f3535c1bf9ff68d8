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

"""ARP requests and neighbour discovery, as bytes.

RFC 826 and RFC 5227 (ARP), RFC 4861 (neighbour discovery).
"""

import socket
import struct
import typing

ETH_P_IP = 0x0800
ETH_P_ARP = 0x0806
ETH_P_IPV6 = 0x86dd

_BROADCAST = b'\xff' * 6
_SOLICITATION = 135
ADVERTISEMENT = 136
# RFC 4861, 4.4: the sender is a router; override what you know
_ROUTER, _OVERRIDE = 0x80000000, 0x20000000
ICMPV6 = 58


def mac_bytes(mac: str) -> bytes:
    return bytes(bytearray(int(part, 16) for part in mac.split(':')))


def question(family: int, mac: str, own: str, asked: str) -> bytes:
    """Ask the owner of an address for its MAC.

    :param own: an address of ours, of the same family
    """
    if family == socket.AF_INET:
        return _arp(mac, own, asked)
    target = socket.inet_pton(family, asked)
    group = (socket.inet_pton(family, 'ff02::1:ff00:0')[:13] + target[13:])
    return _neighbour_discovery(
        mac, b'\x33\x33' + group[12:], socket.inet_pton(family, own), group,
        struct.pack('!BBHI', _SOLICITATION, 0, 0, 0) + target
        + b'\x01\x01' + mac_bytes(mac))


def announcement(family: int, mac: str, own: str,
                 router: bool = False) -> bytes:
    """Tell everybody, switches above all, where our MAC is.

    :param router: whether we are one, to IPv6; who hears that we are not
        gives up its default routes over us (RFC 4861, 7.2.5)
    """
    if family == socket.AF_INET:
        return _arp(mac, own, own)
    source = socket.inet_pton(family, own)
    group = socket.inet_pton(family, 'ff02::1')
    flags = _OVERRIDE | (_ROUTER if router else 0)
    return _neighbour_discovery(
        mac, b'\x33\x33' + group[12:], source, group,
        struct.pack('!BBHI', ADVERTISEMENT, 0, 0, flags) + source
        + b'\x02\x01' + mac_bytes(mac))


def answer_to(frame: bytes) -> typing.Optional[typing.Tuple[int, str]]:
    """The family and the address whose owner answers here, if it is that."""
    protocol = struct.unpack_from('!H', frame, 12)[0] if len(frame) > 14 else 0
    if protocol == ETH_P_ARP and len(frame) >= 42:
        if struct.unpack_from('!H', frame, 20)[0] == 2:
            return socket.AF_INET, socket.inet_ntop(
                socket.AF_INET, frame[28:32])
    if (protocol == ETH_P_IPV6 and len(frame) >= 78 and frame[20] == ICMPV6
            and frame[54] == ADVERTISEMENT):
        return socket.AF_INET6, socket.inet_ntop(
            socket.AF_INET6, frame[62:78])
    return None


def _arp(mac: str, own: str, asked: str) -> bytes:
    return (_BROADCAST + mac_bytes(mac) + struct.pack('!H', ETH_P_ARP)
            + struct.pack('!HHBBH', 1, ETH_P_IP, 6, 4, 1)
            + mac_bytes(mac) + socket.inet_pton(socket.AF_INET, own)
            + b'\0' * 6 + socket.inet_pton(socket.AF_INET, asked))


def _neighbour_discovery(mac: str, to: bytes, source: bytes, group: bytes,
                         message: bytes) -> bytes:
    pseudo = source + group + struct.pack('!II', len(message), ICMPV6)
    checksum = _checksum(pseudo + message)
    message = message[:2] + struct.pack('!H', checksum) + message[4:]
    return (to + mac_bytes(mac) + struct.pack('!H', ETH_P_IPV6)
            + struct.pack('!IHBB', 6 << 28, len(message), ICMPV6, 255)
            + source + group + message)


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b'\0'
    total: int = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
