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

"""The service: waits for intents on a socket and for NICs from the kernel."""

import errno
import json
import logging
import os
import select
import socket
import socketserver
import threading
import time
import typing

from nova_vf_failover.guest import advertised
from nova_vf_failover.guest import inspection
from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import metadata
from nova_vf_failover.guest import mover
from nova_vf_failover.guest import nameservers
from nova_vf_failover.guest import netlink
from nova_vf_failover.guest import overlap
from nova_vf_failover.guest import snapshot
from nova_vf_failover.guest import standing
from nova_vf_failover.guest import udev
from nova_vf_failover.guest import version
from nova_vf_failover.guest import voice

LOG = logging.getLogger(__name__)

# Seconds for which a command may ask to be kept waiting.
LONGEST_WAIT = 600.0
_LONGEST_MESSAGE = 64 * 1024


class Superseded(Exception):
    """A newer intent has come while the NICs of this one were awaited."""


class Service:
    """One guest's agent.

    :param folder: where the snapshot is kept
    :param standby_drivers: the drivers that standby NICs have
    """

    def __init__(
            self, folder: str, standby_drivers: typing.FrozenSet[str]) -> None:
        kernel = netlink.Netlink()
        self._kept = snapshot.Snapshot(folder)
        self._nics = links.Links(kernel, standby_drivers)
        self._mover = mover.Mover(kernel, self._nics, self._kept)
        # Guards all of the above; it is notified of every change, those of
        # the links included.
        self._changed = threading.Condition()
        self._nameservers = nameservers.Nameservers(
            self._nics, self._kept, self._changed)
        self._watching = threading.Event()
        self._intent: typing.Optional[intents.Intent] = self._kept.intent
        self._report = intents.Report(self._intent)
        self._pending = False
        self._channels = ['commands']
        # Of this one, whatever takes the place of its file.
        self._version = version.version()
        self._voice = voice.Voice(
            self._changed, self._nics, lambda: self._report,
            self._mover.addresses)
        if self._kept.restarted:
            self._mover.start_anew()
        else:
            self._mover.rejoin()
        if (self._intent and self._intent.use == intents.PRIMARY
                and self._kept.away | self._kept.alone):
            # It was killed, or the guest reset, while it waited for the VF.
            self._arm(self._intent)

    def watch_metadata(self, url: str, interval: float) -> None:
        """Take intents that come through Nova's metadata service as well."""
        self._channels.append(url)
        watch = metadata.Watch(url, interval, self._hear)
        for work in (self._voice.run, watch.run):
            threading.Thread(target=_vital, args=(work,), daemon=True).start()

    def run(self, path: str) -> None:
        """Serve until the process ends.

        :param path: of the unix socket
        """
        threading.Thread(target=_vital, args=(self._watch,),
                         daemon=True).start()
        self._watching.wait()
        with self._changed:
            self._mover.await_names()
            if not self._pending:
                # Whoever waits for the agent finds no MAC twice.
                self._mover.tidy()
        for work in (self._work, self._follow, self._nameservers.run):
            threading.Thread(target=_vital, args=(work,),
                             daemon=True).start()
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        service = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                answer = service.answer(
                    self.rfile.readline(intents.LONGEST_INTENT * 2))
                self.wfile.write(json.dumps(answer).encode() + b'\n')

        class Server(socketserver.ThreadingMixIn,
                     socketserver.UnixStreamServer):
            daemon_threads = True

        with Server(path, Handler) as server:
            os.chmod(path, 0o600)
            LOG.info('Ready on %s', path)
            _notify_ready()
            server.serve_forever()

    # -- what the commands ask ----------------------------------------------

    def answer(self, line: bytes) -> intents.Document:
        """Answer one request of a command."""
        try:
            request = json.loads(line.decode())
            command = request['command']
            if command == 'status':
                return self._status()
            if command == 'check' and request.get('all') is True:
                return self._check_all()
            intent = intents.parse(request['intent'])
            if command == 'check':
                return self._check(intent)
            if command == 'apply':
                return self._apply(intent, _seconds(request.get('wait')))
            raise ValueError('"command" is %r' % (command,))
        except intents.BadIntent as error:
            return intents.Report(
                state=intents.REFUSED, message=str(error)).to_document()
        except (ValueError, KeyError, TypeError, OverflowError,
                RecursionError) as error:
            return intents.Report(
                state=intents.REFUSED,
                message='No request: %r' % error).to_document()

    def _status(self) -> intents.Document:
        with self._changed:
            return dict(
                self._report.to_document(), agent=self._version,
                channels=list(self._channels),
                places=standing.of(self._kept, self._nics, self._report))

    def _check(self, intent: intents.Intent) -> intents.Document:
        with self._changed:
            return self._inspected(intents.Report(intent), intent.ports)

    def _check_all(self) -> intents.Document:
        with self._changed:
            ports = self._mover.inspection.candidates()
            if not ports:
                return intents.Report(
                    state=intents.REFUSED,
                    message='There is no NIC that could be a primary.',
                ).to_document()
            return self._inspected(intents.Report(), ports)

    def _inspected(self, report: intents.Report,
                   ports: typing.List[intents.Port]) -> intents.Document:
        found = self._mover.inspection.describe(ports)
        try:
            self._kept.try_to_write()
        except snapshot.Unwritable as error:
            for port in found:
                port['obstacles'].append(
                    'An intent could not be kept: %s' % error)
        report.describe(found)
        message = inspection.in_one([
            sentence for port in found for sentence in port['obstacles']])
        report.end(intents.REFUSED if message else intents.READY, message)
        return report.to_document()

    def _apply(
            self, intent: intents.Intent, wait: float) -> intents.Document:
        with self._changed:
            if not intent.same_as(self._intent):
                try:
                    self._take(intent)
                except intents.Refused as refusal:
                    report = intents.Report(intent)
                    report.end(intents.REFUSED, str(refusal))
                    if isinstance(refusal, intents.Stale):
                        report.taken = refusal.taken
                    return report.to_document()
            if wait:
                self._changed.wait_for(
                    lambda: self._report.finished is not None
                    or not intent.same_as(self._intent),
                    wait)
            return self._report.to_document()

    def _hear(self, intent: intents.Intent) -> None:
        with self._changed:
            self._apply(intent, 0.0)
            if intent.same_as(self._intent):
                self._voice.follow(intent)

    def _take(self, intent: intents.Intent) -> None:
        """:raises intents.Refused: the one before it is in force
        """
        if self._intent and intent.generation <= self._intent.generation:
            raise intents.Stale(self._intent.generation)
        try:
            self._kept.take(intent)
        except snapshot.Unwritable as error:
            LOG.error('Generation %d is not taken: %s', intent.generation,
                      error)
            raise intents.Refused(
                'The intent cannot be kept, and nothing was changed: %s'
                % error)
        self._voice.fall_silent()
        self._intent = intent
        if intent.use == intents.PRIMARY:
            self._arm(intent)
        else:
            self._report = intents.Report(intent, intents.WORKING)
            self._pending = True
        self._changed.notify_all()

    def _arm(self, intent: intents.Intent) -> None:
        self._report = intents.Report(intent, intents.ARMED)
        self._pending = True

    # -- what is done about it ------------------------------------------------

    def _watch(self) -> None:
        """Tell the worker of every change of a link, and of routers."""
        with netlink.Netlink(links.CHANGES | advertised.HEARD) as changes:
            waited = [changes.socket]
            named = udev.monitor()
            if named:
                waited.append(named)
            self._watching.set()
            while True:
                for sock in select.select(waited, [], [])[0]:
                    _drain(sock)
                with self._changed:
                    self._changed.notify_all()

    def _follow(self) -> None:
        """Tell the worker of changes of what was copied."""
        copies = self._mover.upkeep
        while True:
            copies.wait()
            with self._changed:
                copies.want()
                self._changed.notify_all()
                # Until they are made anew, more of it is nothing new.
                self._changed.wait_for(lambda: not copies.wanted)

    def _work(self) -> None:
        with self._changed:
            while True:
                intent = self._intent
                if self._pending and intent:
                    self._carry_out(intent)
                else:
                    self._mover.tidy()
                wanted = self._mover.upkeep.wanted
                left = self._mover.upkeep.look()
                if wanted and not self._mover.upkeep.wanted:
                    self._changed.notify_all()
                if self._intent is intent:
                    self._changed.wait(left)

    def _carry_out(self, intent: intents.Intent) -> None:
        if intent.use == intents.PRIMARY and not all(
                self._nics.primary(port.mac) for port in intent.ports):
            return
        self._pending = False
        report = self._report
        report.begin()
        arrived = self._waiting(intent)
        try:
            macs = [port.mac for port in intent.ports]
            if intent.use == intents.STANDBY:
                with self._nameservers.followed(macs):
                    self._mover.fail_over(intent, report, arrived)
            else:
                self._mover.fail_back(intent, report, arrived)
                self._nameservers.take_back(macs)
            report.end(intents.DONE)
        except Superseded:
            report.end(intents.FAILED, 'A newer intent has come.')
        except intents.Refused as refusal:
            report.end(intents.REFUSED, str(refusal))
        except overlap.Failed as failure:
            report.end(intents.FAILED, str(failure))
        except Exception as error:
            # Whatever it was, the service goes on, for the next intent may
            # work. Nobody knows how far this one came, and nobody must be
            # told that the guest has stayed where it was.
            LOG.exception('The intent has failed')
            report.end(intents.NONE, '%s: %s' % (
                type(error).__name__, error))
        LOG.info('Generation %d to %s: %s %s', intent.generation, intent.use,
                 report.state, report.message)
        self._changed.notify_all()

    def _waiting(self, intent: intents.Intent) -> intents.Arrived:
        """Makes what waits for a condition of the NICs, event by event.

        While it waits, commands are answered.
        """
        end = time.monotonic() + intent.timeout

        def arrived(condition: typing.Callable[[], bool],
                    limit: typing.Optional[float] = None,
                    look_again: float = intents.LONGEST_TIMEOUT) -> bool:
            until = end if limit is None else min(
                end, time.monotonic() + limit)
            while not condition():
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, look_again))
                if self._intent is not intent:
                    raise Superseded()
            return True

        return arrived


