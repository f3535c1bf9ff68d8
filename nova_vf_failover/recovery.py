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

"""What a crash or a failed failback has left is finished, or undone.

Every server of this host is looked at when nova-compute has started and in
each period from then on. Where the journal has an entry and nobody works upon
the server, its ports are brought back from wherever they stand, by the same
steps as after a migration. Nothing that this needs is only in memory.
"""

from __future__ import annotations

import dataclasses
import random
import threading
import time

from nova import context as nova_context
from nova import exception as nova_exception
from oslo_config import cfg
from oslo_log import log as logging

from nova_vf_failover import arrivals
from nova_vf_failover import attempt
from nova_vf_failover import domain
from nova_vf_failover import exception
from nova_vf_failover import journal
from nova_vf_failover import newcomers
from nova_vf_failover import ports
from nova_vf_failover import workbench

LOG = logging.getLogger(__name__)
CONF = cfg.CONF

# Servers that are worked upon at the same time. One whose guest is silent
# takes minutes, and must not keep the others waiting.
AT_ONCE = 4

# Seconds that the end of nova-compute waits for attempts to come to their
# next step; they are gone on with when it starts again.
_FAREWELL = 10.0


def _period() -> float:
    """Seconds from a look to the next one.

    Hosts that had to wait for the same database, or were started together,
    are not to ask it together ever after. Attempts are made at looks.
    """
    spread = random.uniform(0.9, 1.1)  # nosec B311: guessing it is no use
    interval: int = CONF.vf_failover.recovery_interval
    return interval * spread


@dataclasses.dataclass(frozen=True)
class Findings:
    """What a domain says about its server.

    :ivar requested: whether an operator asks for an attempt
    :ivar kept: whether the guest has kept a VF that it was asked for
    :ivar lost: the ports whose guest has let such a VF go
    """

    requested: bool
    entries: tuple[journal.Entry, ...]
    kept: bool = False
    lost: tuple[str, ...] = ()

    def due(self, now: float) -> bool:
        """Whether it is time for an attempt."""
        return self.requested or bool(self.lost) or any(
            not attempt.exhausted(entry.attempts) and entry.next_attempt <= now
            for entry in self.entries)


