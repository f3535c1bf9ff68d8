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

"""What systemd-networkd does with a NIC, as its own program has it changed.

It looks for the file that is meant for a NIC when that comes, and before
systemd 254 at nothing that udev says of it later on.
"""

import logging

from nova_vf_failover.guest import commands
from nova_vf_failover.guest import links
from nova_vf_failover.guest import udev

LOG = logging.getLogger(__name__)

# Since systemd 244.
_NETWORKCTL = 'networkctl'
# Seconds; it takes some hundredths.
_LONGEST = 30.0


def let_go(standby: links.Nic) -> None:
    """Have it leave a parked standby alone that it has configured."""
    # 00-vf-failover.network is for what udev calls a standby.
    udev.look_again(standby.name)
    udev.await_idle(udev.NAMING)
    try:
        commands.run((_NETWORKCTL, 'reconfigure', standby.name), _LONGEST)
    except commands.FAULTS as error:
        LOG.warning('systemd-networkd does not leave %s alone: %s',
                    standby.name, error)
