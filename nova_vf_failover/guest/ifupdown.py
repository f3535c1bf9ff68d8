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

"""What ifupdown does with a NIC that it has brought up when it came.

It knows NICs by their names, and systemd stops its unit when the name goes:
``ifdown`` then takes the network from whichever NIC has that name by now.
"""

import logging

from nova_vf_failover.guest import commands
from nova_vf_failover.guest import configurators
from nova_vf_failover.guest import links
from nova_vf_failover.guest import udev

LOG = logging.getLogger(__name__)

_SYSTEMCTL = 'systemctl'
# Seconds. To end a DHCP client takes one, and some in an emulated guest.
_LONGEST = 60.0


def let_go(standby: links.Nic) -> bool:
    """Have it leave a parked standby alone that it has brought up.

    :returns: whether it had
    """
    unit = configurators.hotplugged(standby)
    if unit is None:
        return False
    try:
        commands.run((_SYSTEMCTL, 'stop', unit), _LONGEST)
    except commands.FAULTS as error:
        LOG.warning('ifupdown does not leave %s alone: %s', standby.name,
                    error)
    return True


def take(name: str) -> None:
    """Have it bring up a VF that has got the name of such a standby.

    systemd has to know first that the standby has another one: what it has
    found twice it takes for the first (src/core/device.c, device_setup_unit).
    """
    if not udev.await_idle(_LONGEST):
        LOG.warning('udev is still at work; %s may not be brought up', name)
    udev.introduce(name)
