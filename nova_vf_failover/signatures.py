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

"""Whether Nova is still the one that this package extends."""

import inspect
import typing

from nova.compute import manager
from nova.compute import resource_tracker
from nova.virt.libvirt import driver

# What is overridden although it is Nova's own.
_PRIVATE = ('_reattach_instance_vifs',)

# What is wrapped although its later parameters differ between releases: the
# first ones, which are given by their place.
_WRAPPED = {
    '_live_migration_monitor': ('context', 'instance', 'guest'),
    '_live_migration_operation': (
        'context', 'instance', 'dest', 'block_migration', 'migrate_data'),
}

# What is called of Nova's that is no interface for others: the parameters that
# are given, in their order.
_CALLED: dict[type, dict[str, tuple[str, ...]]] = {
    driver.LibvirtDriver: {
        '_build_device_metadata': ('context', 'instance'),
        '_detach_with_retry': ('guest', 'instance_uuid',
                               'get_device_conf_func', 'device_name'),
        'attach_interface': ('context', 'instance', 'image_meta', 'vif'),
    },
    manager.ComputeManager: {
        '_claim_pci_for_instance_vifs': ('ctxt', 'instance'),
        '_update_migrate_vifs_profile_with_pci': (
            'migrate_vifs', 'port_id_to_pci_dev'),
    },
    resource_tracker.ResourceTracker: {
        'allocate_pci_devices_for_instance': ('context', 'instance'),
        'claim_pci_devices': ('context', 'pci_requests',
                              'instance_numa_topology'),
        'free_pci_device_claims_for_instance': ('context', 'instance'),
        'unclaim_pci_devices': ('context', 'pci_device', 'instance'),
    },
}


def changed(ours: type, novas: type) -> list[str]:
    """The methods of Nova's driver that are overridden and not as known.

    They have to take the same parameters.
    """
    return [
        name for name, method in vars(ours).items()
        if inspect.isfunction(method)
        and (not name.startswith('_') or name in _PRIVATE)
        and _parameters(method) != _parameters(getattr(novas, name, None))]


def unknown() -> list[str]:
    """The methods of Nova that are called and cannot be as they are.

    They have to take what they are given, and need no more than that.
    """
    called = [f'{novas.__name__}.{name}'
              for novas, called in _CALLED.items()
              for name, given in called.items()
              if not _takes(getattr(novas, name, None), given)]
    wrapped = [f'LibvirtDriver.{name}' for name, first in _WRAPPED.items()
               if not _begins(getattr(driver.LibvirtDriver, name, None),
                              first)]
    return called + wrapped


def _parameters(method: typing.Any) -> list[str]:
    return list(inspect.signature(method).parameters) if method else []


def _begins(method: typing.Any, first: tuple[str, ...]) -> bool:
    return tuple(_parameters(method)[1:len(first) + 1]) == first


def _takes(method: typing.Any, given: tuple[str, ...]) -> bool:
    if method is None:
        return False
    _, *parameters = inspect.signature(method).parameters.values()
    more = parameters[len(given):]
    return (tuple(parameter.name for parameter in parameters[:len(given)])
            == given
            and all(parameter.default is not parameter.empty
                    or parameter.kind in (parameter.VAR_POSITIONAL,
                                          parameter.VAR_KEYWORD)
                    for parameter in more))
