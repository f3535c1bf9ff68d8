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

"""What can go wrong, as types: which port, why, what the server is in now."""


class VFFailoverError(Exception):
    """Base of every error that this package raises on purpose."""


def ports(*ids: str) -> str:
    """Ports as the subject of :class:`CannotSwap`.

    :param ids: Neutron's UUIDs of them
    """
    return f'{"Port" if len(ids) == 1 else "Ports"} {", ".join(ids)}'


def server(uuid: str) -> str:
    """A server as the subject of :class:`CannotSwap`, all its ports."""
    return f'Server {uuid}'


class CannotSwap(VFFailoverError):
    """Ports cannot go from one of their NICs to the other as things are.

    Raised by a check, it says that nothing has been changed. Raised on the way
    back to a VF, it says that the port stays on its standby; the journal has
    where each one stands.

    Nova stores 255 characters of it for ``openstack server event show``
    (nova/objects/instance_action.py), so the cure stands before the details.

    :param subject: what it is about, in the words of :func:`ports` or, where
        no port is to blame, :func:`server`
    :param reason: what was found, naming the device
    :param cure: what the operator can do about it
    :param detail: what else may help, of any length
    """

    def __init__(self, subject: str, reason: str, cure: str,
                 detail: str = '') -> None:
        self.reason = reason
        self.cure = cure
        super().__init__(f'{subject}: {reason} {cure} {detail}'.rstrip())


class ChannelError(VFFailoverError):
    """The guest could not be told, or what it said cannot be used.

    After it nobody knows which NIC the guest uses.
    """


class GuestRefused(VFFailoverError):
    """The guest answered that it stays on the NIC that it uses.

    Unlike after :class:`ChannelError` it is known where its traffic runs.
    """


class SteeringError(VFFailoverError):
    """A NIC's receive filter could not be moved; the move goes on without."""


class SwapCancelled(VFFailoverError):
    """The live migration is not wanted any more while VFs are swapped.

    It was aborted, or nova-compute is stopped.
    """


class MadeWay(SwapCancelled):
    """Recovery has left off, for something else is to be done."""


class Busy(VFFailoverError):
    """Somebody else works upon the ports of this server."""


class LeftBehind(VFFailoverError):
    """What a live migration has left cannot be cleared for now.

    :ivar kind: what stands in the way, without what differs each time, as
        the number of a request
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class Degraded(VFFailoverError):
    """A failback has not worked; these ports go on over their standby.

    :param reasons: what stood in the way, by Neutron port UUID
    """

    def __init__(self, reasons: dict[str, str]) -> None:
        self.reasons = reasons
        super().__init__('; '.join(
            f'port {port}: {reason}' for port, reason in reasons.items()))


class JournalError(VFFailoverError):
    """The journal in the domain's metadata cannot be read."""


class WrongTransition(VFFailoverError):
    """A port was about to make a step that its state does not allow."""
