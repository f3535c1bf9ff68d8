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

"""Whether Nova's libvirt driver is still the one that this package extends.
"""

import inspect
import typing

# What is called besides what is overridden.
_CALLED = ('_build_device_metadata', '_detach_with_retry', 'attach_interface')
# What is overridden although it is Nova's own.
_PRIVATE = ('_reattach_instance_vifs',)


def changed(ours: type, novas: type) -> list[str]:
    """The methods of Nova's driver that are not as this package knows them.

    What is overridden has to take the same parameters, and what is called
    has to exist.
    """
    return [
        name for name, method in vars(ours).items()
        if inspect.isfunction(method)
        and (not name.startswith('_') or name in _PRIVATE)
        and _parameters(method) != _parameters(getattr(novas, name, None))
    ] + [name for name in _CALLED if not hasattr(novas, name)]


def _parameters(method: typing.Any) -> list[str]:
    return list(inspect.signature(method).parameters) if method else []