class Recovery:
    """Looks at the servers of one compute service, again and again.

    :param bench: what moving the ports of its servers needs
    """

    def __init__(self, bench: workbench.Workbench) -> None:
        self._bench = bench
        self._begun = False
        self._stopped = False
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._places = threading.Semaphore(AT_ONCE)
        # By server, what is set when its attempt is over. A join of its thread
        # with a time-out raises a BaseException where that is a green one of
        # Python 3.13 (eventlet/green/thread.py, _ThreadHandle.join).
        self._attempts: dict[str, threading.Event] = {}
        # By server, what has been said of one that nobody can help. It is said
        # once, and not at each look.
        self._complaints: dict[str, str] = {}
        # Servers of which the last look has found that nobody goes on with
        # their migration.
        self._abandoned: set[str] = set()
        # Servers whose guest had kept a VF at the last look, or since.
        self._keeping: set[str] = set()
        # Those of them that are watched since before the look that goes on.
        self._known: set[str] = set()
        # Whether the next look is only for these.
        self._hinted = False

    # -- the periods ---------------------------------------------------------

    def start(self) -> None:
        """Look from now on, without keeping the caller waiting.

        A thread of Python's own, which is a green one where nova-compute runs
        on eventlet. Nova's periodic tasks share one thread, and its executors
        have few.
        """
        if CONF.vf_failover.recovery_interval:
            self._thread = threading.Thread(
                target=self._run, name='vf-failover-recovery', daemon=True)
            self._thread.start()

    def begin(self) -> None:
        """Nova's PCI tracker is known: time for the first look."""
        if not self._begun:
            self._begun = True
            self._wake.set()

    def device_removed(self, server: str) -> None:
        """A guest has let a device go: its network may be what it was."""
        if server in self._keeping:
            self._hint()

    def watch(self, server: str) -> None:
        """A guest may have kept a VF since the last look."""
        self._known.discard(server)
        self._keeping.add(server)

    def _hint(self) -> None:
        self._hinted = True
        self._wake.set()

    def stop(self) -> None:
        """Have everything end at its next step; the journal says where."""
        self._stopped = True
        self._wake.set()
        self._bench.operations.close()
        self.settle(_FAREWELL)

    def _run(self) -> None:
        while True:
            self._wake.wait(_period())
            self._wake.clear()
            if self._stopped:
                return
            if not self._bench.claims.known():
                continue
            try:
                self.look()
            except Exception:
                # libvirt or the database may be away; so is the work.
                LOG.exception('The servers of this host cannot be looked at; '
                              'the next look is in about %d s',
                              CONF.vf_failover.recovery_interval)

    # -- one look ------------------------------------------------------------

    def look(self) -> None:
        """Begin an attempt for every server that is due for one."""
        now = time.time()
        unfinished, keeping = set(), set()
        known = self._known = set(self._keeping)
        hinted, self._hinted = self._hinted, False
        guests = self._bench.guests()
        # One that is seen without a task twice has to be so for a period.
        abandoned = set() if hinted else self._find_abandoned(
            {guest.uuid for guest in guests})
        for guest in guests:
            its = self._bench.domain_of(guest)
            found = self._read(its)
            if found is None or found.entries:
                unfinished.add(guest.uuid)
            if found and found.kept:
                keeping.add(guest.uuid)
            if not found or guest.uuid in self._attempts:
                continue
            if found.due(self._nearest(now)) or guest.uuid in abandoned:
                self._begin_attempt(guest.uuid, guest.uuid in abandoned)
            else:
                # A guest that was started anew on a standby, by a soft reboot
                # or after a rescue, has a new device behind it.
                ports.tell_attached(self._bench.standby, its,
                                    [entry.mac for entry in found.entries])
        # With those that are watched since this look has begun.
        self._keeping = keeping | (self._keeping - known)
        self._bench.channel.sweep(self._bench.host, unfinished)

    def _find_abandoned(self, servers: set[str]) -> set[str]:
        """Those whose migration was abandoned at the last look as well."""
        try:
            now = self._bench.aftermath.abandoned(
                nova_context.get_admin_context(), servers)
        except Exception as error:
            # Of the conductor or of Placement. Ports can be brought back
            # without, and what was found is found again.
            LOG.warning('Whether live migrations were abandoned cannot be '
                        'found out for now: %s', error)
            return set()
        certain, self._abandoned = now & self._abandoned, now
        return certain

    def settle(self, timeout: float) -> None:
        """Wait until the attempts that have begun are over."""
        until = time.monotonic() + timeout
        for over in list(self._attempts.values()):
            over.wait(max(0.0, until - time.monotonic()))

    def _read(self, guest: domain.Domain) -> Findings | None:
        """What a domain says, or None if that cannot be understood."""
        try:
            content, asked = guest.read_metadata()
            return Findings(asked is not None,
                            tuple(content.entries.values()),
                            bool(content.kept),
                            tuple(guest.lost_ports(content)))
        except exception.JournalError as error:
            self._complain(guest.uuid, str(error))
        except Exception as error:
            # Most likely it has gone since the domains were listed.
            LOG.warning('The domain of server %(server)s cannot be read: '
                        '%(error)s', {'server': guest.uuid, 'error': error})
        return None

    @staticmethod
    def _nearest(now: float) -> float:
        """The times for which this look is nearer than the next one."""
        interval: int = CONF.vf_failover.recovery_interval
        return now + interval / 2

    def _complain(self, server: str, text: str, kind: str = '') -> None:
        """Say it unless it is what was said last.

        :param kind: what it is about, if the text differs each time
        """
        if self._complaints.get(server) != (kind or text):
            self._complaints[server] = kind or text
            LOG.error('Server %(server)s is left as it is: %(text)s',
                      {'server': server, 'text': text})

    def _begin_attempt(self, server: str, abandoned: bool) -> None:
        thread = threading.Thread(
            target=self._attempt, args=(server, abandoned), daemon=True,
            name=f'vf-failover-recovery-{server}')
        self._attempts[server] = threading.Event()
        try:
            thread.start()
        except RuntimeError as error:
            # The process has as many threads as it may have.
            self._attempts.pop(server).set()
            LOG.error('Server %(server)s cannot be brought back onto its '
                      'VFs for now: %(error)s',
                      {'server': server, 'error': error})

    def _attempt(self, server: str, abandoned: bool) -> None:
        tried = False
        try:
            with self._places:
                if not self._stopped:
                    attempt.Attempt(self._bench, server, abandoned).run()
                    tried = True
                    self._complaints.pop(server, None)
        except exception.Busy as busy:
            LOG.debug('Not now: %s', busy)
            # It may just be arriving, with a device that nobody knows yet.
            newcomers.tell(self._bench, server)
        except nova_exception.InstanceNotFound as error:
            self._complain(server, f'its domain has no server: {error}')
        except exception.LeftBehind as error:
            self._complain(server, str(error), error.kind)
        except Exception:
            # Of the database, of libvirt: this server's turn comes again.
            LOG.exception('Server %s cannot be brought back onto its VFs for '
                          'now', server)
        finally:
            over = self._attempts.pop(server)
            if tried and server in self._keeping:
                # Its guest may have let another VF go meanwhile.
                self._hint()
            over.set()

    # -- leftovers -----------------------------------------------------------

    def sweep(self) -> None:
        """Remove what standbys have left, unless a server is on its way."""
        if not self._bench.claims.known():
            return
        try:
            self._bench.standby.sweep(
                self._bench.devices, lambda: arrivals.expected(
                    nova_context.get_admin_context(), self._bench.host))
        except Exception:
            # Whatever netlink, privsep or the conductor raise: Nova's own
            # look must not fail for it, and the next one comes.
            LOG.exception('What standby NICs have left on this host '
                          'cannot be removed')
