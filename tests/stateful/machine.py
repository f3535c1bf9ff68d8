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
import functools
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

# Of the servers that there are, or of those that a rule is for.
_any = strategies.integers(0, 5)
_vlans = strategies.sampled_from(['42', '43', None])

#: told the name of each step that was done
Told = Callable[[str], None]


#: whether a rule is for a server
Fits = Callable[['Life', model.Server], bool]


class Violated(AssertionError):
    """Something is not as it must be."""


def _rule(fits: Fits = lambda life, server: True,
          **drawn: strategies.SearchStrategy[typing.Any]) -> typing.Any:
    """A rule for a server, which is drawn only if there is one that fits.

    So each step of a sequence is one, and none is spent on nothing.
    """
    def decorated(rule: Callable[..., None]) -> typing.Any:
        @stateful.precondition(lambda life: bool(life.those(fits)))
        @stateful.rule(number=_any, **drawn)
        @functools.wraps(rule)
        def for_one(life: 'Life', number: int, **its: typing.Any) -> None:
            there = life.those(fits)
            rule(life, there[number % len(there)], **its)

        return for_one

    return decorated


# -- which servers a rule is for ----------------------------------------------

def _may(act: str) -> Fits:
    return lambda life, server: server.may(act)


def _has_room_elsewhere(life: 'Life', server: model.Server) -> bool:
    return server.host is None or life.model.free(
        model.other(server.host)) >= len(server.ports)


def _has_room_again(life: 'Life', server: model.Server) -> bool:
    return bool(life.model.roomy(len(server.ports)))


def _takes_a_port(life: 'Life', server: model.Server) -> bool:
    return len(server.ports) < MOST_PORTS and (
        server.host is None or life.model.free(server.host) > 0)


def _spares_a_port(life: 'Life', server: model.Server) -> bool:
    return len(server.ports) > 1


def _has_vfs_to_lose_elsewhere(life: 'Life', server: model.Server) -> bool:
    return server.host is not None and life.model.vfs[
        model.other(server.host)] > FEWEST_VFS


def _runs(life: 'Life', server: model.Server) -> bool:
    return server.status == model.ACTIVE


