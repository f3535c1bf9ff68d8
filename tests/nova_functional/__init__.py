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

"""Nova's own functional tests, unchanged, with the plugin as set.

The plugin is loaded as in nova-compute, by the ``os_vif`` entry point; that
it is enabled is told by the default of its option, for Nova's fixtures read
no configuration file. No guest of these tests has an agent, so with
``policy = native`` every result has to be what it is without the plugin.
"""

import os
import sys
import types
import typing
import unittest

# Before any other module of Nova: it chooses the concurrency mode.
from tests import concurrency  # noqa: F401 isort: skip

from nova.tests.fixtures import libvirt as fakelibvirt
from oslo_config import cfg

from nova_vf_failover import conf
from tests import api_paste

# Set by the command: 1, or 0 to compare with plain Nova. Without it there is
# nothing here, so that the project's own run does not take Nova's tests too.
SWITCH = 'NOVA_VF_FAILOVER_ENABLED'

MODULES = (
    'nova.tests.functional.libvirt.test_pci_sriov_servers',
    'nova.tests.functional.libvirt.test_live_migration',
)


def load_tests(loader: unittest.TestLoader, tests: unittest.TestSuite,
               pattern: str | None) -> unittest.TestSuite:
    """unittest's hook: Nova's modules in place of what lies here."""
    if SWITCH not in os.environ:
        return tests
    api_paste.find()
    _install_guest_agent()
    cfg.set_defaults(conf.switch_opts,
                     enabled=os.environ[SWITCH] == '1')
    return unittest.TestSuite(
        loader.loadTestsFromName(module) for module in MODULES)


def _install_guest_agent() -> None:
    """What libvirt says of a domain that has no guest agent."""
    def refuse(*arguments: typing.Any) -> str:
        raise fakelibvirt.make_libvirtError(
            fakelibvirt.libvirtError,
            'argument unsupported: QEMU guest agent is not configured',
            error_code=fakelibvirt.VIR_ERR_OPERATION_UNSUPPORTED)

    module = types.ModuleType('libvirt_qemu')
    module.qemuAgentCommand = refuse  # type: ignore[attr-defined]
    sys.modules.setdefault('libvirt_qemu', module)
