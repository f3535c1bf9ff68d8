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

"""Neutron's SR-IOV agent, on PFs that are files.

``python -m tests.neutron.sriov_agent FOLDER --config-file FILE`` is
``neutron-sriov-nic-agent`` with another place for sysfs (see
:mod:`tests.neutron.vf_files`) and with files in the place of the two requests
to netlink about VFs. All the rest is the agent's own: its heartbeat, its loop
that compares what it finds, its calls to the RPC server and what it is told
by that.
"""

import functools
import pathlib
import sys
import typing

from neutron.cmd.plugins import sriov_nic_neutron_agent
from neutron.plugins.ml2.drivers.mech_sriov.agent import eswitch_manager
from neutron.privileged.agent.linux import ip_lib

from tests.neutron import vf_files

_SYSFS = '/sys/class/net'


def main() -> None:
    files = vf_files.VfFiles(pathlib.Path(sys.argv.pop(1)))
    wrapper = eswitch_manager.PciOsWrapper
    for name in ('DEVICE_PATH', 'PCI_PATH', 'NUMVFS_PATH'):
        setattr(wrapper, name, getattr(wrapper, name).replace(
            _SYSFS, str(files.folder)))
    ip_lib.get_link_vfs = functools.partial(_get_link_vfs, files)
    ip_lib.set_link_vf_feature = functools.partial(
        _set_link_vf_feature, files)
    sriov_nic_neutron_agent.main()


def _get_link_vfs(files: vf_files.VfFiles, device: str,
                  namespace: str | None) -> dict[int, dict[str, typing.Any]]:
    return {number: {'mac': found['mac'],
                     'link_state': int(found['link_state']),
                     'max_tx_rate': None, 'min_tx_rate': None}
            for number, found in files.read_all(device).items()}


def _set_link_vf_feature(files: vf_files.VfFiles, device: str,
                         namespace: str | None,
                         vf_config: dict[str, typing.Any]) -> None:
    number = vf_config.pop('vf')
    for attribute, value in vf_config.items():
        files.write(device, number, attribute, str(value))


if __name__ == '__main__':
    main()
