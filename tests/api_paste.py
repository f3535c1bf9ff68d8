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

"""Where Nova's fixtures find ``etc/nova/api-paste.ini``."""

import atexit
import os
import shutil
import sys
import tempfile

from nova.conf import paths
from oslo_config import cfg


def find() -> None:
    """Make a state path with the file below it.

    Nova's fixtures look for it below the state path, which is beside
    site-packages unless told otherwise; Nova's wheel installs it below the
    environment's own ``etc``.
    """
    state = tempfile.mkdtemp(prefix='nova-state-')
    atexit.register(shutil.rmtree, state, ignore_errors=True)
    os.symlink(os.path.join(sys.prefix, 'etc'), os.path.join(state, 'etc'))
    cfg.set_defaults(paths.ALL_OPTS, state_path=state)
