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

"""The channel through Nova's metadata service: needs no QEMU guest agent.

There: the intent is written into the instance's metadata, see
:mod:`nova_vf_failover.channels.items`, where the agent finds it at one of its
regular looks. Back: the host hears the agent's report frames on the macvtaps
of the standbys, see :mod:`nova_vf_failover.channels.frames`. It listens
before it writes.

The items are there only while the host waits for the answer to them. What a
crash or a silent guest leaves is harmless, since its generation is old; it
goes with the next intent for this server, or is swept when nothing about the
server is unfinished any more: by the process that has written it, or when
nova-compute looks for the first time.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Container
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import typing

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from oslo_config import cfg
from oslo_log import log as logging
import oslo_messaging
from oslo_utils import timeutils

from nova_vf_failover.channels import base
from nova_vf_failover.channels import frames
from nova_vf_failover.channels import intent as intents
from nova_vf_failover.channels import items
from nova_vf_failover.channels import listener
from nova_vf_failover import domain
from nova_vf_failover import exception

LOG = logging.getLogger(__name__)
CONF = cfg.CONF

State = intents.ReportState

# Seconds between two looks at whether the items are still as written.
LOOK_INTERVAL = 5.0

_OVER = (State.DONE, State.REFUSED, State.FAILED, State.NONE)

# By MAC, what was heard last.
Heard = dict[str, frames.Report]


class MetadataChannel(base.Channel):
    """Writes metadata items and hears report frames.

    :param listen: begins to listen, see :class:`.listener.Listening`
    """

    cure = ('The image needs vf-failover-agent with --metadata, and the guest '
            'the metadata service.')

    def __init__(self, listen: Callable[
            [Mapping[str, str], int],
            listener.Listening] | None = None) -> None:
        self._listen = listen or listener.Listening
        # Servers whose items may have to go; what another process has left
        # nobody knows before all servers of the host were looked at once.
        self._written: set[str] = set()
        self._all_known = False

    def check(self, guest: domain.Domain,
              intent: intents.Intent) -> intents.Report:
        """See whether the intent could be written, and the guest be heard.

        Before there is a standby the guest has no way to answer, so it is
        not asked. Nor is the project's quota of metadata items: Nova enforces
        it in its API, whose database nova-compute does not reach.
        """
        items.build(intent)
        strangers = items.foreign(_load(guest.uuid).metadata)
        if strangers:
            raise exception.ChannelError(
                f'the server has the metadata item {strangers[0]}, which is '
                'not of this plugin; its owner has to rename it')
        with self._listen({}, intent.generation):
            # A host that may not listen is found before the guest has a
            # second NIC of the same MAC.
            pass
        return intents.Report(
            intent.generation, State.READY,
            'The guest was not asked: it cannot answer before it has a '
            'standby NIC.')

    def tell(self, guest: domain.Domain,
             intent: intents.Intent) -> intents.Report:
        """Write the intent, and give the guest some time to say it is armed.

        One that was not heard may have the intent all the same, or find it
        later; then it is NONE that is returned.
        """
        return self._converse(guest, intent, CONF.vf_failover.check_timeout,
                              tuple(State))

    def ask(self, guest: domain.Domain, intent: intents.Intent,
            timeout: float) -> intents.Report:
        return self._converse(guest, intent, timeout, _OVER)

    def sweep(self, host: str, busy: Container[str]) -> None:
        # What is written meanwhile is for the next time.
        suspects, self._written = self._written, set()
        try:
            left = {server.uuid for server in self._suspected(host, suspects)
                    if items.ours(server.metadata)
                    and not items.foreign(server.metadata)
                    and not self._swept(server, busy)}
        except exception.ChannelError:
            self._written |= suspects
            raise
        self._all_known = True
        self._written |= left

    def _suspected(self, host: str, suspects: Collection[str],
                   ) -> Iterable[objects.Instance]:
        """The servers of a host that may have items of ours.

        To read the metadata of all of them each minute would be much for a
        conductor that many hosts share.
        """
        filters: dict[str, typing.Any] = {'host': host, 'deleted': False}
        if self._all_known:
            if not suspects:
                return []
            filters['uuid'] = sorted(suspects)
        with _nova_errors():
            found: Iterable[objects.Instance] = (
                objects.InstanceList.get_by_filters(
                    nova_context.get_admin_context(), filters,
                    expected_attrs=['metadata']))
        return found

    @staticmethod
    def _swept(server: objects.Instance, busy: Container[str]) -> bool:
        """Remove items unless somebody needs them; whether they are gone."""
        if server.task_state is not None or server.uuid in busy:
            return False
        LOG.info('Removing an intent that nobody waits for', instance=server)
        return _remove(server.uuid)

    def _converse(self, guest: domain.Domain, intent: intents.Intent,
                  timeout: float,
                  enough: tuple[State, ...]) -> intents.Report:
        """Listen, write, and wait for a report with one of these states."""
        wanted = items.build(intent)
        with self._listen(_devices(guest, intent),
                          intent.generation) as listening:
            self._written.add(guest.uuid)
            _write(guest.uuid, wanted)
            watch = timeutils.StopWatch(
                timeout + CONF.vf_failover.metadata_delay)
            watch.start()
            report = self._heard(guest, intent, listening, watch, enough,
                                 wanted)
        LOG.debug('On generation %(generation)s the guest was heard after '
                  '%(seconds).2f s: %(report)s',
                  {'generation': intent.generation,
                   'seconds': watch.elapsed(), 'report': report})
        if report.finished and _remove(guest.uuid):
            self._written.discard(guest.uuid)
        return report

    def _heard(self, guest: domain.Domain, intent: intents.Intent,
               listening: listener.Listening, watch: timeutils.StopWatch,
               enough: tuple[State, ...],
               wanted: dict[str, str]) -> intents.Report:
        heard: Heard = {}
        last: intents.Report | None = None
        look = timeutils.StopWatch(LOOK_INTERVAL)
        look.start()
        over = False
        while not over:
            # A look may take longer than is left: a conductor that hangs is
            # waited for. What the guest said meanwhile still counts.
            over = watch.expired()
            for mac, frame in listening.hear(watch.leftover()):
                if frame.use is intent.use:
                    heard[mac] = frame
            last = _combined(intent, heard) or last
            if last and last.state in enough:
                return last
            if not over and look.expired():
                _write_again(guest.uuid, wanted)
                look.restart()
        return last or intents.Report(
            intent.generation, State.NONE,
            'no report frame was heard on the standby NICs of '
            + ', '.join(sorted(set(intent.macs.values()) - set(heard))))


def _devices(guest: domain.Domain, intent: intents.Intent) -> dict[str, str]:
    """The macvtap of each port's standby, by MAC."""
    devices = {}
    for port, mac in intent.macs.items():
        standby = guest.standby(mac)
        if standby is None or not standby.device:
            raise exception.ChannelError(
                f'port {port} has no standby NIC on which its guest could '
                'be heard')
        devices[mac] = standby.device
    return devices


