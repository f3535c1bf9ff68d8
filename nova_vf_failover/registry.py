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

import typing

from stevedore import driver
from stevedore import exception
from stevedore import extension

STANDBY = 'nova_vf_failover.standby'
CHANNELS = 'nova_vf_failover.channels'
STEERING = 'nova_vf_failover.steering'


def load(namespace: str, name: str) -> typing.Any:
    """The class that is registered as ``name`` in ``namespace``.

    :raises stevedore.exception.NoMatches: there is none
    """
    return driver.DriverManager(namespace, name).driver


def fault(namespace: str, name: str) -> str | None:
    """Why ``name`` cannot be used: a sentence that names the choices."""
    option = namespace.rpartition('.')[2].removesuffix('s')
    try:
        reason = load(namespace, name).missing_requirement()
    except exception.NoMatches:
        known = ', '.join(sorted(
            extension.ExtensionManager(namespace).names())) or 'none'
        return (f'[vf_failover] {option} = {name} is no driver that is '
                f'installed here; there is: {known}.')
    except Exception as error:
        # A driver of somebody else's may fail in any way when it is loaded.
        return (f'[vf_failover] {option} = {name} cannot be loaded: '
                f'{error!r}.')
    if reason:
        return f'[vf_failover] {option} = {name} cannot work here: {reason}'
    return None
