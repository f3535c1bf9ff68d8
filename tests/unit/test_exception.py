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

from oslotest import base

from nova_vf_failover import exception


class CannotSwapTestCase(base.BaseTestCase):

    def said(self, subject):
        return str(exception.CannotSwap(subject, 'it is so.', 'Do this.',
                                        'More.'))

    def test_a_port(self):
        self.assertEqual('Port first: it is so. Do this. More.',
                         self.said(exception.ports('first')))

    def test_ports(self):
        self.assertEqual('Ports first, second: it is so. Do this. More.',
                         self.said(exception.ports('first', 'second')))

    def test_a_server(self):
        self.assertEqual('Server its: it is so. Do this. More.',
                         self.said(exception.server('its')))
