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

"""What may happen to servers, in any order."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.stateful import cloud  # isort: skip

from collections.abc import Callable
import contextlib
import random
import sys
import typing

from hypothesis import stateful

from tests.simulation import paper_agent
from tests.stateful import model
from tests.stateful import rules

_VLANS = ('42', '43', None)

#: told the name of each step that was done
Told = Callable[[str], None]


class Violated(AssertionError):
    """Something is not as it must be."""


class Life(stateful.RuleBasedStateMachine):
    """Servers that are booted, moved, shelved and deleted on two hosts.

    :ivar chance: decides what is left to chance in a step
    """

    #: told of each step
    told: Told = staticmethod(lambda step: None)

    def __init__(self) -> None:
        super().__init__()
        # Hypothesis begins each sequence with the same seed, and so databases
        # would have the names of those of the last one (oslo_db's provision).
        random.seed()
        self._end = contextlib.ExitStack()
        self.cloud = self._end.enter_context(cloud.running())
        self.model = model.Model(cloud.VFS)

    def teardown(self) -> None:
        try:
            # What was wrong before is not to be hidden by what follows.
            if sys.exc_info()[0] is None:
                self._let_recover()
                for server in list(self.model.servers):
                    self._delete(server)
                self._see('everything was deleted')
        finally:
            self._end.close()

    # -- servers come and go --------------------------------------------------

    @stateful.initialize(number=rules.NUMBERS)
    def first(self, number: int) -> None:
        self.chance = random.Random(number)
        self._boot(model.HOSTS[-1], model.MOST_PORTS)

    @rules.rule(rules.hosts_with_room)
    def boot(self, host: str) -> None:
        self._boot(host, min(model.MOST_PORTS, self.model.free(host)))

    def _boot(self, host: str, most_ports: int) -> None:
        self._renew()
        vlans = self.chance.choices(
            _VLANS, k=self.chance.randint(1, most_ports))
        self.model.servers.append(self.cloud.create(vlans, host))
        self._see('boot')

    @rules.rule(rules.servers())
    def delete(self, server: model.Server) -> None:
        self._delete(server)
        self._see('delete')

    def _delete(self, server: model.Server) -> None:
        self.cloud.act(server, self.cloud._delete_server)
        self.model.servers.remove(server)

    # -- live migrations ------------------------------------------------------

    @rules.rule(rules.servers())
    def live_migrate(self, server: model.Server) -> None:
        self._live_migrate(server, 'live migrate', lambda _: None)

    @rules.rule(rules.servers())
    def force_complete(self, server: model.Server) -> None:
        self._live_migrate(server, 'force complete', self.cloud.force)

    @rules.rule(rules.servers())
    def abort(self, server: model.Server) -> None:
        self._live_migrate(server, 'abort', self.cloud.cancel, stays=True)

    @rules.rule(rules.servers(rules.has_vfs_to_lose_elsewhere))
    def lose_claimed_vf(self, server: model.Server) -> None:
        goal = model.other(server.host)

        def lose(_: dict[str, typing.Any]) -> None:
            self.cloud.lose_claimed_vf(goal)
            self.model.lose_vf(goal)

        self._live_migrate(server, 'live migrate, a claimed VF goes', lose)

    @rules.rule(rules.servers())
    def lose_agent_meanwhile(self, server: model.Server) -> None:
        mood = self.chance.choice(cloud.MOODS)

        def lose(_: dict[str, typing.Any]) -> None:
            self._set_mood(server, mood)

        self._live_migrate(server, f'live migrate, agent {mood.value}', lose)

    @rules.rule(rules.servers(rules.may_migrate))
    def keep_vf(self, server: model.Server) -> None:
        self._ended = 'refused'
        certain = self._may_leave(server)
        with self.cloud.vfs_kept(), contextlib.suppress(cloud.Refused):
            self.cloud.act(server, lambda it: self._note(
                self.cloud.live_migrate(it)))
        if certain and self._ended != 'failed':
            raise Violated(f'the guest of {server} keeps its VFs, and its '
                           f'live migration is {self._ended}')
        if self._ended == 'completed':
            server.host = model.other(server.host)
        self._see(f'live migrate, VFs are kept: {self._ended}')

    @rules.rule(rules.servers(rules.runs))
    def guest_reboots(self, server: model.Server) -> None:
        self.cloud.reset_guest(server)
        self._see('the guest reboots')

    def _may_leave(self, server: model.Server) -> bool:
        """Whether nothing speaks against a live migration."""
        return (server.well and server.status == model.ACTIVE
                and not self.cloud.degraded(server)
                and self.model.free(model.other(server.host)) >= len(
                    server.ports))

    def _live_migrate(self, server: model.Server, step: str,
                      meanwhile: cloud.Act, stays: bool = False) -> None:
        if not server.may('live migrate'):
            self._refuse(server, step, self.cloud.live_migrate)
            return
        goal = model.other(server.host)
        certain = self._may_leave(server)
        ended, why = 'refused', ''
        try:
            self.cloud.act(server, lambda it: self._note(
                self.cloud.live_migrate(it, meanwhile)))
            ended = self._ended
        except cloud.Refused as refusal:
            why = f': {refusal}'
        if certain and ended != ('cancelled' if stays else 'completed'):
            raise Violated(f'{step} of {server}: it is {ended}{why}')
        if ended == 'completed':
            server.host = goal
        self._see(step if ended in ('completed', 'cancelled')
                  else f'{step}: {ended}')

    def _note(self, ended: str) -> None:
        self._ended = ended

    # -- what else is done to servers -----------------------------------------

    @rules.rule(rules.servers())
    def soft_reboot(self, server: model.Server) -> None:
        self._operate(server, 'soft reboot', self.cloud._reboot_server)

    @rules.rule(rules.servers())
    def hard_reboot(self, server: model.Server) -> None:
        self._operate(server, 'hard reboot', lambda it: (
            self.cloud._reboot_server(it, hard=True)), model.ACTIVE)

    @rules.rule(rules.servers())
    def pause(self, server: model.Server) -> None:
        self._operate(server, 'pause', self.cloud.pause, model.PAUSED)

    @rules.rule(rules.servers())
    def unpause(self, server: model.Server) -> None:
        if self._operate(server, 'unpause', self.cloud.unpause, model.ACTIVE,
                         see=False):
            # Its agent may work again, and nobody has looked since.
            self._let_recover()
            self._see('unpause')

    @rules.rule(rules.servers(rules.takes_a_port))
    def attach(self, server: model.Server) -> None:
        self._renew()
        port = self.cloud.add_port(self.chance.choice(_VLANS))
        if self._operate(server, 'attach', lambda it: (
                self.cloud._attach_interface(it, port['id'])), see=False):
            server.ports.append(port)
            self._see('attach')

    @rules.rule(rules.servers(rules.spares_a_port))
    def detach(self, server: model.Server) -> None:
        port = server.ports[-1]
        if self._operate(server, 'detach', lambda it: (
                self.cloud._detach_interface(it, port['id'])), see=False):
            server.ports.remove(port)
            self._see('detach')

    @rules.rule(rules.servers(rules.has_room_elsewhere))
    def cold_migrate(self, server: model.Server) -> None:
        confirm = self.chance.choice([True, False])
        self._renew()
        if self._operate(server, 'cold migrate', lambda it: (
                self.cloud.cold_migrate(it, confirm)), see=False):
            if confirm:
                server.host = model.other(server.host)
            self._see('cold migrate, ' + ('confirm' if confirm else 'revert'))

    @rules.rule(rules.servers(rules.has_room_elsewhere))
    def evacuate(self, server: model.Server) -> None:
        self._renew()
        host = server.host
        # Nobody's host is to die for an evacuation that Nova refuses.
        evacuate = (
            (lambda it: self.cloud.evacuate(it, host))
            if host and server.may('evacuate') else self.cloud.ask_evacuation)
        if self._operate(server, 'evacuate', evacuate, see=False):
            server.host = model.other(server.host)
            self._see('evacuate')

    @rules.rule(rules.servers())
    def shelve(self, server: model.Server) -> None:
        if self._operate(server, 'shelve', self.cloud._shelve_server,
                         model.SHELVED, see=False):
            server.host = None
            server.since = max([migration['id'] for migration
                                in self.cloud.migrations(
                                    {'id': server.uuid})], default=0)
            self._see('shelve')

    @rules.rule(rules.servers(rules.has_room_again))
    def unshelve(self, server: model.Server) -> None:
        self._renew()
        if self._operate(server, 'unshelve', self.cloud.unshelve,
                         model.ACTIVE, see=False):
            server.host = self.cloud.host(server)
            self._see('unshelve')

    # -- what happens ---------------------------------------------------------

    @rules.rule(lambda life: model.HOSTS)
    def restart(self, host: str) -> None:
        self._restart(host)
        self._see('restart of nova-compute')

    @rules.rule(rules.hosts_with_vfs_to_lose)
    def lose_vf(self, host: str) -> None:
        self.cloud.lose_free_vf(host)
        self.model.lose_vf(host)
        self._see('a free VF goes')

    @rules.rule(rules.servers())
    def agent_fails(self, server: model.Server) -> None:
        mood = self.chance.choice(cloud.MOODS)
        self._set_mood(server, mood)
        self._see(f'agent {mood.value}')

    @rules.rule(rules.servers(rules.is_unwell))
    def agent_works(self, server: model.Server) -> None:
        self._set_mood(server, paper_agent.Mood.GOOD)
        self._let_recover()
        self._see('agent good')

    def _let_recover(self) -> None:
        left = self.cloud.left_away(self.model.mendable())
        if left:
            raise Violated('\n'.join(left))

    def _set_mood(self, server: model.Server,
                  mood: paper_agent.Mood) -> None:
        self.cloud.set_mood(server, mood)
        server.well = mood is paper_agent.Mood.GOOD

    # -- how it is done -------------------------------------------------------

    def _restart(self, host: str) -> None:
        self.cloud.restart_host(host)
        self.model.stale.discard(host)

    def _renew(self) -> None:
        """Have Nova hear of lost VFs, so that it gives them to no new guest.

        It looks for them when it starts, and never again
        (nova/compute/resource_tracker.py, ``_setup_pci_tracker``). Those that
        it has for a live migration are this plugin's to replace.
        """
        for host in sorted(self.model.stale):
            self._restart(host)

    def _operate(self, server: model.Server, step: str, act: cloud.Act,
                 status: str | None = None, see: bool = True) -> bool:
        """Do something to a server, if Nova does in its state.

        :param status: what the server is afterwards, unless what it was
        :returns: whether it was done
        """
        if not server.may(step):
            self._refuse(server, step, act)
            return False
        self.cloud.act(server, act)
        server.status = status or server.status
        if see:
            self._see(step)
        return True

    def _refuse(self, server: model.Server, step: str,
                act: cloud.Act) -> None:
        try:
            self.cloud.act(server, act)
        except cloud.Refused:
            self._see(f'{step}: refused')
        else:
            raise Violated(f'{step} of {server} was not refused')

    def _see(self, step: str) -> None:
        """A while after a step, see that all is as it must be."""
        self.cloud.look()
        self.cloud.look(audit=False)
        wrong = self.cloud.wrong(self.model.servers)
        if wrong:
            raise Violated('\n'.join([f'after "{step}":', *wrong]))
        self.told(step)
