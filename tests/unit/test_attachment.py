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

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401 isort: skip

from unittest import mock

import ddt
import fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from oslotest import base

from nova_vf_failover import attachment
from nova_vf_failover import exception
from nova_vf_failover import ports


class ClaimTestCase(base.BaseTestCase):

    def port(self, name):
        return ports.Port(name, f'fa:16:3e:00:00:{name}', {'id': name})

    def test_the_others_go_on_without_one_that_has_none(self):
        first, second = self.port('01'), self.port('02')
        claims = mock.Mock()
        claims.reclaim.side_effect = [
            exception.CannotSwap(exception.ports('01'), 'none is left.', ''),
            {'id': '02', 'profile': 'another VF'}]
        guest = mock.Mock(**{'primary.return_value': None})

        ready, reasons = attachment.Attachment(
            None, guest, None, claims, None).claim([first, second])

        self.assertEqual([('02', 'another VF')], [
            (port.id, port.vif['profile']) for port in ready])
        self.assertEqual({'01': 'No VF can be claimed for it: Port 01: none '
                          'is left.'}, reasons)


@ddt.ddt
class ReattachTestCase(base.BaseTestCase):
    """Nova undoes a live migration for which it has detached ports itself."""

    @ddt.data(exception.JournalError('nobody understands it'),
              fakelibvirt.libvirtError('the domain has gone'))
    def test_a_vf_that_cannot_be_kept_does_not_keep_the_others(self, error):
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.guest.libvirt', fakelibvirt))
        first, second = ({
            'id': name, 'address': 'FA:16:3E:00:00:01', 'vnic_type': 'direct',
            'type': 'hw_veb', 'profile': {'pci_slot': '0000:81:00.1'}}
            for name in ('01', '02'))
        guest = mock.Mock(**{'has_device_of.side_effect': [True, False],
                             'has_kept_primary.side_effect': error})
        attached = []

        attachment.reattach(None, guest, [first, second], attached.append)

        self.assertEqual([second], attached)
