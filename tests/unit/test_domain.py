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

"""What is in a domain; how it is changed, the simulated libvirt is held to."""

from unittest import mock

import ddt
from nova import exception as nova_exception
from nova.network import model
from oslotest import base

from nova_vf_failover import domain

_PF = """
<hostdev mode='subsystem' type='pci' managed='yes'>
  <source>
    <address domain='0x0000' bus='0x81' slot='0x0a' function='0x1'/>
  </source>
  <alias name='hostdev0'/>
  <address type='pci' domain='0x0000' bus='0x00' slot='0x05' function='0x0'/>
</hostdev>"""
_VF = """
<interface type='hostdev' managed='yes'>
  <mac address='fa:16:3e:00:00:01'/>
  <source>
    <address type='pci' domain='0x0000' bus='0x81' slot='0x0a' function='0x1'/>
  </source>
</interface>"""
_VDPA = """
<interface type='vdpa'>
  <mac address='fa:16:3e:00:00:01'/>
  <source dev='/dev/vhost-vdpa-0'/>
</interface>"""
_STANDBY = """
<interface type='direct'>
  <mac address='fa:16:3e:00:00:01'/>
  <source dev='ens1f0.42' mode='bridge'/>
  <target dev='macvtap0'/>
</interface>"""
_MEDIATED = """
<hostdev mode='subsystem' type='mdev' model='vfio-pci'>
  <source>
    <address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/>
  </source>
</hostdev>"""


def seen(*devices):
    guest = mock.Mock()
    guest.get_xml_desc.return_value = (
        f'<domain><devices>{"".join(devices)}</devices></domain>')
    return domain.Domain(guest, 'server', mock.Mock())


@ddt.ddt
class DeviceOfPortTestCase(base.BaseTestCase):

    PORT = model.VIF(id='port', address='FA:16:3E:00:00:01',
                     profile={'pci_slot': '0000:81:0a.1'})

    @ddt.data(_PF, _VF, _VDPA)
    def test_is_there(self, device):
        self.assertTrue(seen(device).has_device_of(self.PORT))

    def test_standby_is_none(self):
        self.assertFalse(seen(_STANDBY).has_device_of(self.PORT))
        self.assertTrue(seen(_STANDBY, _VF).has_device_of(self.PORT))

    def test_that_of_another_one_is_none(self):
        other = model.VIF(id='other', address='fa:16:3e:00:00:02',
                          profile={'pci_slot': '0000:81:0a.2'})

        self.assertFalse(seen(_PF, _VF, _VDPA).has_device_of(other))

    def test_the_address_in_the_guest_is_another_matter(self):
        port = model.VIF(id='port', address='fa:16:3e:00:00:02',
                         profile={'pci_slot': '0000:00:05.0'})

        self.assertFalse(seen(_PF).has_device_of(port))

    @ddt.data({}, None)
    def test_port_without_an_address_on_the_host(self, profile):
        port = model.VIF(id='port', address='fa:16:3e:00:00:02',
                         profile=profile)

        self.assertFalse(seen(_MEDIATED, _PF).has_device_of(port))


class DetachTestCase(base.BaseTestCase):
    """What Nova's detach says is held against the domain."""

    MAC = 'fa:16:3e:00:00:01'

    def detach(self, device, detach, active=True):
        guest = mock.Mock()
        guest.get_xml_desc.return_value = (
            f'<domain><devices>{device}</devices></domain>')
        guest.is_active.return_value = active
        domain.Domain(guest, 'server', detach).detach_primary(self.MAC)

    def test_a_guest_that_sleeps_keeps_it(self):
        error = self.assertRaises(
            nova_exception.DeviceDetachFailed, self.detach, _VF, mock.Mock())

        self.assertIn(self.MAC, str(error))

    def test_what_libvirt_does_not_find_and_the_domain_has(self):
        self.assertRaises(
            nova_exception.DeviceDetachFailed, self.detach, _VF, mock.Mock(
                side_effect=nova_exception.DeviceNotFound(device='eth0')))

    def test_of_a_server_that_is_off(self):
        detach = mock.Mock()

        self.detach(_VF, detach, active=False)

        detach.assert_called_once()

    def test_nothing_to_do(self):
        detach = mock.Mock()

        self.detach(_STANDBY, detach)

        detach.assert_not_called()
