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

"""What is kept in the metadata of a running domain, and goes with it.

A domain is a ``virDomain`` of libvirt-python here, so that whoever reaches
libvirt on the host can write, without Nova.
"""

from __future__ import annotations

import typing

# include/libvirt/libvirt-domain.h, the same numbers in every libvirt:
# VIR_DOMAIN_METADATA_ELEMENT and VIR_DOMAIN_AFFECT_LIVE.
_ELEMENT = 2
_LIVE = 1


def store(domain: typing.Any, text: str | None, prefix: str,
          namespace: str) -> None:
    """Replace the element of a namespace; None removes it.

    :param prefix: with which libvirt writes the namespace
    :raises libvirt.libvirtError: the domain does not run, or has gone
    """
    domain.setMetadata(_ELEMENT, text, prefix, namespace, _LIVE)
