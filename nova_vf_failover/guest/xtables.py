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

"""The rules of ip_tables and ip6_tables, which nftables does not show.

Some guests still have them (iptables-legacy). The kernel gives a whole table
out through getsockopt(2), which Python does not hand a question to; so the C
library is asked, and only where there is such a table.
"""

import os
import socket
import struct
import typing

from nova_vf_failover.guest import conditions
from nova_vf_failover.guest import netlink

# Of one family: where the names of its tables are, what a socket is asked
# with, the fixed part of an entry, and where in that is what.
_Form = typing.NamedTuple('_Form', [
    ('kind', str), ('names', str), ('family', int), ('level', int),
    ('interfaces', int), ('inverted', int), ('offsets', int), ('size', int)])

# linux/netfilter_ipv4/ip_tables.h, struct ipt_entry, and its like in
# linux/netfilter_ipv6/ip6_tables.h.
_FORMS = (
    _Form('ip_tables', '/proc/net/ip_tables_names', socket.AF_INET,
          socket.IPPROTO_IP, 16, 83, 88, 112),
    _Form('ip6_tables', '/proc/net/ip6_tables_names', socket.AF_INET6,
          socket.IPPROTO_IPV6, 64, 132, 140, 168))
_GET_INFO, _GET_ENTRIES = 64, 65
# struct ipt_getinfo: name, hooks, where each begins, underflows, entries, size
_INFO = struct.Struct('=32sI5I5III')
# struct ipt_get_entries, before the entries: name, size
_ENTRIES = struct.Struct('@32sI')
_ALIGNED = (_ENTRIES.size + 7) // 8 * 8
# Names and masks of the NICs, in and out.
_INTERFACES = struct.Struct('=16s16s16s16s')
_INVERTED_IN, _INVERTED_OUT = 0x1, 0x2
# Where the target and the next entry are, from the entry on.
_OFFSETS = struct.Struct('=HH')
# struct xt_entry_target: length, name, revision; then what is its own.
_TARGET = struct.Struct('=H29sB')
_VERDICT = struct.Struct('=i')
_BUILT_IN = ('PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING')


class Unreadable(Exception):
    """A table is there, and the kernel or the library does not hand it out."""


def chains() -> typing.Iterator[typing.List[conditions.Rule]]:
    """The rules of each chain that has some, as far as they can be read."""
    for form in _FORMS:
        for table in _tables(form):
            try:
                info, entries = _read(form, table)
            except Unreadable:
                continue
            yield from _chains(form, table, info, entries)


def unreadable() -> typing.List[str]:
    """Sentences about the tables that cannot be read."""
    found = []
    for form in _FORMS:
        for table in _tables(form):
            try:
                _read(form, table)
            except Unreadable as error:
                found.append('The rules of the %s table %s cannot be read: '
                             '%s' % (form.kind, table, error))
    return found


def _tables(form: _Form) -> typing.List[str]:
    """Those that are there: to ask for another one would make it."""
    try:
        with open(form.names) as names:
            return names.read().split()
    except (FileNotFoundError, PermissionError):
        return []


def _read(form: _Form, table: str) -> typing.Tuple[typing.Any, bytes]:
    """:raises Unreadable: and why"""
    try:
        # Slow to import, and refused where no memory may become a program.
        import ctypes
        library = ctypes.CDLL(None, use_errno=True)
    except (ImportError, MemoryError, OSError) as error:
        raise Unreadable(error)
    with socket.socket(form.family, socket.SOCK_DGRAM) as sock:

        def get(option: int, question: bytes) -> bytes:
            answer = ctypes.create_string_buffer(question, len(question))
            length = ctypes.c_uint(len(question))
            if library.getsockopt(sock.fileno(), form.level, option, answer,
                                  ctypes.byref(length)):
                raise Unreadable(os.strerror(ctypes.get_errno()))
            return answer.raw

        name = table.encode()
        info = _INFO.unpack(get(_GET_INFO, name.ljust(_INFO.size, b'\0')))
        size = info[-1]
        return info, get(_GET_ENTRIES, _ENTRIES.pack(name, size).ljust(
            _ALIGNED + size, b'\0'))[_ALIGNED:]


def _chains(form: _Form, table: str, info: typing.Any, entries: bytes,
            ) -> typing.Iterator[typing.List[conditions.Rule]]:
    heads = {info[2 + number]: name
             for number, name in enumerate(_BUILT_IN)
             if info[1] & 1 << number}
    found: typing.List[conditions.Rule] = []
    offset, chain = 0, ''
    while offset < len(entries):
        target, following = _OFFSETS.unpack_from(
            entries, offset + form.offsets)
        entry = entries[offset:offset + following]
        name = _target(entry, target)
        if offset in heads or name == 'ERROR':
            # The head of a chain of the owner's has a target with its name.
            if found:
                yield found
            found, chain = [], heads.get(offset, '') or (
                netlink.text(entry[target + _TARGET.size:]))
        if name != 'ERROR':
            found.append(_rule('chain %s of the %s table %s' % (
                chain, form.kind, table), form, entry, offset))
        offset += following
    if found:
        yield found


def _rule(words: str, form: _Form, entry: bytes,
          offset: int) -> conditions.Rule:
    target = _OFFSETS.unpack_from(entry, form.offsets)[0]
    name = _target(entry, target)
    # A rule without a target goes on with the next one.
    acts = bool(name) or _VERDICT.unpack_from(
        entry, target + _TARGET.size)[0] != offset + len(entry)
    inverted = entry[form.inverted]
    ways = _INTERFACES.unpack_from(entry, form.interfaces)
    asked: typing.List[conditions.Condition] = [
        conditions.Name(wanted[:len(mask.rstrip(b'\0'))], out,
                        bool(inverted & flag))
        for wanted, mask, out, flag in (
            (ways[0], ways[2], False, _INVERTED_IN),
            (ways[1], ways[3], True, _INVERTED_OUT)) if mask.strip(b'\0')]
    rest = (entry[:form.interfaces]
            + entry[form.interfaces + _INTERFACES.size:form.inverted]
            + bytes([inverted & ~(_INVERTED_IN | _INVERTED_OUT)])
            + entry[form.size:])
    return conditions.Rule(words, asked, rest, acts,
                           name == 'MASQUERADE')


def _target(entry: bytes, offset: int) -> str:
    """The name of its target; that of a verdict is empty."""
    return netlink.text(_TARGET.unpack_from(entry, offset)[1])