def _seconds(wait: typing.Any) -> float:
    """How long a command is to be kept waiting.

    :raises ValueError: it is no time
    """
    seconds = float(wait or 0)
    if not seconds >= 0:
        raise ValueError('"wait" is %r' % wait)
    return min(seconds, LONGEST_WAIT)


def _drain(sock: socket.socket) -> None:
    """Read what a socket has; that it has something is all that counts."""
    try:
        sock.recv(_LONGEST_MESSAGE)
    except OSError as error:
        # There were more changes than the socket could hold.
        if error.errno != errno.ENOBUFS:
            raise


def _vital(work: typing.Callable[[], None]) -> None:
    """End the process with a thread that it cannot do without.

    Whoever has started it starts it again, and it goes on from its snapshot.
    """
    try:
        work()
    except Exception:
        try:
            LOG.critical('The agent cannot go on', exc_info=True)
        finally:
            # Also when nobody can be told.
            os._exit(1)


def _notify_ready() -> None:
    """Tell systemd that commands are answered from now on, sd_notify(3)."""
    path = os.environ.get('NOTIFY_SOCKET')
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        # A leading @ stands for the zero byte of an abstract name.
        sock.sendto(b'READY=1', path.replace('@', '\0', 1)
                    if path.startswith('@') else path)
