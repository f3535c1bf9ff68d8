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

"""A degraded server that is rescued, and is to have its standbys again.

Nova keeps the XML of its domain in a file, runs another domain meanwhile,
with the VFs, and makes a domain of that XML again in the end
(nova/virt/libvirt/driver.py, ``rescue`` and ``unrescue``). It plugs nothing
for it, and what a standby was on may have been swept in between.
"""

from collections.abc import Iterator
import contextlib
import os

from lxml import etree
from nova import objects
from nova.virt.libvirt import utils as libvirt_utils
from oslo_log import log as logging

from nova_vf_failover import domain_xml
from nova_vf_failover import exception
from nova_vf_failover import negotiation
from nova_vf_failover.standby import base as standbys

LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def standbys_plugged(standby: standbys.Standby,
                     instance: objects.Instance) -> Iterator[None]:
    """The body makes a server's domain of the XML that was kept.

    :param standby: makes the standbys of this host
    """
    away = _away(instance)
    with contextlib.ExitStack() as plugging:
        for vif in instance.get_network_info() if away else ():
            if vif['id'] in away and negotiation.is_vf(vif):
                try:
                    plugging.enter_context(
                        standby.plugging(standby.describe(vif)))
                except exception.CannotSwap as error:
                    # It may be on the PF itself, or there still.
                    LOG.warning('What the standby is to be on cannot be '
                                'made: %s', error, instance=instance)
        yield


def _away(instance: objects.Instance) -> set[str]:
    """The ports that were not on their VF when the XML was kept."""
    path = os.path.join(
        libvirt_utils.get_instance_path(instance), 'unrescue.xml')
    try:
        return set(domain_xml.journal_of(etree.fromstring(
            libvirt_utils.load_file(path))).entries)
    except exception.JournalError as error:
        # The server is not to be kept from its own domain for that.
        LOG.warning('%s', error, instance=instance)
        return set()
