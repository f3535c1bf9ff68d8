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

"""A VF port of a server, and how Nova plugs one."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import dataclasses

from nova import exception as nova_exception
from nova import objects
from nova.virt.libvirt import guest as libvirt_guest
from oslo_log import log as logging

from nova_vf_failover import domain
from nova_vf_failover import exception
from nova_vf_failover.standby import base as standbys

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Port:
    """A VF port of the server on this host.

    :ivar vif: the port's VIF with the direct binding of this host
    """

    id: str
    mac: str
    vif: standbys.VIF


@dataclasses.dataclass(frozen=True)
class Plugs:
    """How Nova puts a VIF into a guest, and cleans up behind one.

    :ivar attach: plugs a VIF and attaches its NIC, live and persistent
    :ivar unplug: undoes on the host what plugging a VIF has done
    :ivar note: writes down where in the guest its NICs are, as its metadata
        service tells it (``devices``); Nova does so when it attaches one
    """

    attach: Callable[[standbys.VIF], None]
    unplug: Callable[[standbys.VIF], None]
    note: Callable[[], None]


def tell_attached(standby: standbys.Standby, guest: domain.Domain,
                  macs: Iterable[str]) -> None:
    """Tell the driver of standbys which devices of this host are a guest's.

    :param macs: those of the ports whose standby may be there
    """
    for mac in macs:
        try:
            found = guest.standby(mac)
            if found and found.device:
                standby.attached(found.device)
        except Exception:
            # Of netlink, of privsep, or whatever another driver raises: a
            # standby that hears less than it should is better than none.
            LOG.exception('The standby with MAC %s of server %s may miss '
                          'multicast', mac, guest.uuid)


def release(standby: standbys.Standby, port: Port) -> None:
    """Remove what the standby of a port has left on this host."""
    try:
        described = standby.describe(port.vif)
    except exception.CannotSwap as error:
        LOG.info('What the standby of port %(port)s has left is removed when '
                 'it is swept: %(error)s', {'port': port.id, 'error': error})
    else:
        standby.release(described)


@contextlib.contextmanager
def refusing_as_nova(instance: objects.Instance,
                     vif: standbys.VIF) -> Iterator[None]:
    """A detach in the body is refused in a way that Nova handles.

    :raises nova.exception.InterfaceDetachFailed: it was; why is in the log
    """
    try:
        yield
    except (exception.VFFailoverError,
            libvirt_guest.libvirt.libvirtError) as error:
        LOG.error('Port %(port)s cannot be detached: %(error)s',
                  {'port': vif['id'], 'error': error}, instance=instance)
        raise nova_exception.InterfaceDetachFailed(
            instance_uuid=instance.uuid) from error
