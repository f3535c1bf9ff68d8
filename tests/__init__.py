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

import os

from oslo_config import cfg
from oslo_log import log

# Nova's tests choose eventlet or native threads when they are imported first.
# These want real threads, for a simulated hypervisor calls back from its own;
# Nova's own tests run as its users mostly do, see tests/nova_functional.
os.environ.setdefault('OS_NOVA_DISABLE_EVENTLET_PATCHING', 'true')

# Nova's tests set up the logging of their process when they are imported. What
# a test logs is shown with it if it fails, so the process itself is silent,
# unless it is told where to write.
log.register_options(cfg.CONF)
cfg.CONF.set_default(
    'log_file', os.environ.get('NOVA_VF_FAILOVER_LOG', os.devnull))
