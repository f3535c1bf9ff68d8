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

"""Modules that are not installed here, as far as a test needs them."""

import sys
import typing

import fixtures


class StandIn(fixtures.Fixture):
    """What ``import NAME`` finds during a test.

    ``mock.patch.dict(sys.modules)`` would forget every other module that is
    imported meanwhile, and have it imported a second time later: with enums
    that are not the enums of those who kept the first one.
    """

    def __init__(self, name: str, module: typing.Any) -> None:
        self._name = name
        self._module = module

    def _setUp(self) -> None:
        if self._name in sys.modules:
            self.addCleanup(sys.modules.__setitem__, self._name,
                            sys.modules[self._name])
        else:
            self.addCleanup(sys.modules.pop, self._name)
        sys.modules[self._name] = self._module
