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

"""The PCI devices of a simulated host."""

import typing

from nova.tests.fixtures import libvirt as fakelibvirt


class Nics(fakelibvirt.HostPCIDevicesInfo):
    """PFs with their VFs.

    :param bus: where they are; Nova's stand-in cannot be told so before
        Nova 31
    """

    def __init__(self, bus: int = 0x81, **keywords: typing.Any) -> None:
        self._bus = bus
        super().__init__(**keywords)

    def add_device(self, dev_type: str, bus: int,
                   parent: tuple[int, ...] | None = None,
                   **keywords: typing.Any) -> typing.Any:
        return super().add_device(
            dev_type=dev_type, bus=self._bus,
            parent=parent and (self._bus, *parent[1:]), **keywords)
