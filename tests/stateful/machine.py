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
from hypothesis import strategies

from tests.simulation import paper_agent
from tests.stateful import model

MOST_SERVERS = 3
MOST_PORTS = 3
# So that there is always one for who is moved.
FEWEST_VFS = 6

_any = strategies.integers(0, MOST_SERVERS - 1)
_vlans = strategies.sampled_from(['42', '43', None])

#: told the name of each step that was done
Told = Callable[[str], None]


class Violated(AssertionError):
    """Something is not as it must be."""


class Life(stateful.RuleBasedStateMachine):
    """Servers that are booted, moved, shelved and deleted on two hosts."""

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

    @stateful.initialize(vlans=strategies.lists(
        _vlans, min_size=1, max_size=MOST_PORTS))
    def first(self, vlans: list[str | None]) -> None:
        self._boot(vlans)

    @stateful.precondition(lambda self: len(
        self.model.servers) < MOST_SERVERS)
    @stateful.rule(vlans=strategies.lists(
        _vlans, min_size=1, max_size=MOST_PORTS))
    def boot(self, vlans: list[str | None]) -> None:
        self._boot(vlans)

    def _boot(self, vlans: list[str | None]) -> None:
        hosts = self.model.roomy(len(vlans))
        if hosts:
            self._renew()
            self.model.servers.append(self.cloud.create(vlans, hosts[-1]))
            self._see('boot')

    @stateful.rule(number=_any)
    def delete(self, number: int) -> None:
        server = self._server(number)
        if server:
            self._delete(server)
            self._see('delete')

    def _delete(self, server: model.Server) -> None:
        self.cloud.act(server, self.cloud._delete_server)
        self.model.servers.remove(server)

    # -- live migrations ------------------------------------------------------

    @stateful.rule(number=_any)
    def live_migrate(self, number: int) -> None:
        self._live_migrate(number, 'live migrate', lambda _: None)

    @stateful.rule(number=_any)
    def force_complete(self, number: int) -> None:
        self._live_migrate(number, 'force complete', self.cloud.force)

    @stateful.rule(number=_any)
    def abort(self, number: int) -> None:
        self._live_migrate(number, 'abort', self.cloud.cancel, stays=True)

    @stateful.rule(number=_any)
    def lose_claimed_vf(self, number: int) -> None:
        server = self._server(number)
        if (server is None or server.host is None or self.model.vfs[
                model.other(server.host)] <= FEWEST_VFS):
            return
        goal = model.other(server.host)

        def lose(_: dict[str, typing.Any]) -> None:
            self.cloud.lose_claimed_vf(goal)
            self.model.lose_vf(goal)

        self._live_migrate(number, 'live migrate, a claimed VF goes', lose)

    @stateful.rule(number=_any, mood=strategies.sampled_from(cloud.MOODS))
    def lose_agent_meanwhile(self, number: int,
                             mood: paper_agent.Mood) -> None:
        server = self._server(number)

        def lose(_: dict[str, typing.Any]) -> None:
            if server:
                self._set_mood(server, mood)

        self._live_migrate(number, f'live migrate, agent {mood.value}', lose)

    @stateful.rule(number=_any)
    def keep_vf(self, number: int) -> None:
        server = self._server(number)
        if server is None or not server.may('live migrate'):
            return
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

    @stateful.rule(number=_any)
    def guest_reboots(self, number: int) -> None:
        server = self._server(number)
        if server and server.status == model.ACTIVE:
            self.cloud.reset_guest(server)
            self._see('the guest reboots')

    def _may_leave(self, server: model.Server) -> bool:
        """Whether nothing speaks against a live migration."""
        return (server.well and server.status == model.ACTIVE
                and not self.cloud.degraded(server)
                and self.model.free(model.other(server.host)) >= len(
                    server.ports))

    def _live_migrate(self, number: int, step: str, meanwhile: cloud.Act,
                      stays: bool = False) -> None:
        server = self._server(number)
        if server is None:
            return
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

    @stateful.rule(number=_any)
    def soft_reboot(self, number: int) -> None:
        self._operate(number, 'soft reboot', self.cloud._reboot_server)

    @stateful.rule(number=_any)
    def hard_reboot(self, number: int) -> None:
        self._operate(number, 'hard reboot', lambda it: (
            self.cloud._reboot_server(it, hard=True)), model.ACTIVE)

    @stateful.rule(number=_any)
    def pause(self, number: int) -> None:
        self._operate(number, 'pause', self.cloud.pause, model.PAUSED)

    @stateful.rule(number=_any)
    def unpause(self, number: int) -> None:
        if self._operate(number, 'unpause', self.cloud.unpause, model.ACTIVE,
                         see=False):
            # Its agent may work again, and nobody has looked since.
            self._let_recover()
            self._see('unpause')

    @stateful.rule(number=_any, vlan=_vlans)
    def attach(self, number: int, vlan: str | None) -> None:
        server = self._server(number)
        if (server is None or len(server.ports) == MOST_PORTS
                or server.host and not self.model.free(server.host)):
            return
        self._renew()
        port = self.cloud.add_port(vlan)
        if self._operate(number, 'attach', lambda it: (
                self.cloud._attach_interface(it, port['id'])), see=False):
            server.ports.append(port)
            self._see('attach')

    @stateful.rule(number=_any)
    def detach(self, number: int) -> None:
        server = self._server(number)
        if server is None or len(server.ports) == 1:
            return
        port = server.ports[-1]
        if self._operate(number, 'detach', lambda it: (
                self.cloud._detach_interface(it, port['id'])), see=False):
            server.ports.remove(port)
            self._see('detach')

    @stateful.rule(number=_any, confirm=strategies.booleans())
    def cold_migrate(self, number: int, confirm: bool) -> None:
        server = self._server(number)
        if server is None or not self._room_elsewhere(server):
            return
        self._renew()
        if self._operate(number, 'cold migrate', lambda it: (
                self.cloud.cold_migrate(it, confirm)), see=False):
            if confirm:
                server.host = model.other(server.host)
            self._see('cold migrate, ' + ('confirm' if confirm else 'revert'))

    @stateful.rule(number=_any)
    def evacuate(self, number: int) -> None:
        server = self._server(number)
        if server is None or not self._room_elsewhere(server):
            return
        self._renew()
        host = server.host
        # Nobody's host is to die for an evacuation that Nova refuses.
        evacuate = (
            (lambda it: self.cloud.evacuate(it, host))
            if host and server.may('evacuate') else self.cloud.ask_evacuation)
        if self._operate(number, 'evacuate', evacuate, see=False):
            server.host = model.other(server.host)
            self._see('evacuate')

    @stateful.rule(number=_any)
    def shelve(self, number: int) -> None:
        server = self._server(number)
        if self._operate(number, 'shelve', self.cloud._shelve_server,
                         model.SHELVED, see=False) and server:
            server.host = None
            server.since = max([migration['id'] for migration
                                in self.cloud.migrations(
                                    {'id': server.uuid})], default=0)
            self._see('shelve')

    @stateful.rule(number=_any)
    def unshelve(self, number: int) -> None:
        server = self._server(number)
        if server is None or not self.model.roomy(len(server.ports)):
            return
        self._renew()
        if self._operate(number, 'unshelve', self.cloud.unshelve,
                         model.ACTIVE, see=False):
            server.host = self.cloud.host(server)
            self._see('unshelve')

    # -- what happens ---------------------------------------------------------

    @stateful.rule(host=strategies.sampled_from(model.HOSTS))
    def restart(self, host: str) -> None:
        self._restart(host)
        self._see('restart of nova-compute')

    @stateful.rule(host=strategies.sampled_from(model.HOSTS))
    def lose_vf(self, host: str) -> None:
        if self.model.vfs[host] > FEWEST_VFS and self.model.free(host):
            self.cloud.lose_free_vf(host)
            self.model.lose_vf(host)
            self._see('a free VF goes')

    @stateful.rule(number=_any, mood=strategies.sampled_from(cloud.MOODS))
    def agent_fails(self, number: int, mood: paper_agent.Mood) -> None:
        server = self._server(number)
        if server:
            self._set_mood(server, mood)
            self._see(f'agent {mood.value}')

    @stateful.rule(number=_any)
    def agent_works(self, number: int) -> None:
        server = self._server(number)
        if server is None or server.well:
            return
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

    def _server(self, number: int) -> model.Server | None:
        there = self.model.servers
        return there[number % len(there)] if there else None

    def _room_elsewhere(self, server: model.Server) -> bool:
        return server.host is None or self.model.free(
            model.other(server.host)) >= len(server.ports)

    def _operate(self, number: int, step: str, act: cloud.Act,
                 status: str | None = None, see: bool = True) -> bool:
        """Do something to a server, if Nova does in its state.

        :param status: what the server is afterwards, unless what it was
        :returns: whether it was done
        """
        server = self._server(number)
        if server is None:
            return False
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
        self.cloud.look()
        wrong = self.cloud.wrong(self.model.servers)
        if wrong:
            raise Violated('\n'.join([f'after "{step}":', *wrong]))
        self.told(step)
