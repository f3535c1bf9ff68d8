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

"""What an operator asks of this host: try a server's failback now.

The request is an element in the metadata of the server's domain, beside the
journal and under a namespace of its own, so every process that reaches
libvirt on the host can write it. nova-compute looks for it in each period of
its recovery and removes it once it has tried.

Nothing here needs Nova or a running nova-compute: a domain is a ``virDomain``
of libvirt-python.
"""

import dataclasses
import time
import typing

from lxml import etree

from nova_vf_failover import domain_metadata

NAMESPACE = 'urn:nova-vf-failover:request:1'
# The prefix with which libvirt writes the namespace into the domain's XML.
PREFIX = 'vffr'

_ELEMENT = 'failback'


@dataclasses.dataclass(frozen=True)
class Request:
    """Somebody wants the server back on its VFs without waiting.

    :ivar at: when it was asked, seconds of the UNIX epoch; 0 if that cannot
        be read, for it has been asked all the same
    """

    at: float


def write(domain: typing.Any, at: float | None = None) -> Request:
    """Ask for an attempt; asking again only moves the time.

    It is written into the running domain alone: one that is started anew has
    its VFs.

    :param domain: the ``virDomain`` of a running server on this host
    :param at: now, unless told otherwise
    :raises libvirt.libvirtError: the domain does not run, or has gone
    """
    request = Request(time.time() if at is None else at)
    _store(domain, etree.tostring(
        etree.Element(_ELEMENT, at=f'{request.at:.3f}'), encoding='unicode'))
    return request


def read(domain: typing.Any) -> Request | None:
    """What was asked, or None.

    :raises libvirt.libvirtError: the domain has gone
    """
    return find(etree.fromstring(domain.XMLDesc(0)))


def find(tree: etree._Element) -> Request | None:
    """What was asked, in the XML of a live domain."""
    element = tree.find(f'./metadata/{{{NAMESPACE}}}{_ELEMENT}')
    if element is None:
        return None
    try:
        return Request(float(element.get('at', '')))
    except ValueError:
        return Request(0.0)


def remove(domain: typing.Any) -> None:
    """The attempt was made; nothing to do if nobody has asked.

    :raises libvirt.libvirtError: the domain does not run, or has gone
    """
    if read(domain) is not None:
        _store(domain, None)


def _store(domain: typing.Any, text: str | None) -> None:
    domain_metadata.store(domain, text, PREFIX, NAMESPACE)
