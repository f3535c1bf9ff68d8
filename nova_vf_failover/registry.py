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

"""The drivers that an operator chooses by name, found with stevedore."""

from __future__ import annotations

import dataclasses
import typing

from oslo_config import cfg
from stevedore import driver
from stevedore import exception
from stevedore import extension

if typing.TYPE_CHECKING:
    # These import Nova's libvirt driver, on which a host where the plugin is
    # off must not depend.
    from nova_vf_failover.channels import base as channels
    from nova_vf_failover.standby import base as standbys
    from nova_vf_failover.steering import base as steering

CONF = cfg.CONF

Driver = typing.TypeVar('Driver')


@dataclasses.dataclass(frozen=True)
class Kind(typing.Generic[Driver]):
    """What one of the drivers does, of which an operator chooses how.

    :ivar namespace: of the entry points to choose from
    :ivar option: of ``[vf_failover]``, with the name of the chosen one
    """

    namespace: str
    option: str

    @property
    def chosen(self) -> str:
        """The name of the driver that the operator has chosen."""
        return str(CONF.vf_failover[self.option])

    def make(self) -> Driver:
        """A new one of the driver that the operator has chosen.

        :raises stevedore.exception.NoMatches: there is none of that name
        """
        made: Driver = self._class()()
        return made

    def fault(self) -> str | None:
        """Why the chosen one cannot be used: a sentence, with the choices."""
        setting = f'[vf_failover] {self.option} = {self.chosen}'
        try:
            reason = self._class().missing_requirement()
        except exception.NoMatches:
            known = ', '.join(sorted(extension.ExtensionManager(
                self.namespace).names())) or 'none'
            return (f'{setting} is no driver that is installed here; there '
                    f'is: {known}.')
        except Exception as error:
            # A driver of somebody else's may fail in any way when it is
            # loaded.
            return f'{setting} cannot be loaded: {error!r}.'
        return f'{setting} cannot work here: {reason}' if reason else None

    def _class(self) -> typing.Any:
        return driver.DriverManager(self.namespace, self.chosen).driver


STANDBY: Kind[standbys.Standby] = Kind('nova_vf_failover.standby', 'standby')
CHANNEL: Kind[channels.Channel] = Kind('nova_vf_failover.channels', 'channel')
STEERING: Kind[steering.Steering] = Kind(
    'nova_vf_failover.steering', 'steering')

KINDS = (STANDBY, CHANNEL, STEERING)
