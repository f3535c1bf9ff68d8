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

"""Where the kernel of a guest would send packets: ``ip route get``, often.

It is asked over one socket, for starting a program takes longer than a
thousand questions.
"""

import itertools
import os
import random
import socket
import struct

from nova_vf_failover.guest import netlink

_GETROUTE, _ERROR = 26, 2
_REQUEST = 0x1
_LOOKUP_TABLE, _FIB_MATCH = 0x1000, 0x2000
_HEADER = struct.Struct('=IHHII')
# struct rtmsg: family, destination and source length, tos, table, protocol,
# scope, type, flags
_ROUTE = struct.Struct('=BBBBBBBBI')
# include/uapi/linux/rtnetlink.h
_DST, _SRC, _IIF, _OIF, _MULTIPATH, _CACHEINFO, _TABLE, _MARK, _UID = (
    1, 2, 3, 4, 9, 12, 15, 16, 25)
_FLOW, _NH_ID, _IP_PROTO, _DPORT = 11, 30, 27, 29
_HOP = struct.Struct('=HBBi')
_ONLINK = 4
_LOCAL = 2
# Tables and nexthop objects have copies under other numbers; the age of a
# route is not looked at here.
_IGNORED = frozenset([_TABLE, _CACHEINFO, _UID, _NH_ID])
_AT_ONCE = 50
_MOST = 800


class Question:
    """One packet.

    :param where: the name of the port's NIC that it comes in on, if it comes
        in, or is bound to, if it is
    """

    FORM = ('destination', 'source', 'mark', 'tos', 'uid', 'flow', 'way',
            'where')

    def __init__(self, *values):
        self.values = values
        (self.destination, self.source, self.mark, self.tos, self.uid,
         self.flow, self.way, self.where) = values

    def __repr__(self):
        return ' '.join(f'{name}={value}' for name, value in zip(
            self.FORM, self.values) if value)

    def packed(self, sequence, indexes, matched):
        destination = self.destination.packed
        family = (socket.AF_INET if self.destination.version == 4
                  else socket.AF_INET6)
        body = _ROUTE.pack(
            family, len(destination) * 8,
            len(destination) * 8 if self.source else 0, self.tos, 0, 0, 0, 0,
            _LOOKUP_TABLE | (_FIB_MATCH if matched else 0))
        body += netlink.attribute(_DST, destination)
        if self.source:
            body += netlink.attribute(_SRC, self.source.packed)
        if self.mark:
            body += netlink.numeric(_MARK, self.mark)
        if self.uid is not None:
            body += netlink.numeric(_UID, self.uid)
        if self.flow:
            protocol, port = self.flow
            body += netlink.attribute(_IP_PROTO, bytes([protocol]))
            body += netlink.attribute(_DPORT, struct.pack('!H', port))
        if self.way:
            body += netlink.numeric(
                _IIF if self.way == 'iif' else _OIF, indexes[self.where])
        return _HEADER.pack(_HEADER.size + len(body), _GETROUTE, _REQUEST,
                            sequence, 0) + body


def questions(destinations, sources, nics, own):
    """All that rules can tell apart, or a part of it that is as mixed.

    :param own: the sources that are the guest's own
    """
    sent = [Question(to, source, mark, tos, uid, flow, way, where)
            for to, source, mark, tos, uid, flow, (way, where)
            in itertools.product(
                destinations, [None, *own], (0, 6, 0x61), (0, 0x10),
                (None, 1500), (None, (6, 80), (17, 55)),
                [('', ''), *(('oif', nic) for nic in nics)])]
    received = [Question(to, source, mark, tos, None, flow, 'iif', where)
                for to, source, mark, tos, flow, where in itertools.product(
                    destinations, sources, (0, 6), (0, 0x10),
                    (None, (6, 80)), nics)]
    # Always the same ones, or no example could be shrunk.
    chance = random.Random(0)
    # Whoever sends to the link has to name one.
    sent = [question for question in sent
            if question.way or not question.destination.is_link_local]
    return [question for kind in (sent, received)
            for question in chance.sample(kind, min(_MOST, len(kind)))]


class Lookup:
    """Asks the kernel.

    :param guest: the namespace
    """

    def __init__(self, guest):
        self._socket = guest.inside(lambda: socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE))
        self._socket.settimeout(10)

    def close(self):
        self._socket.close()

    def ask(self, asked, indexes, idle):
        """What would become of each packet, and by which route.

        :param indexes: of the NICs in use, by the names of the ports' NICs
        :param idle: of the NICs that are there besides; the kernel may have
            a packet to an address of ours taken in by them
        """
        names = {index: name for name, index in indexes.items()}
        local = {**{index: name for name, index in idle.items()}, **names}
        found = []
        wanted = [(question, matched) for question in asked
                  for matched in (False, True)]
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start:start + _AT_ONCE]
            for sequence, (question, matched) in enumerate(some):
                self._socket.send(question.packed(
                    sequence, indexes, matched))
            found += [self._answer(sequence, names, local, matched)
                      for sequence, (_, matched) in enumerate(some)]
        return list(zip(found[::2], found[1::2]))

    def _answer(self, sequence, names, local, matched):
        data = self._socket.recv(65536)
        length, kind, _, its, _ = _HEADER.unpack_from(data)
        if its != sequence:
            raise AssertionError((its, sequence))
        body = data[_HEADER.size:length]
        if kind == _ERROR:
            return os.strerror(-struct.unpack_from('=i', body)[0])
        kind = _ROUTE.unpack_from(body)[7]
        found = _readable(body, local if kind == _LOCAL else names)
        if not matched:
            # The realm is that of whoever was sent this way first: the kernel
            # keeps it with the nexthop (net/ipv4/route.c, rt_set_nexthop).
            found[-1][:] = [value for value in found[-1]
                            if value[0] != _FLOW]
        return found


def _readable(body, names):
    (family, prefix, source, tos, _, protocol, scope, kind,
     flags) = _ROUTE.unpack_from(body)
    # The copies of IPv6 go without: the kernel looks at it only when they are
    # made, by another table.
    kept = _ONLINK if family == socket.AF_INET else 0
    values = []
    for what, value in netlink.attributes(body, _ROUTE.size):
        if what in (_OIF, _IIF):
            index = netlink.number(value)
            value = names.get(index, index)
        elif what == _MULTIPATH:
            value = _hops(value, names, kept)
        if what not in _IGNORED:
            values.append((what, value if isinstance(value, (str, int, list))
                           else value.hex()))
    # The order of attributes says nothing.
    return (f'/{prefix}', source, tos, protocol, scope, kind,
            flags & kept, sorted(values, key=repr))


def _hops(value, names, kept):
    found = []
    while value:
        length, flags, weight, index = _HOP.unpack_from(value)
        found.append((names.get(index, index), flags & kept, weight,
                      value[_HOP.size:length].hex()))
        value = value[(length + 3) & ~3:]
    return found
