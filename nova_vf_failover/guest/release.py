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

"""The release of the kernel, where nothing else tells what it can do."""

import os
import re
import typing


def before(major: int, minor: int) -> bool:
    """Whether this kernel is older than a release.

    A distribution may have added what a later one can do; what is done
    instead of that works there as well.
    """
    return _release() < (major, minor)


def _release() -> typing.Tuple[int, ...]:
    found = re.match(r'(\d+)\.(\d+)', os.uname().release)
    return tuple(map(int, found.groups())) if found else (0, 0)
