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

"""A cloud's hardware, simulated: what runs below Nova's libvirt driver.

Real in every test and demo that uses it: Nova's services, its libvirt driver,
Placement, this plugin and its channels. Simulated, and held to the behaviour
of the real thing by ``tests/unit/simulation``:

``hypervisor``
    libvirt's connections and domains, after libvirt 11.3: two interfaces of
    one MAC, aliases, guest PCI addresses, events, metadata, migration.
``guest_agent``
    the QEMU guest agent with its protocol, and libvirt's errors around it.
``dataplane``
    what libvirt and the NIC do to a host's interfaces: in ``paper`` they are
    kept in memory, which refuses what a kernel would; in ``fabric`` they are
    the kernel's, in namespaces.
``paper_agent``
    a guest's ``vf-failover-agent``, which can be made to misbehave. With
    ``fabric`` the real agent runs in its place.
``neutron``
    Neutron's ports and their bindings, held to a real one by
    ``tox -e neutron``.
``hosts``
    the fixture that puts all this below Nova.
"""

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401
