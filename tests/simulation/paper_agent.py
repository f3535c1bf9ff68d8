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

"""``vf-failover-agent`` for a guest that exists on paper.

It speaks the protocol of the real one, which ``tests/guest`` holds to the
same documents, and it can be made to misbehave.
"""

from collections.abc import Callable
from collections.abc import Sequence
import enum
import time
import typing

from oslo_serialization import jsonutils

from nova_vf_failover.guest import intent as intents
from tests.simulation import guest_agent
from tests.simulation import paper


class Mood(enum.Enum):
    """How the agent behaves."""

    GOOD = 'good'
    MISSING = 'missing'
    SILENT = 'silent'
    NONSENSE = 'nonsense'
    #: says no when it is asked beforehand
    REFUSING = 'refusing'
    #: says yes beforehand, and then that it did not work
    FAILING = 'failing'
    #: says yes beforehand, and then nothing; it has not changed NICs
    DYING = 'dying'
    #: changes NICs and dies before it can say so
    MUTE = 'mute'
    #: goes to the standby, and will not go back
    STUCK = 'stuck'
    #: goes to the standby; then its service dies, and the program says so
    ORPHANED = 'orphaned'


class PaperAgent:
    """The agent of one guest.

    :param guest: its NICs
    """

    def __init__(self, guest: paper.PaperGuest) -> None:
        self._guest = guest
        self.mood = Mood.GOOD
        #: whether the standby with a MAC hears the network
        self.hears: Callable[[str], bool] = lambda mac: True
        self._armed: set[str] = set()
        #: of the last intent that was taken
        self.generation = 0
        self._taken: dict[str, typing.Any] | None = None
        # What is said of it from now on, once it is over.
        self._ended: guest_agent.Program | None = None
        self._over = False
        guest.on_arrival = self._switch_back

    def start(self, argv: Sequence[str],
              given: bytes) -> guest_agent.Program:
        """What the QEMU guest agent is told to run."""
        if self.mood is Mood.MISSING or argv[0] != 'vf-failover-agent':
            raise FileNotFoundError(argv[0])
        if self.mood is Mood.SILENT:
            return guest_agent.Hanging()
        if self.mood is Mood.NONSENSE:
            return guest_agent.Ended(0, b'Segmentation fault\n')
        try:
            intent = intents.parse(given.decode()).to_document()
        except intents.BadIntent as error:
            return guest_agent.Ended(1, jsonutils.dump_as_bytes(
                intents.Report(state=intents.REFUSED,
                               message=str(error)).to_document()))
        if argv[1] == 'check':
            return self._check(intent)
        return self._apply(intent)

    def _check(self, intent: dict[str, typing.Any]) -> guest_agent.Program:
        if self.mood is Mood.REFUSING:
            return _report(intent, 'refused', 'eth0 is a port of bridge br0')
        macs = [port['mac'] for port in intent['ports']]
        unknown = [mac for mac in macs if not self._guest.nics.get(mac)]
        if unknown:
            return _report(intent, 'refused',
                           f'there is no NIC with the MAC {unknown[0]}')
        return _report(intent, 'ready')

    def _apply(self, intent: dict[str, typing.Any]) -> guest_agent.Program:
        taken = {name: intent[name] for name in ('generation', 'use', 'ports')}
        if taken == self._taken and self._ended:
            # What has ended is not begun anew, whatever has changed since.
            return self._ended
        if taken != self._taken and intent['generation'] <= self.generation:
            return _report(intent, 'refused', 'the intent is stale',
                           taken=self.generation)
        self._taken, self._ended = taken, None
        self.generation = intent['generation']
        said = self._carry_out(intent)
        if not isinstance(said, guest_agent.Hanging) and self._over:
            self._ended = said
        return said

    def _carry_out(self, intent: dict[str, typing.Any],
                   ) -> guest_agent.Program:
        self._over = True
        macs = [port['mac'] for port in intent['ports']]
        if self.mood is Mood.FAILING:
            return _report(intent, 'failed', 'nobody answers over eth1')
        if self.mood is Mood.DYING:
            return guest_agent.Hanging()
        if intent['use'] == 'primary':
            return self._go_back(intent, macs)
        if any('standby' not in self._guest.nics.get(mac, ())
               for mac in macs):
            return _report(intent, 'refused', 'there is no standby NIC')
        began = time.time()
        for mac in macs:
            self._guest.uses[mac] = 'standby'
        if self.mood is Mood.MUTE:
            self.mood = Mood.DYING
            return guest_agent.Hanging()
        return _report(intent, 'done', overlap=[
            mac for mac in macs if 'primary' in self._guest.nics[mac]
            and not self.hears(mac)], began=began)

    def _go_back(self, intent: dict[str, typing.Any],
                 macs: list[str]) -> guest_agent.Program:
        if self.mood is Mood.STUCK:
            return _report(intent, 'failed', 'the VF has no carrier')
        if self.mood is Mood.ORPHANED:
            self._over = False
            return _report(intent, 'none', 'The service does not answer')
        self._armed = set(macs)
        began = time.time()
        self._switch_back()
        if self._armed:
            self._over = False
            return _report(intent, 'armed')
        return _report(intent, 'done', began=began)

    def _switch_back(self) -> None:
        """All ports of the intent, once all of their VFs are there."""
        if all('primary' in self._guest.nics.get(mac, ())
               for mac in self._armed):
            for mac in self._armed:
                self._guest.uses[mac] = 'primary'
            self._armed = set()


def _report(intent: dict[str, typing.Any], state: str,
            message: str = '',
            overlap: Sequence[str] = (),
            began: float | None = None,
            taken: int = 0) -> guest_agent.Program:
    steps = [] if began is None else [
        {'name': 'switch', 'start': began, 'end': time.time()}]
    return guest_agent.Ended(0 if not message else 1, jsonutils.dump_as_bytes({
        'version': 1, 'generation': intent['generation'],
        'use': intent['use'], 'state': state, 'message': message,
        'started': None, 'finished': None,
        'ports': [{'id': port['id'], 'mac': port['mac'], 'state': state,
                   'proven': True if state == 'done' else None,
                   'overlap': port['mac'] in overlap, 'steps': steps}
                  for port in intent['ports']]}
        | ({'taken': taken} if taken else {})))
