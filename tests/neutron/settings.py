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

"""The files that Neutron's services are started with."""

import pathlib

PHYSICAL_NETWORK = 'physnet4'

# SQLite lets one write at a time, and the others wait so many seconds.
_DATABASE_TIMEOUT = 60

_NEUTRON_CONF = """\
[DEFAULT]
core_plugin = ml2
service_plugins =
auth_strategy = keystone
api_paste_config = {folder}/api-paste.ini
state_path = {folder}
transport_url = {broker}
rpc_workers = 1
rpc_state_report_workers = 1
use_stderr = true
notify_nova_on_port_status_changes = {notify}
notify_nova_on_port_data_changes = {notify}
send_events_interval = 1

[database]
connection = sqlite:///{folder}/neutron.sqlite?timeout={timeout}

[oslo_concurrency]
lock_path = {folder}/locks

[ml2]
type_drivers = flat,vlan
tenant_network_types =
mechanism_drivers = sriovnicswitch
extension_drivers = port_security

[ml2_type_flat]
flat_networks = {physnet}

[ml2_type_vlan]
network_vlan_ranges = {physnet}:1:4000
"""

_CREDENTIALS = """
[{section}]
auth_type = v3password
auth_url = {identity}/v3
username = {user}
password = {password}
project_name = {project}
user_domain_id = default
project_domain_id = default
region_name = demo
"""

# Neutron's own pipeline without the filter that asks Keystone: the door before
# it has done that, and it passes on what Keystone would have said.
_API_PASTE = """\
[composite:neutron]
use = egg:Paste#urlmap
/: versions
/v2.0: api

[composite:api]
use = call:neutron.auth:pipeline_factory
keystone = request_id catch_errors keystonecontext extensions application

[composite:versions]
use = call:neutron.auth:pipeline_factory
keystone = neutronversions

[filter:request_id]
paste.filter_factory = oslo_middleware:RequestId.factory

[filter:catch_errors]
paste.filter_factory = oslo_middleware:CatchErrors.factory

[filter:keystonecontext]
paste.filter_factory = neutron.auth:NeutronKeystoneContext.factory

[filter:extensions]
paste.filter_factory = \
neutron.api.extensions:plugin_aware_extension_middleware_factory

[app:neutronversions]
paste.app_factory = neutron.pecan_wsgi.app:versions_factory

[app:application]
paste.app_factory = neutron.api.v2.router:APIRouter.factory
"""

_SRIOV_AGENT = """\
[DEFAULT]
host = {host}
transport_url = {broker}
state_path = {folder}

[oslo_concurrency]
lock_path = {folder}/locks

[agent]
report_interval = {report_interval}

[sriov_nic]
physical_device_mappings = {physnet}:{pf}

[securitygroup]
firewall_driver = noop
"""


def credentials(section: str, account: dict[str, str]) -> str:
    """How one service asks another one.

    :param section: of the one that is asked
    :param account: where Keystone is, and as whom
    """
    return _CREDENTIALS.format(section=section, **account)


def write_server(folder: pathlib.Path, broker: str,
                 nova: dict[str, str] | None) -> pathlib.Path:
    """Write what the API and the RPC server read.

    :param broker: the URL of RabbitMQ
    :param nova: where Nova is to be told of ports, and as whom; None if
        nobody is to be told
    :returns: the file to start them with
    """
    (folder / 'api-paste.ini').write_text(_API_PASTE)
    path = folder / 'neutron.conf'
    text = _NEUTRON_CONF.format(
        folder=folder, broker=broker, timeout=_DATABASE_TIMEOUT,
        physnet=PHYSICAL_NETWORK, notify=nova is not None)
    path.write_text(text + (credentials('nova', nova) if nova else ''))
    return path


def write_agent(folder: pathlib.Path, broker: str, host: str, pf: str,
                report_interval: int) -> pathlib.Path:
    """Write what the SR-IOV agent of a host reads.

    :returns: the file to start it with
    """
    path = folder / f'sriov-agent-{host}.conf'
    path.write_text(_SRIOV_AGENT.format(
        folder=folder, broker=broker, host=host, pf=pf,
        physnet=PHYSICAL_NETWORK, report_interval=report_interval))
    return path
