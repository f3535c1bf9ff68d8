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

"""What this package does with privileges.

Nova's own context, ``nova.privsep.sys_admin_pctxt``, is enough for most of it:
what an operator has allowed nova-compute to start with privileges stays as it
is. It takes functions of every module whose name begins with "nova".

That one has no CAP_NET_RAW, and whoever adds it
there gives it to everything that Nova does with privileges. A context of our
own has that one and nothing else. Its helper is started as Nova's own ones
are: rootwrap lets in privsep-helper by itself (oslo.rootwrap from 5.0.0 on,
``load_filters`` in wrapper.py), with whatever context.
"""

from collections.abc import Callable
import typing

import nova.privsep
from oslo_privsep import capabilities
from oslo_privsep import priv_context

_Function = typing.TypeVar('_Function', bound=Callable[..., typing.Any])

SECTION = 'nova_vf_failover_net_raw'
CAPABILITIES = [capabilities.CAP_NET_RAW]

net_raw = priv_context.PrivContext(
    'nova_vf_failover',
    cfg_section=SECTION,
    pypath=__name__ + '.net_raw',
    capabilities=CAPABILITIES,
)


def sys_admin(function: _Function) -> _Function:
    """Have a function run with the privileges of Nova's own context."""
    return typing.cast(
        _Function, nova.privsep.sys_admin_pctxt.entrypoint(function))