def _is_unwell(life: 'Life', server: model.Server) -> bool:
    return not server.well


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
        self.model.servers) < MOST_SERVERS and self.model.roomy(1))
    @stateful.rule(vlans=strategies.lists(
        _vlans, min_size=1, max_size=MOST_PORTS))
    def boot(self, vlans: list[str | None]) -> None:
        self._boot(vlans)

    def _boot(self, vlans: list[str | None]) -> None:
        """Boot a server with these ports, or those there are VFs for."""
        host = max(model.HOSTS, key=self.model.free)
        self._renew()
        self.model.servers.append(self.cloud.create(
            vlans[:self.model.free(host)], host))
        self._see('boot')

    @_rule()
    def delete(self, server: model.Server) -> None:
        self._delete(server)
        self._see('delete')

    def _delete(self, server: model.Server) -> None:
        self.cloud.act(server, self.cloud._delete_server)
        self.model.servers.remove(server)

    # -- live migrations ------------------------------------------------------

    @_rule()
    def live_migrate(self, server: model.Server) -> None:
        self._live_migrate(server, 'live migrate', lambda _: None)

    @_rule()
    def force_complete(self, server: model.Server) -> None:
        self._live_migrate(server, 'force complete', self.cloud.force)

    @_rule()
    def abort(self, server: model.Server) -> None:
        self._live_migrate(server, 'abort', self.cloud.cancel, stays=True)

    @_rule(_has_vfs_to_lose_elsewhere)
    def lose_claimed_vf(self, server: model.Server) -> None:
        goal = model.other(server.host)

        def lose(_: dict[str, typing.Any]) -> None:
            self.cloud.lose_claimed_vf(goal)
            self.model.lose_vf(goal)

        self._live_migrate(server, 'live migrate, a claimed VF goes', lose)

    @_rule(mood=strategies.sampled_from(cloud.MOODS))
    def lose_agent_meanwhile(self, server: model.Server,
                             mood: paper_agent.Mood) -> None:
        def lose(_: dict[str, typing.Any]) -> None:
            self._set_mood(server, mood)

        self._live_migrate(server, f'live migrate, agent {mood.value}', lose)

    @_rule(_may('live migrate'))
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

    @_rule(_runs)
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

    @_rule()
    def soft_reboot(self, server: model.Server) -> None:
        self._operate(server, 'soft reboot', self.cloud._reboot_server)

    @_rule()
    def hard_reboot(self, server: model.Server) -> None:
        self._operate(server, 'hard reboot', lambda it: (
            self.cloud._reboot_server(it, hard=True)), model.ACTIVE)

    @_rule()
    def pause(self, server: model.Server) -> None:
        self._operate(server, 'pause', self.cloud.pause, model.PAUSED)

    @_rule()
    def unpause(self, server: model.Server) -> None:
        if self._operate(server, 'unpause', self.cloud.unpause, model.ACTIVE,
                         see=False):
            # Its agent may work again, and nobody has looked since.
            self._let_recover()
            self._see('unpause')

    @_rule(_takes_a_port, vlan=_vlans)
    def attach(self, server: model.Server, vlan: str | None) -> None:
        self._renew()
        port = self.cloud.add_port(vlan)
        if self._operate(server, 'attach', lambda it: (
                self.cloud._attach_interface(it, port['id'])), see=False):
            server.ports.append(port)
            self._see('attach')

    @_rule(_spares_a_port)
    def detach(self, server: model.Server) -> None:
        port = server.ports[-1]
        if self._operate(server, 'detach', lambda it: (
                self.cloud._detach_interface(it, port['id'])), see=False):
            server.ports.remove(port)
            self._see('detach')

    @_rule(_has_room_elsewhere, confirm=strategies.booleans())
    def cold_migrate(self, server: model.Server, confirm: bool) -> None:
        self._renew()
        if self._operate(server, 'cold migrate', lambda it: (
                self.cloud.cold_migrate(it, confirm)), see=False):
            if confirm:
                server.host = model.other(server.host)
            self._see('cold migrate, ' + ('confirm' if confirm else 'revert'))

    @_rule(_has_room_elsewhere)
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

    @_rule()
    def shelve(self, server: model.Server) -> None:
        if self._operate(server, 'shelve', self.cloud._shelve_server,
                         model.SHELVED, see=False):
            server.host = None
            server.since = max([migration['id'] for migration
                                in self.cloud.migrations(
                                    {'id': server.uuid})], default=0)
            self._see('shelve')

    @_rule(_has_room_again)
    def unshelve(self, server: model.Server) -> None:
        self._renew()
        if self._operate(server, 'unshelve', self.cloud.unshelve,
                         model.ACTIVE, see=False):
            server.host = self.cloud.host(server)
            self._see('unshelve')

    # -- what happens ---------------------------------------------------------

    @stateful.rule(host=strategies.sampled_from(model.HOSTS))
    def restart(self, host: str) -> None:
        self._restart(host)
        self._see('restart of nova-compute')

    @stateful.precondition(lambda self: self._hosts_to_lose_vfs())
    @stateful.rule(number=_any)
    def lose_vf(self, number: int) -> None:
        hosts = self._hosts_to_lose_vfs()
        host = hosts[number % len(hosts)]
        self.cloud.lose_free_vf(host)
        self.model.lose_vf(host)
        self._see('a free VF goes')

    @_rule(mood=strategies.sampled_from(cloud.MOODS))
    def agent_fails(self, server: model.Server,
                    mood: paper_agent.Mood) -> None:
        self._set_mood(server, mood)
        self._see(f'agent {mood.value}')

    @_rule(_is_unwell)
    def agent_works(self, server: model.Server) -> None:
        self._set_mood(server, paper_agent.Mood.GOOD)
        self._let_recover()
        self._see('agent good')

    def _hosts_to_lose_vfs(self) -> list[str]:
        return [host for host in model.HOSTS if self.model.free(host) > 0
                and self.model.vfs[host] > FEWEST_VFS]

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

    def those(self, fits: Fits) -> list[model.Server]:
        """The servers that fit."""
        return [server for server in self.model.servers
                if fits(self, server)]

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