def _combined(intent: intents.Intent, heard: Heard) -> intents.Report | None:
    """What the reports of all ports come to; None while some are missing.

    The guest has moved when it was heard on every standby. That one port
    has stayed is enough to know that the intent has not been carried out.
    """
    states = {report.state for report in heard.values()}
    for state in (State.NONE, State.FAILED, State.REFUSED):
        if state in states:
            return intents.Report(
                intent.generation, state, 'the log of vf-failover-agent in '
                'the guest says why')
    if any(mac not in heard for mac in intent.macs.values()):
        return None
    if len(states) == 1:
        state, = states
    else:
        state = State.WORKING
    return intents.Report(intent.generation, state, '', {
        port: heard[mac].proven for port, mac in intent.macs.items()},
        frozenset(port for port, mac in intent.macs.items()
                  if heard[mac].overlap))


@contextlib.contextmanager
def _nova_errors() -> Iterator[None]:
    try:
        yield
    except (nova_exception.NovaException,
            oslo_messaging.MessagingException) as error:
        raise exception.ChannelError(
            f'the metadata of the server cannot be read or written: {error}'
        ) from error


def _load(uuid: str) -> objects.Instance:
    """An instance of our own with nothing in it but what is stored.

    Nova's code has another one in its hands. An Instance saves its metadata
    only when they were changed through it (objects/instance.py,
    ``obj_what_changed``), so neither overwrites what the other has stored.
    """
    with _nova_errors():
        return objects.Instance.get_by_uuid(
            nova_context.get_admin_context(), uuid,
            expected_attrs=['metadata'])


def _write(uuid: str, wanted: dict[str, str]) -> None:
    """Store these items and no other of ours, unless they are stored.

    Nova stores all items of an instance at once and deletes those that it
    is not given (nova/db/main/api.py,
    ``_instance_metadata_update_in_place``); to nova-compute it offers no other
    way to add one. What the owner changes between the load and the save is
    lost, and nobody knows of it, so nothing is done between them.
    """
    instance = _load(uuid)
    if items.ours(instance.metadata) == wanted:
        return
    with _nova_errors():
        instance.metadata = items.merged(instance.metadata, wanted)
        instance.save()


def _write_again(uuid: str, wanted: dict[str, str]) -> None:
    """Write what somebody has changed meanwhile.

    The guest may have read it before, and answers then all the same.
    """
    try:
        _write(uuid, wanted)
    except exception.ChannelError as error:
        LOG.warning('An intent may be gone before its guest has read it: %s',
                    error)


def _remove(uuid: str) -> bool:
    """Take our items away, one by one: the others are the owner's.

    :returns: whether it has worked
    """
    try:
        instance = _load(uuid)
        with _nova_errors():
            for name in items.ours(instance.metadata):
                instance.delete_metadata_key(name)
    except exception.ChannelError as error:
        # They are harmless, and the next intent takes their place.
        LOG.warning('Metadata items of an intent are left: %s', error)
        return False
    return True
