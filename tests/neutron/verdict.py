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

"""What is different between the stand-in and Neutron, and whether it may be.
"""

from collections.abc import Iterable
import dataclasses

from tests.neutron import dialogue


@dataclasses.dataclass(frozen=True)
class Known:
    """A difference that stays.

    :ivar what: what is different, as in :class:`Difference`
    :ivar why: the reason, for people
    :ivar requests: where it is; all requests if there are none
    """

    what: tuple[str, str, str]
    why: str
    requests: tuple[str, ...] = ()

    def explains(self, difference: 'Difference') -> bool:
        return (difference.what == self.what
                and (not self.requests
                     or difference.request in self.requests))


@dataclasses.dataclass(frozen=True)
class Difference:
    """One answer in which the two are not alike.

    :ivar what: the name of a field, or ``code``; what the stand-in says of
        it; and what Neutron says
    """

    request: str
    what: tuple[str, str, str]

    def __str__(self) -> str:
        name, stand_in, neutron = self.what
        return (f'{self.request}: {name} is {stand_in} of the stand-in and '
                f'{neutron} of Neutron')


KNOWN = (
    Known(('status', 'ACTIVE', 'DOWN'),
          'the stand-in has no agent: a port is up once it is bound'),
    Known(('code', 'done', '500'),
          'the stand-in has no agents: it binds to every host',
          ('make a binding to gamma',)),
    Known(('code', 'done', '404'),
          'this is the binding that the stand-in has made',
          ('delete the binding to gamma',)),
    Known(('code', '404', '500'),
          'an error of Neutron, which does not look whether there is a port',
          ('make a binding to beta of an unknown port',)),
)


def differences(stand_in: dialogue.Answer,
                neutron: dialogue.Answer) -> list[Difference]:
    """All differences between two answers to one request.

    Where one of them is an error only that is told.

    :raises ValueError: they are answers to different requests
    """
    if stand_in.request != neutron.request:
        raise ValueError(f'{stand_in.request} is not {neutron.request}')
    if stand_in.code != neutron.code:
        return [Difference(stand_in.request, (
            'code', stand_in.code, neutron.code))]
    names = sorted({*stand_in.facts, *neutron.facts})
    told = [(name, stand_in.facts.get(name, '(none)'),
             neutron.facts.get(name, '(none)')) for name in names]
    return [Difference(stand_in.request, what) for what in told
            if what[1] != what[2]]


def reason(difference: Difference) -> str | None:
    """Why a difference stays, or None if it must not."""
    return next((known.why for known in KNOWN
                 if known.explains(difference)), None)


def outdated(found: Iterable[Difference]) -> list[Known]:
    """What is said to be different and is not."""
    found = list(found)
    return [known for known in KNOWN
            if not any(known.explains(one) for one in found)]
