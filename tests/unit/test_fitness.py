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


import nova.tests.functional  # noqa: F401 isort: skip

import types

import fixtures
from nova import exception as nova_exception
from nova.tests.fixtures import libvirt as fakelibvirt
from oslotest import base

from nova_vf_failover import fitness
from nova_vf_failover.standby import links

VF = '0000:81:0a.3'
PF = links.Link('ens1f0', 4, up=True, carrier=True, mtu=1500)

_DOMAIN = """
<domain><devices>
  <disk><source file='/x'/></disk>
  <hostdev><source><vendor id='0x1'/></source></hostdev>
  <{tag} type='hostdev'><source>
    <address type='pci' domain='0x0000' bus='0x81' slot='0x0a'
             function='0x3'/></source>
    <address type='pci' domain='0x0000' bus='0x02' slot='0x00'
             function='0x0'/></{tag}>
</devices></domain>
"""


class FitnessTestCase(base.BaseTestCase):

    def fault(self, *known, server='ours', tag=None, of='another'):
        guests = [] if tag is None else [types.SimpleNamespace(
            uuid=of, get_xml_desc=lambda: _DOMAIN.format(tag=tag))]
        host_links = links.HostLinks()
        host_links._all = lambda: list(known)
        return fitness.Fitness(lambda: guests, host_links).fault(VF, server)

    def name(self, effect):
        self.useFixture(fixtures.MockPatch(
            'nova.pci.utils.get_ifname_by_pci_address', side_effect=effect))

    def test_what_is_wrong_is_named(self):
        self.name(lambda address, pf_interface: 'ens1f0')
        for known, words in (
                ([], 'gone with its PF ens1f0'),
                ([types.SimpleNamespace(name='ens1f0', up=False)],
                 'ens1f0, which is down'),
                ([types.SimpleNamespace(name='ens1f0', up=True,
                                        carrier=False)], 'no carrier')):
            fault = self.fault(*known)
            self.assertIn(words, fault)
            self.assertIn(VF, fault)

    def test_a_vf_that_has_gone(self):
        self.name(nova_exception.PciDeviceNotFoundById(id=VF))

        self.assertIn('has gone', self.fault(PF))

    def test_a_vf_of_another_domain(self):
        self.name(lambda address, pf_interface: 'ens1f0')

        for tag in ('interface', 'hostdev'):
            self.assertIn('in the domain of server another',
                          self.fault(PF, tag=tag))
        self.assertIsNone(self.fault(PF, tag='interface', of='ours'))

    def test_a_good_one(self):
        self.name(lambda address, pf_interface: 'ens1f0')

        self.assertIsNone(self.fault(PF))

    def test_a_domain_that_goes_meanwhile_holds_nothing(self):
        self.name(lambda address, pf_interface: 'ens1f0')
        host_links = links.HostLinks()
        host_links._all = lambda: [PF]
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.guest.libvirt', fakelibvirt))

        def looked_at(code):
            def gone():
                raise fakelibvirt.make_libvirtError(
                    fakelibvirt.libvirtError, 'so it is', error_code=code)

            guests = [types.SimpleNamespace(uuid='gone', get_xml_desc=gone),
                      types.SimpleNamespace(
                          uuid='another', get_xml_desc=lambda: _DOMAIN.format(
                              tag='interface'))]
            return fitness.Fitness(lambda: guests, host_links).fault(
                VF, 'ours')

        self.assertIn('server another',
                      looked_at(fakelibvirt.VIR_ERR_NO_DOMAIN))
        self.assertRaises(fakelibvirt.libvirtError, looked_at,
                          fakelibvirt.VIR_ERR_INTERNAL_ERROR)
