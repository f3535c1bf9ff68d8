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

"""The servers of this host as their libvirt domains show them.

Nova and its database are not asked: what is here is there as well when
nova-compute does not run.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterable
import contextlib
import dataclasses
import importlib
import typing

from lxml import etree
from oslo_config import cfg

from nova_vf_failover import domain_xml
from nova_vf_failover import exception
from nova_vf_failover import journal
from nova_vf_failover import moves
from nova_vf_failover import request

CONF = cfg.CONF

#: every port on its VF
ON_VF = 'on VF'
#: a failback has not worked: on the standby, and the network works
DEGRADED = 'degraded'
#: in the middle of a move, or left there by a nova-compute that died
MOVING = 'moving'
#: the journal cannot be read
UNKNOWN = 'unknown'

#: how an operator comes to reach libvirt
CURE = ('Start libvirtd or virtqemud, correct [libvirt] connection_uri, or '
        'run this as a user who may connect; where libvirt wants a password, '
        'as the user of nova-compute.')

# include/libvirt/libvirt-domain.h: VIR_CONNECT_LIST_DOMAINS_ACTIVE,
# VIR_DOMAIN_XML_INACTIVE.
_ACTIVE = 1
_INACTIVE = 2


@dataclasses.dataclass(frozen=True)
class Nic:
    """A NIC that is a VF, or stands in for one.

    :ivar on: the PCI address of a VF, or the host's device behind a standby
    """

    mac: str
    role: str
    on: str


@dataclasses.dataclass(frozen=True)
class Server:
    """A server with VFs.

    :ivar fault: why the journal cannot be read; empty if it can
    :ivar lost: the ports whose guest has let a VF go that it had kept
    """

    uuid: str
    name: str
    domain: str
    nics: tuple[Nic, ...]
    journal: journal.Journal
    fault: str
    last: moves.Last
    request: request.Request | None
    lost: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """One of ON_VF, DEGRADED, MOVING and UNKNOWN."""
        entries = self.journal.entries.values()
        if self.fault:
            return UNKNOWN
        if self.lost or any(entry.degraded for entry in entries):
            return DEGRADED
        if not entries:
            return ON_VF
        return MOVING

    @property
    def reasons(self) -> dict[str, str]:
        """Why ports are not back on their VF."""
        return {port: 'The guest has let its VF go, some time after it was '
                'asked for it.' for port in self.lost} | {
            entry.port: entry.reason
            for entry in self.journal.entries.values() if entry.reason}

    def called(self, word: str) -> bool:
        """Whether an operator can mean this one."""
        return word in (self.uuid, self.name, self.domain)


class Unreachable(Exception):
    """libvirt cannot be asked; the message says what to do."""


class NotHere(Exception):
    """No server of this host is meant, or more than one."""


def connect(read_only: bool = False) -> typing.Any:
    """A connection to this host's libvirt, where Nova has its own.

    :raises ImportError: libvirt-python is missing
    :raises libvirt.libvirtError: it cannot be reached
    """
    libvirt = importlib.import_module('libvirt')
    # Without one, libvirt prints each error itself, and so twice.
    libvirt.registerErrorHandler(_keep_quiet, None)
    return libvirt.openAuth(
        CONF.libvirt.connection_uri or 'qemu:///system',
        [[libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_ECHOPROMPT,
          libvirt.VIR_CRED_REALM, libvirt.VIR_CRED_PASSPHRASE,
          libvirt.VIR_CRED_NOECHOPROMPT, libvirt.VIR_CRED_EXTERNAL],
         _answer, None],
        libvirt.VIR_CONNECT_RO if read_only else 0)


def _answer(missing: Collection[typing.Any], _opaque: typing.Any) -> int:
    """Say that nobody knows a password which is in no ``auth.conf``.

    As ``_connect_auth_cb`` of nova/virt/libvirt/host.py, but for how it says
    no: what it raised libvirt-python would print, and pass on to nobody
    (libvirt-override.c, ``virConnectCredCallbackWrapper``). libvirt looks
    into that file only for who answers, and then asks even if nothing is
    missing (src/remote/remote_driver.c, ``remoteAuthInteract``).
    """
    return -1 if missing else 0


def _keep_quiet(_context: typing.Any, _error: typing.Any) -> None:
    """Whoever has made the call is told of the error by its exception."""


def domains(read_only: bool = False) -> list[typing.Any]:
    """The running domains of this host.

    :raises Unreachable: nobody knows
    """
    try:
        listed: list[typing.Any] = connect(read_only).listAllDomains(_ACTIVE)
        return listed
    except ImportError as error:
        raise Unreachable(
            'The Python module libvirt is missing. Install libvirt-python '
            '(Debian: python3-libvirt).') from error
    except libvirt_errors() as error:
        raise Unreachable(
            f'libvirt cannot be reached: {error}. {CURE}') from error


def all_of(listed: Iterable[typing.Any]) -> list[Server]:
    """Those of the domains that have VFs, in the order of their names."""
    servers = []
    for domain in listed:
        try:
            server = of(domain)
        except libvirt_errors():
            # It has gone since the domains were listed.
            continue
        if server.nics or server.fault or not server.journal.empty:
            servers.append(server)
    return sorted(servers, key=lambda server: (server.name, server.uuid))


def pick(listed: Iterable[typing.Any], word: str) -> typing.Any:
    """The domain of the server that an operator means.

    :param word: its UUID, its name, or the name of its domain
    :raises NotHere: there is none, or there are several
    """
    found = []
    for domain in listed:
        # One may have gone since the domains were listed.
        with contextlib.suppress(*libvirt_errors()):
            if of(domain).called(word):
                found.append(domain)
    if not found:
        raise NotHere(f'There is no running server {word} on this host. '
                      '"openstack server show" says where it is; "list" '
                      'names those that are here.')
    if len(found) > 1:
        raise NotHere(f'{len(found)} servers of this host are called {word}; '
                      'say which one by its UUID: ' + ', '.join(
                          domain.UUIDString() for domain in found))
    return found[0]


def of(domain: typing.Any) -> Server:
    """What a domain says of itself.

    :param domain: a ``virDomain``
    :raises libvirt.libvirtError: it has gone
    """
    tree = etree.fromstring(domain.XMLDesc(0))
    entries, fault = _journal(tree)
    away = {entry.mac for entry in entries.entries.values()}
    return Server(
        uuid=domain.UUIDString(), name=_name(tree) or domain.name(),
        domain=domain.name(), nics=tuple(_nics(tree, away)), journal=entries,
        fault=fault, last=moves.find(tree), request=request.find(tree),
        lost=tuple(domain_xml.lost_ports(
            entries, lambda persistent: etree.fromstring(
                domain.XMLDesc(_INACTIVE)) if persistent else tree)))


def has_job(domain: typing.Any) -> bool:
    """Whether libvirt migrates or saves a domain, or writes a dump of it.

    Whoever changes the domain meanwhile, its metadata included, waits for
    half a minute and is refused (virDomainObjBeginJobInternal).

    :raises libvirt.libvirtError: it has gone
    """
    return bool(domain.jobInfo()[0])


def has_gone(error: typing.Any) -> bool:
    """Whether libvirt has no such domain any more.

    :param error: what libvirt has raised
    """
    libvirt = importlib.import_module('libvirt')
    return bool(error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN)


def _journal(tree: etree._Element) -> tuple[journal.Journal, str]:
    try:
        return domain_xml.journal_of(tree), ''
    except exception.JournalError as error:
        return journal.Journal(), str(error)


def _name(tree: etree._Element) -> str:
    """The server's name, which Nova writes beside its own XML namespace."""
    for element in tree.iterfind('./metadata/*/*'):
        if (isinstance(element.tag, str)
                and etree.QName(element).localname == 'name'):
            return element.text or ''
    return ''


def _nics(tree: etree._Element, away: set[str]) -> Iterable[Nic]:
    for nic in domain_xml.interfaces(tree):
        if nic.kind == domain_xml.PRIMARY_TYPE:
            yield Nic(nic.mac, 'primary', nic.address)
        elif nic.kind == domain_xml.STANDBY_TYPE and nic.mac in away:
            yield Nic(nic.mac, 'standby', nic.device or '')


def libvirt_errors() -> tuple[type[Exception], ...]:
    """What libvirt raises, for an except clause; nothing without libvirt."""
    try:
        return (importlib.import_module('libvirt').libvirtError,)
    except ImportError:
        return ()
