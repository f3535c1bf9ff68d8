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

"""How the simulated hypervisors migrate to each other."""

from collections.abc import Callable
import dataclasses
import threading


@dataclasses.dataclass
class Migrations:
    """How the migrations of a world go.

    :ivar copy_seconds: how long the memory copy takes
    :ivar downtime_seconds: how long the guest stands still
    :ivar proceed: cleared, the copy goes on until it is set or aborted
    :ivar failure: what QEMU says, if the copy is to fail
    :ivar observer: called with ``copy`` or ``stop`` and ``start`` or ``end``
    """

    copy_seconds: float = 0.0
    downtime_seconds: float = 0.0
    proceed: threading.Event = dataclasses.field(
        default_factory=threading.Event)
    failure: str | None = None
    running: threading.Event = dataclasses.field(
        default_factory=threading.Event)
    observer: Callable[[str, str], None] = lambda step, phase: None

    def __post_init__(self) -> None:
        self.proceed.set()
