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
import dataclasses

from nova_vf_failover.standby import base as standbys


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
    """

    attach: Callable[[standbys.VIF], None]
    unplug: Callable[[standbys.VIF], None]
