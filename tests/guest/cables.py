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

"""A namespace or two with a cable, for what needs no host around a guest."""

import os

from oslotest import base

from tests.simulation.fabric import namespace


class NamespaceTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        if os.geteuid():
            self.skipTest('network namespaces need root')

    def namespace(self, name):
        made = namespace.Namespace(name)
        self.addCleanup(made.close)
        return made


class CableTestCase(NamespaceTestCase):
    """Two ends of a cable, each of them ``eth0`` of its namespace."""

    def setUp(self):
        super().setUp()
        self.far, self.near = map(self.namespace, ('far', 'near'))
        self.far.add_veth('eth0', self.near, 'eth0')


class LoneGuestTestCase(NamespaceTestCase):
    """A guest whose NIC ``eth0`` has its other end, ``eth1``, there too."""

    def setUp(self):
        super().setUp()
        self.guest = self.namespace('guest')
        self.guest.run('ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer',
                       'name', 'eth1')
