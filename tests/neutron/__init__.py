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

"""The demonstration's cloud with a real Neutron: ``tox -e neutron``.

Real here are Neutron's API, its RPC server with ML2 and ``sriovnicswitch``,
and its SR-IOV agent, each a process of its own, with a RabbitMQ between them.
What the agent would read from sysfs and from netlink about a PF and its VFs is
in files, for the hosts have none; see :mod:`tests.neutron.sriov_agent`.
"""
