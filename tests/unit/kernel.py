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

"""The kernel of this machine, with a network of a test's own."""

import fixtures
import nova.privsep
import pyroute2
from pyroute2 import netns

from tests.simulation.fabric import namespace


class OwnNetwork(fixtures.Fixture):
    """The thread of the test is in a namespace with ``pf0``, which is up.

    What needs privileges is called in this thread, and so in the namespace.

    :ivar pf: the index of ``pf0``
    """

    def _setUp(self):
        name = namespace.unique_name('own')
        netns.create(name)
        self.addCleanup(netns.remove, name)
        netns.pushns(name)
        self.addCleanup(netns.popns)
        nova.privsep.sys_admin_pctxt.set_client_mode(False)
        self.addCleanup(nova.privsep.sys_admin_pctxt.set_client_mode, True)
        with pyroute2.IPRoute() as netlink:
            netlink.link('add', ifname='pf0', kind='veth', peer='wire')
            self.pf, = netlink.link_lookup(ifname='pf0')
            wire, = netlink.link_lookup(ifname='wire')
            netlink.link('set', index=wire, state='up')
            netlink.link('set', index=self.pf, state='up')
