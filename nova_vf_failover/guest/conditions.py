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

"""Rules of a packet filter, as far as they have to do with NICs."""

import typing


class Condition:
    """That a packet comes in, or goes out, on some NICs.

    :ivar out: whether it is about those that it goes out on
    :ivar negated: it must be another one
    """

    def __init__(self, out: bool, negated: bool = False) -> None:
        self.out = out
        self.negated = negated

    def value(self, name: str, index: int) -> typing.Any:
        """What it makes of a NIC; false if that is none of them."""
        raise NotImplementedError

    def vague(self, name: str) -> bool:
        """Whether it takes in a NIC for the beginning of its name."""
        return False

    def fits(self, name: str, index: int) -> bool:
        """Whether such a packet may come in, or go out, on a NIC."""
        return bool(self.value(name, index)) != self.negated


class Name(Condition):
    """One name, or all that begin alike.

    :param wanted: the first bytes of the name; one that is whole has a zero
        byte behind it, or is 16 bytes long
    """

    def __init__(self, wanted: bytes, out: bool, negated: bool) -> None:
        super().__init__(out, negated)
        self._wanted = wanted

    def value(self, name: str, index: int) -> bool:
        return padded(name).startswith(self._wanted)

    def vague(self, name: str) -> bool:
        return (self.value(name, 0) and b'\0' not in self._wanted
                and len(self._wanted) < 16)


class Index(Condition):
    """One NIC by its number, whatever its name is.

    :param wanted: its index; a NIC that comes in its place has another one
    """

    def __init__(self, wanted: int, out: bool, negated: bool) -> None:
        super().__init__(out, negated)
        self._wanted = wanted

    def value(self, name: str, index: int) -> bool:
        return index == self._wanted


class Rule(typing.NamedTuple('Rule', [
        ('chain', str), ('conditions', typing.List[Condition]),
        ('rest', bytes), ('acts', bool), ('masquerades', bool)])):
    """One rule of a filter.

    :ivar chain: in words
    :ivar rest: all that there is of it but the conditions and its counters
    :ivar acts: whether it does more than to count and to log
    :ivar masquerades: whether it gives connections the address of their NIC
    """


def padded(name: str) -> bytes:
    """A name as filters compare it."""
    return name.encode().ljust(16, b'\0')[:16]
