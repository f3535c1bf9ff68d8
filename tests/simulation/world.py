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

"""What the hypervisors of several hosts have in common."""

import threading
import typing

from tests.simulation import migrations


class World:
    """All hypervisors that can migrate to each other."""

    def __init__(self) -> None:
        self.connections: dict[str, typing.Any] = {}
        self.migrations = migrations.Migrations()
        #: by domain UUID: what answers for the QEMU guest agent
        self.guest_agents: dict[str, typing.Any] = {}
        #: what guests do about a detach, by the type of the interface
        self.releases: dict[str, str] = {}
        #: cleared, guests do it only once this is set
        self.answers = threading.Event()
        self.answers.set()
