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

"""What the simulated hypervisors have of a server."""

from collections.abc import Iterator
import typing

from lxml import etree
from nova.tests.fixtures import libvirt as fakelibvirt

from nova_vf_failover import domain_xml
from nova_vf_failover import journal
from tests.simulation import dataplane
from tests.simulation import world as worlds

#: a domain as it runs, and as it will start; whether that is persistent
TREES = (('live', False), ('persistent', True))


def defined(world: worlds.World,
            uuid: str) -> Iterator[tuple[str, typing.Any]]:
    """The domains of a server, by the name of the host; some may be off."""
    for host, connection in world.connections.items():
        for domain in list(connection._vms.values()):
            if domain.UUIDString() == uuid:
                yield host, domain


def running(world: worlds.World, uuid: str) -> dict[str, typing.Any]:
    """Those that are not."""
    return {host: domain for host, domain in defined(world, uuid)
            if domain._live is not None}


def journal_of(domain: typing.Any,
               persistent: bool = False) -> dict[str, journal.Entry]:
    """What a domain's journal says, by the id of the port."""
    return domain_xml.journal_of(_tree(domain, persistent)).entries


def nics_of(domain: typing.Any,
            persistent: bool = False) -> list[dataplane.Nic]:
    """The NICs of the live or of the persistent domain."""
    return [dataplane.Nic.from_element(element) for element
            in _tree(domain, persistent).iterfind('./devices/interface')]


def wrong_in(domain: typing.Any, macs: set[str]) -> Iterator[str]:
    """What is wrong in the domain of a server with VFs of these MACs."""
    kept = journal_of(domain, persistent=True).keys()
    if journal_of(domain).keys() != kept:
        yield f'its journal will be of {sorted(kept)} when it starts anew'
    for what, persistent in TREES:
        others = sorted((nic.kind, nic.mac)
                        for nic in nics_of(domain, persistent)
                        if (nic.is_vf or nic.is_macvtap)
                        and nic.mac not in macs)
        if others:
            yield f'its {what} domain has NICs of no port: {others}'


def _tree(domain: typing.Any, persistent: bool) -> etree._Element:
    return etree.fromstring(domain.XMLDesc(
        fakelibvirt.VIR_DOMAIN_XML_INACTIVE if persistent else 0))
