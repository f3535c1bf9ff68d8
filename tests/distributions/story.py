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

"""Moves of one guest beside one network manager, told step by step."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import os
import time

from nova_vf_failover.guest import bundle
from tests.distributions import guest as guests
from tests.distributions import pulse
from tests.distributions import segment
from tests.distributions import variants
from tests.lab import image as images
from tests.lab import machine
from tests.lab import seed as seeds

# Where the files of the agent go in a guest, and where they come from.
FILES = {
    'vf-failover-agent.service': 'etc/systemd/system',
    '70-vf-failover.rules': 'etc/udev/rules.d',
    '00-vf-failover.network': 'etc/systemd/network',
    '00-vf-failover.link': 'etc/systemd/network',
    '00-vf-failover.conf': 'etc/systemd/networkd.conf.d',
}
_SHIPPED = os.path.join(os.path.dirname(__file__), '..', '..', 'etc',
                        'vf-failover-agent')
_UNIT = 'vf-failover-agent.service'

# The steps in which nothing may be lost; in the others a manager or the whole
# guest is started anew.
LOSSLESS = frozenset([
    'standby attached', 'failover', 'on the standby', 'failback',
    'standby detached', 'failback of that'])

# In the order in which they are told, each with what it calls. From some of
# them on a story can be told right after the boot.
STEPS = {
    'boot': '_boot',
    'standby attached': '_attach',
    'failover': '_fail_over',
    'on the standby': '_stay_away',
    'failback': '_fail_back',
    'standby detached': '_detach',
    'afterwards': '_afterwards',
    'started anew on the standby': '_start_on_standby',
    'failback of that': '_fail_back_anew',
    'started anew with both': '_start_with_both',
}
FIRST = ('standby attached', 'started anew on the standby',
         'started anew with both')

# Seconds; emulated guests are slow, above all where a machine has other work.
_BOOT = 900.0
_REST = 3.0
# Less than a program may run.
_SETTLE = 110.0


@dataclasses.dataclass
class Step:
    """What happened in one step; the losses are those of echoes.

    :ivar problem: empty if all was as it should be
    :ivar log: the guest's, if it was not
    """

    name: str
    seconds: float = 0.0
    lost_v4: int = 0
    lost_v6: int = 0
    problem: str = ''
    log: str = ''


class Wrong(AssertionError):
    """Something in the guest is not as it should be."""


class Story:
    """A guest from its first boot to its last.

    :param tell: is given each step when it is over
    :param first: the step that comes after the boot, one of FIRST
    :param last: the last step
    """

    def __init__(self, image: images.Image, variant: variants.Variant,
                 program: str, tell: Callable[[Step], None],
                 first: str = FIRST[0], last: str = list(STEPS)[-1]) -> None:
        names = list(STEPS)
        self._names = ['boot', *names[names.index(first):
                                      names.index(last) + 1]]
        self._image = image
        self._variant = variant
        self._program = program
        self._tell = tell
        self._pulses: dict[int, pulse.Pulse] = {}
        self._before: guests.Configuration = {}
        # Of the VF; another one than the manager's, where a guest comes back
        # from a standby that it was started anew on and has an old kernel.
        self._name = variant.name
        # What need not be the same any more, of addresses and routes.
        self._different: set[str] = set()
        self.steps: list[Step] = []
        # Until when the echoes are counted.
        self._counted = time.monotonic()

    def run(self) -> list[Step]:
        """Tell it, up to the first step that goes wrong."""
        with contextlib.ExitStack() as stack:
            self._net = stack.enter_context(
                segment.Segment(self._variant.leased))
            self._guest = stack.enter_context(self._booting())
            stack.callback(self._stop_pulses)
            for name in self._names:
                if not self._step(name, getattr(self, STEPS[name])):
                    break
        return self.steps

    # -- the steps ----------------------------------------------------------

    def _boot(self) -> None:
        self._await_network(segment.V4)
        name = self._variant.name
        self._guest.await_true(
            f'{name} has an address of IPv6',
            lambda: self._guest.global_v6(name) is not None)
        self._pulses[6] = pulse.Pulse(self._net.peer,
                                      self._guest.global_v6(name) or '')
        self._pulses[6].await_answer(_BOOT)
        self._check_others()
        self._before = self._guest.configuration(name)

    def _attach(self) -> None:
        self._guest.machine.attach('standby', variants.STANDBY_PORT)
        self._check_standby()
        self._check_primary()

    def _fail_over(self) -> None:
        self._guest.done(self._guest.intent('standby'))
        self._guest.machine.detach('vf')
        time.sleep(_REST)
        self._await_resolver()

    def _stay_away(self) -> None:
        self._guest.provoke(away=True)
        time.sleep(_REST)
        pid = self._guest.agent_pid()
        self._guest.output('kill', '-KILL', str(pid))
        self._guest.await_true(
            'The agent runs again',
            lambda: self._guest.agent_pid() not in (0, pid)
            and self._guest.agent_is_ready())
        self._expect('no', self._guest.managed(self._guest.standby or ''),
                     'the standby is managed')
        self._await_resolver()

    def _fail_back(self) -> None:
        intent = self._guest.intent('primary')
        armed = self._guest.apply(intent)
        self._expect('armed', armed['state'], 'the state of the agent')
        self._guest.machine.attach('vf', variants.RETURN_PORT)
        self._guest.done(intent)
        self._check_primary()

    def _detach(self) -> None:
        self._guest.machine.detach('standby')
        time.sleep(_REST)
        self._check_primary()

    def _afterwards(self) -> None:
        self._guest.provoke(away=False)
        self._await_network(segment.V4)
        self._check_primary()
        self._check_others()
        self._await_renewal()

    def _start_on_standby(self) -> None:
        self._attach()
        self._fail_over()
        self._restart()
        standby = self._guest.standby or ''
        self._expect(self._variant.name, standby, 'the name of the standby')
        self._await_managed(standby)
        self._check_others()
        # Metrics are others, see below.
        self._before = self._guest.configuration(standby)

    def _fail_back_anew(self) -> None:
        intent = self._guest.intent('primary')
        self._guest.apply(intent)
        self._guest.machine.attach('vf', variants.PRIMARY_PORT)
        self._guest.done(intent)
        if not (self._guest.renames_in_use and self._variant.renamed_in_use):
            self._name = self._guest.primary or ''
        if self._variant.manager == 'networkmanager':
            # The agent's own default route of IPv6 stays beside that of a
            # profile with addresses, and comes first.
            self._different = {'metric'}
        standby = self._guest.standby or ''
        self._guest.await_true(
            'The standby is not managed',
            lambda: self._guest.managed(standby) == 'no')
        self._guest.machine.detach('standby')
        time.sleep(_REST)
        self._check_primary()
        self._await_renewal()

    def _start_with_both(self) -> None:
        self._guest.machine.attach('standby', variants.STANDBY_PORT)
        self._guest.done(self._guest.intent('standby'))
        self._restart()
        self._name = self._variant.name
        # NetworkManager numbers the metrics of NICs in the order in which it
        # finds them at each start.
        self._different = {'metric'}
        self._check_standby()
        self._check_primary()
        self._check_others()
        self._guest.machine.detach('standby')
        time.sleep(_REST)
        self._await_network(segment.V4)
        self._check_primary()

    # -- what they are made of ------------------------------------------------

    @contextlib.contextmanager
    def _booting(self) -> Iterator[guests.Guest]:
        seed = seeds.Seed()
        self._variant.add_to(seed)
        add_agent(seed, self._program)
        net = self._net
        virtual = machine.Machine(
            self._image, seed,
            [machine.Nic('vf', net.vf, 'e1000e', segment.MAC),
             machine.Nic('standby', net.standby, 'virtio-net-pci',
                         segment.MAC),
             machine.Nic('other', net.other, 'virtio-net-pci',
                         segment.OTHER_MAC)],
            {'vf': variants.PRIMARY_PORT, 'other': variants.OTHER_PORT},
            self._variant.words)
        try:
            yield guests.Guest(virtual, self._variant)
        finally:
            virtual.close()

    def _step(self, name: str, act: Callable[[], None]) -> bool:
        step = Step(name)
        start = time.monotonic()
        try:
            act()
        except (AssertionError, TimeoutError, OSError,
                machine.conversation.Refusal) as error:
            step.problem = f'{error}'
        end = time.monotonic()
        step.seconds = end - start
        # What was sent last may still be answered. What is sent meanwhile
        # belongs to the next step.
        time.sleep(pulse.PATIENCE)
        since, self._counted = self._counted, end
        for version, its in self._pulses.items():
            lost = its.lost(since, end)
            setattr(step, f'lost_v{version}', lost)
            if name in LOSSLESS and lost and not step.problem:
                step.problem = f'{lost} echoes of IPv{version} lost'
        if step.problem:
            step.log = self._log()
        self.steps.append(step)
        self._tell(step)
        return not step.problem

    def _await_network(self, address: str) -> None:
        self._guest.machine.await_guest(_BOOT)
        if 4 not in self._pulses:
            self._pulses[4] = pulse.Pulse(self._net.peer, address)
        for its in self._pulses.values():
            its.await_answer(_BOOT)

    def _restart(self) -> None:
        """As a crash would, and not as a person would."""
        self._guest.machine.reset()
        self._await_network(segment.V4)
        refusal = self._guest.cloud_init_refusal()
        if refusal:
            raise Wrong(f'cloud-init refuses: {refusal}')

    def _check_standby(self) -> None:
        guest = self._guest
        guest.await_true('The standby is found',
                         lambda: guest.standby is not None)
        # It may be about to get another name.
        guest.output('udevadm', 'settle', f'--timeout={_SETTLE:.0f}')
        guest.await_true(
            'The standby is parked', lambda: all(
                link['address'] != segment.MAC
                for link in guest.links() if link['ifname'] == guest.standby))
        # Time for a manager to do what it ought not to do.
        time.sleep(_REST)
        name = guest.standby or ''
        self._expect('no', guest.managed(name), 'the standby is managed')
        self._expect([], guest.addresses(name), 'addresses of the standby')

    def _check_primary(self) -> None:
        name = self._name
        self._expect(name, self._guest.primary, 'the name of the VF')
        if self._known:
            self._await_managed(name)
        after = self._guest.configuration(name)
        different = self._different | (
            # Addresses that nobody renews have no end.
            set() if self._known else {'dynamic'})
        after = guests.without(after, different)
        for what, before in guests.without(self._before, different).items():
            self._expect(before, after[what], what)

    def _await_resolver(self) -> None:
        """The DNS servers of the VF are known on its standby."""
        wanted = self._before['DNS']
        found = [wanted]

        def known() -> bool:
            found[0] = self._guest.resolver()
            return found[0] == wanted

        try:
            self._guest.await_true('DNS servers', known)
        except AssertionError as error:
            raise Wrong(f'{error}: expected {wanted}, found {found[0]}'
                        ) from error

    def _await_managed(self, name: str) -> None:
        seen = ['']

        def managed() -> bool:
            seen[0] = self._guest.managed(name)
            return seen[0] == 'yes'

        try:
            self._guest.await_true(f'{name} is managed', managed)
        except AssertionError as error:
            raise Wrong(f'{error}, but {seen[0]}') from error

    @property
    def _known(self) -> bool:
        """Whether the manager knows the VF as its own."""
        return self._variant.by_mac or self._name == self._variant.name

    def _await_renewal(self) -> None:
        """The lease on the VF is renewed, if it has one."""
        if not (self._variant.leased and self._known):
            return
        name = self._name
        least = self._guest.life(name)

        def renewed() -> bool:
            nonlocal least
            life = self._guest.life(name)
            grown, least = life > least, min(life, least)
            return grown

        self._guest.await_true('The lease is renewed', renewed,
                               segment.LEASE)

    def _check_others(self) -> None:
        """The guest's other NIC is virtio too, and none of ours."""
        other = self._guest.other or ''
        self._await_managed(other)
        its = pulse.Pulse(self._net.peer, segment.OTHER_V4)
        try:
            its.await_answer(_BOOT)
        finally:
            its.stop()

    @staticmethod
    def _expect(wanted: object, found: object, what: str) -> None:
        if wanted != found:
            raise Wrong(f'{what}: expected {wanted}, found {found}')

    def _log(self) -> str:
        """The end of what the guest has noted."""
        # The guest may be in no state to say anything.
        with contextlib.suppress(OSError, machine.conversation.Refusal):
            return self._guest.machine.guest.run(
                'sh', '-c', 'ip address; ip rule; journalctl -b -o '
                'short-monotonic --no-pager | grep -v -e qemu-ga -e kernel: '
                '| tail -150').output
        return self._guest.machine.said()

    def _stop_pulses(self) -> None:
        for its in self._pulses.values():
            its.stop()


def add_agent(seed: seeds.Seed, program: str) -> None:
    """Install the agent as the documentation says."""
    with open(program, 'rb') as file:
        seed.add(guests.AGENT, file.read(), 0o755)
    for name, folder in FILES.items():
        with open(os.path.join(_SHIPPED, name), 'rb') as file:
            seed.add(f'{folder}/{name}', file.read())
    seed.link(f'etc/systemd/system/multi-user.target.wants/{_UNIT}',
              f'/etc/systemd/system/{_UNIT}')


def write_program(folder: str) -> str:
    """The agent as one file."""
    path = os.path.join(folder, 'vf-failover-agent')
    bundle.write(path)
    return path
