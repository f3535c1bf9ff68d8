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

import contextlib
import dataclasses
import errno
from unittest import mock

import ddt
import fixtures
from nova.network import model
from oslotest import base

from nova_vf_failover import exception
from nova_vf_failover.standby import links
from nova_vf_failover.standby import macvtap

PF = links.Link('ens1f0', 4, up=True, carrier=True, mtu=1500)


def nobody():
    """No server is on its way to this host."""
    return False


class PaperLinks(links.HostLinks):
    """The links of a host that exists on paper."""

    def __init__(self, *known):
        self.known = {link.name: link for link in known}
        self.dumps = 0

    def find(self, name):
        return self.known.get(name)

    def mark(self, name, alias):
        self.known[name] = dataclasses.replace(self.known[name], alias=alias)

    def add_vlan(self, lower, name, vlan, alias):
        self.known[name] = links.Link(
            name, 9, up=True, carrier=True, mtu=1500, kind='vlan',
            alias=alias, lower=lower, vlan=vlan)

    def remove(self, name):
        del self.known[name]
        self.known = {link.name: dataclasses.replace(link, uppers=tuple(
            upper for upper in link.uppers if upper != name))
            for link in self.known.values()}

    def _all(self):
        self.dumps += 1
        return list(self.known.values())

    def receive_all_groups(self, name):
        """Every link here does."""

    def addresses(self, name):
        return []

    def can_keep_host_off(self):
        return True

    def keep_host_off(self, name):
        """No host is on any link here."""


@ddt.ddt
class MacvtapTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.uplink = 'ens1f0'
        self.useFixture(fixtures.MockPatch(
            'nova.pci.utils.get_ifname_by_pci_address',
            side_effect=lambda address, pf_interface: self.uplink))

    def vif(self, vlan=None, mtu=1500):
        return model.VIF(
            id='port-1', address='fa:16:3e:00:00:01', type='hw_veb',
            vnic_type='direct', profile={'pci_slot': '0000:81:00.2'},
            details={} if vlan is None else {'vlan': vlan},
            network=model.Network(id='net', mtu=mtu))

    def test_flat_stands_on_the_pf(self):
        standby = macvtap.MacvtapStandby(PaperLinks(PF)).describe(self.vif())

        self.assertEqual(('macvtap', 'normal', {}), (
            standby['type'], standby['vnic_type'], standby['profile']))
        self.assertEqual({'physical_interface': 'ens1f0',
                          'macvtap_source': 'ens1f0',
                          'macvtap_mode': 'bridge'}, standby['details'])

    def test_vlan_zero_is_flat(self):
        driver = macvtap.MacvtapStandby(PaperLinks(PF))

        for vlan in ('0', 0):
            details = driver.describe(self.vif(vlan))['details']
            self.assertEqual('ens1f0', details['macvtap_source'])
            self.assertNotIn('vlan', details)

    def test_vlan_stands_on_a_device_of_its_own(self):
        vif = self.vif('42')
        standby = macvtap.MacvtapStandby(PaperLinks(PF)).describe(vif)

        self.assertEqual('ens1f0.42', standby['details']['macvtap_source'])
        self.assertEqual('42', standby['details']['vlan'])
        self.assertEqual('hw_veb', vif['type'])

    def test_a_name_that_the_kernel_would_refuse_is_shortened(self):
        self.uplink = 'enp129s0f0np0'
        driver = macvtap.MacvtapStandby(PaperLinks())

        names = {driver.describe(self.vif(vlan))['details']['macvtap_source']
                 for vlan in ('42', '43', '4094', '4094')}

        self.assertEqual(3, len(names))
        self.assertTrue(all(len(name) <= 15 for name in names), names)
        self.uplink = 'enp129s0f1np1'
        self.assertNotIn(driver.describe(self.vif('42'))['details'][
            'macvtap_source'], names)

    def test_what_stands_in_the_way_is_named_with_its_cure(self):
        for known, words in (
                ([], 'ens1f0 does not exist'),
                ([dataclasses.replace(PF, master='br-ex',
                                      master_kind='bridge')],
                 'port of the bridge br-ex'),
                ([dataclasses.replace(PF, up=False)], 'ip link set ens1f0 up'),
                ([dataclasses.replace(PF, carrier=False)], 'no carrier'),
                ([dataclasses.replace(PF, mtu=1400)],
                 'ip link set ens1f0 mtu 1500')):
            error = self.assertRaises(
                exception.CannotSwap,
                macvtap.MacvtapStandby(PaperLinks(*known)).check, self.vif())
            self.assertIn(words, str(error))
            self.assertIn('port-1', str(error))

    def test_a_good_pf_passes(self):
        macvtap.MacvtapStandby(PaperLinks(PF)).check(self.vif())
        macvtap.MacvtapStandby(PaperLinks(PF)).check(self.vif('42'))

    def test_the_vlan_device_may_stand_in_the_way(self):
        vlan = links.Link('ens1f0.42', 8, up=True, carrier=True, mtu=1500,
                          kind='vlan', lower='ens1f0', vlan=42)
        for known, words in (
                (dict(master='brq1', master_kind='bridge'),
                 'VLAN device ens1f0.42 is a port of the bridge brq1'),
                (dict(up=False), 'ip link set ens1f0.42 up'),
                (dict(mtu=1400), 'ip link set ens1f0.42 mtu 1500'),
                (dict(name='vlan42'),
                 'VLAN 42 of PF ens1f0 is already the link vlan42'),
                (dict(vlan=7), 'ens1f0.42 is not VLAN 42 of PF ens1f0'),
                (dict(lower='ens1f1'),
                 'ens1f0.42 is not VLAN 42 of PF ens1f0'),
                (dict(kind='dummy', vlan=None, lower=None),
                 'ens1f0.42 is not VLAN 42 of PF ens1f0')):
            driver = macvtap.MacvtapStandby(PaperLinks(
                PF, dataclasses.replace(vlan, **known)))

            error = self.assertRaises(
                exception.CannotSwap, driver.check, self.vif('42'))

            self.assertIn(words, str(error))
            self.assertIn('port-1', str(error))
            # It is no matter of ports on a flat network.
            driver.check(self.vif())

    def test_a_good_vlan_device_passes(self):
        vlan = links.Link('ens1f0.42', 8, up=True, carrier=True, mtu=1500,
                          kind='vlan', lower='ens1f0', vlan=42)
        other = dataclasses.replace(vlan, name='vlan43', vlan=43)
        # One that was being made goes before it is made again.
        cut_off = dataclasses.replace(vlan, name='vffnew01234567', up=False)

        for known in ([vlan, other], [cut_off]):
            macvtap.MacvtapStandby(PaperLinks(PF, *known)).check(
                self.vif('42'))

    def plugged(self, host_links, vlan='42'):
        driver = macvtap.MacvtapStandby(host_links)
        standby = driver.describe(self.vif(vlan))
        with driver.plugging(standby):
            """Nova finds it and makes none."""
        return driver, standby

    def test_a_vlan_device_goes_with_its_last_standby(self):
        host_links = PaperLinks(PF)
        driver, standby = self.plugged(host_links)
        alone = host_links.known['ens1f0.42']
        host_links.known['ens1f0.42'] = dataclasses.replace(
            alone, uppers=('macvtap1',))

        driver.release(standby)
        self.assertIn('ens1f0.42', host_links.known)

        host_links.known['ens1f0.42'] = alone
        driver.release(standby)
        driver.release(standby)
        self.assertEqual({'ens1f0'}, set(host_links.known))

    def test_what_nobody_released_is_swept(self):
        host_links = PaperLinks(PF, links.Link(
            'ens1f0.7', 8, up=True, carrier=True, mtu=1500, kind='vlan',
            alias='theirs'))
        driver, _ = self.plugged(host_links)

        driver.sweep(set, nobody)

        self.assertEqual({'ens1f0', 'ens1f0.7'}, set(host_links.known))

    def test_nobody_is_asked_on_a_host_without_anything_of_ours(self):
        host_links = PaperLinks(PF, links.Link(
            'ens1f0.7', 8, up=True, carrier=True, mtu=1500, kind='vlan',
            alias='theirs', lower='ens1f0', vlan=7))
        self.macvtap(host_links, 'macvtap0', 'ens1f0.7')
        driver = macvtap.MacvtapStandby(host_links)
        nobodys = mock.Mock()

        driver.sweep(nobodys.used, nobodys.arriving)

        self.assertEqual([], nobodys.mock_calls)
        self.assertEqual(1, host_links.dumps)
        self.assertEqual({'ens1f0', 'ens1f0.7', 'macvtap0'},
                         set(host_links.known))

    def test_a_standby_that_is_awaited_is_asked_for(self):
        host_links = PaperLinks(PF)
        driver, _ = self.plugged(host_links, vlan=None)
        arriving = mock.Mock(return_value=False)

        # No link tells of one on a flat network.
        driver.sweep(set, arriving)
        driver.sweep(set, arriving)

        arriving.assert_called_once_with()

    def test_an_orphan_is_forgotten_where_there_is_nothing_of_ours(self):
        host_links = PaperLinks(PF)
        driver = macvtap.MacvtapStandby(host_links)
        self.macvtap(host_links, 'macvtap0', 'ens1f0', alias=macvtap.MARK)
        orphan = host_links.known['macvtap0']
        driver.sweep(set, nobody)
        host_links.remove('macvtap0')
        driver.sweep(set, nobody)

        # Not even one of the same name and index goes at once.
        host_links.known['macvtap0'] = orphan
        driver.sweep(set, nobody)

        self.assertIn('macvtap0', host_links.known)

    def test_what_came_while_it_was_asked_who_arrives_is_seen(self):
        host_links = PaperLinks(PF)
        driver, _ = self.plugged(host_links)

        def arrived():
            # Its server came, and its migration is over.
            self.macvtap(host_links, 'macvtap0', 'ens1f0.42')
            return False

        driver.sweep(lambda: {'macvtap0'}, arrived)

        self.assertIn('ens1f0.42', host_links.known)

    def test_what_was_being_made_when_it_was_cut_off_is_swept(self):
        host_links = PaperLinks(PF, links.Link(
            'vffnew01234567', 8, up=False, carrier=False, mtu=1500,
            kind='vlan'))

        macvtap.MacvtapStandby(host_links).sweep(set, nobody)

        self.assertEqual({'ens1f0'}, set(host_links.known))

    def test_a_vlan_device_stays_for_a_standby_that_is_to_come(self):
        host_links = PaperLinks(PF)
        driver, standby = self.plugged(host_links)
        other = dict(standby, id='port-2')
        with driver.plugging(other):
            """Its macvtap is made when its server comes."""

        # A server on the same VLAN leaves the host meanwhile.
        driver.release(standby)
        self.assertIn('ens1f0.42', host_links.known)

        driver.release(other)
        self.assertEqual({'ens1f0'}, set(host_links.known))

    def test_what_is_plugged_while_the_links_are_listed_stays(self):
        host_links = PaperLinks(PF)
        driver = macvtap.MacvtapStandby(host_links)
        listed = host_links._all()

        def too_early_to_see_it():
            host_links._all = lambda: list(host_links.known.values())
            with driver.plugging(driver.describe(self.vif('42'))):
                """It is not listed."""
            return listed

        host_links._all = too_early_to_see_it
        driver.sweep(set, nobody)

        self.assertIn('ens1f0.42', host_links.known)

    def test_what_is_plugged_while_it_is_asked_who_arrives_stays(self):
        # There is something to ask for.
        host_links = PaperLinks(PF, links.Link(
            'ens1f0.7', 8, up=True, carrier=True, mtu=1500, kind='vlan',
            alias=macvtap.MARK))
        driver = macvtap.MacvtapStandby(host_links)

        def too_early_to_see_it():
            with driver.plugging(driver.describe(self.vif('42'))):
                """It is not told of."""
            return False

        driver.sweep(set, too_early_to_see_it)
        self.assertIn('ens1f0.42', host_links.known)

        driver.sweep(set, lambda: True)
        self.assertIn('ens1f0.42', host_links.known)

        driver.sweep(set, nobody)
        self.assertEqual({'ens1f0'}, set(host_links.known))

    def test_what_is_plugged_again_while_it_is_asked_who_arrives_stays(self):
        host_links = PaperLinks(PF)
        driver = macvtap.MacvtapStandby(host_links)
        standby = driver.describe(self.vif('42'))
        with driver.plugging(standby):
            """Its server does not come."""

        with contextlib.ExitStack() as stack:
            def too_early_to_see_it():
                stack.enter_context(driver.plugging(standby))
                return False

            driver.sweep(set, too_early_to_see_it)

            self.assertIn('ens1f0.42', host_links.known)

    def test_what_is_plugged_again_to_its_end_during_a_sweep_stays(self):
        host_links = PaperLinks(PF)
        # There is something of which it is asked who has it.
        self.macvtap(host_links, 'macvtap0', 'ens1f0', alias=macvtap.MARK)
        # Its server does not come.
        driver, standby = self.plugged(host_links)

        def plug_again():
            with driver.plugging(standby):
                """Its server is about to come once more."""
            return {'macvtap0'}

        driver.sweep(plug_again, nobody)
        self.assertIn('ens1f0.42', host_links.known)

        driver.sweep(lambda: {'macvtap0'}, nobody)
        self.assertNotIn('ens1f0.42', host_links.known)

    def test_what_is_just_being_plugged_stays(self):
        host_links = PaperLinks(PF)
        driver = macvtap.MacvtapStandby(host_links)

        with driver.plugging(driver.describe(self.vif('42'))):
            driver.sweep(set, nobody)

        self.assertIn('ens1f0.42', host_links.known)

    def macvtap(self, host_links, name, lower, **keywords):
        host_links.known[name] = links.Link(
            name, 20 + len(host_links.known), up=True, carrier=True,
            mtu=1500, kind='macvtap', lower=lower, **keywords)
        host_links.known[lower] = dataclasses.replace(
            host_links.known[lower], uppers=(name,))

    def test_a_host_whose_sysctls_cannot_be_written(self):
        host_links = PaperLinks(PF)
        driver, _ = self.plugged(host_links)
        self.macvtap(host_links, 'macvtap0', 'ens1f0.42')
        self.useFixture(fixtures.MockPatchObject(
            host_links, 'keep_host_off',
            side_effect=OSError(errno.EROFS, 'Read-only file system')))

        driver.attached('macvtap0')

        self.assertEqual(macvtap.MARK, host_links.known['macvtap0'].alias)

    def test_the_host_is_kept_off_a_standby(self):
        host_links = PaperLinks(PF)
        driver, _ = self.plugged(host_links)
        self.macvtap(host_links, 'macvtap0', 'ens1f0.42')

        with self.shut_off(host_links) as shut:
            driver.attached('macvtap0')

        shut.assert_called_once_with('macvtap0')

    def test_macvtaps_without_a_domain_are_swept_at_the_second_look(self):
        host_links = PaperLinks(PF)
        driver, _ = self.plugged(host_links)
        # It was not marked yet when nova-compute died.
        self.macvtap(host_links, 'macvtap0', 'ens1f0.42')
        self.macvtap(host_links, 'macvtap1', 'ens1f0')
        driver.attached('macvtap1')

        driver.sweep(set, nobody)
        self.assertLessEqual({'macvtap0', 'macvtap1'}, set(host_links.known))
        driver.sweep(set, nobody)

        self.assertEqual({'ens1f0'}, set(host_links.known))

    def test_one_sweep_at_a_time(self):
        host_links = PaperLinks(PF)
        driver, standby = self.plugged(host_links)
        driver.release(standby)
        self.macvtap(host_links, 'macvtap0', 'ens1f0', alias=macvtap.MARK)
        asked = []

        def sweep_again():
            if len(asked) < 9:
                asked.append(1)
                driver.sweep(sweep_again, nobody)
            return set()

        driver.sweep(sweep_again, nobody)

        self.assertEqual([1], asked)
        self.assertIn('macvtap0', host_links.known)

    def test_a_vlan_device_of_an_older_release(self):
        host_links = PaperLinks(PF)
        self.plugged(host_links)

        with self.shut_off(host_links) as shut:
            self.plugged(host_links)

        shut.assert_called_once_with('ens1f0.42')

    def test_a_vlan_device_of_an_operator_stays_as_it_is(self):
        host_links = PaperLinks(PF)
        self.plugged(host_links)
        host_links.known['ens1f0.42'] = dataclasses.replace(
            host_links.known['ens1f0.42'], alias=None)

        with self.shut_off(host_links) as shut:
            self.plugged(host_links)

        shut.assert_not_called()

    def shut_off(self, host_links):
        return mock.patch.object(host_links, 'keep_host_off', autospec=True)

    def test_a_host_that_cannot_be_kept_off_a_vlan(self):
        host_links = PaperLinks(PF)
        driver = macvtap.MacvtapStandby(host_links)
        self.useFixture(fixtures.MockPatchObject(
            host_links, 'can_keep_host_off', return_value=False))

        error = self.assertRaises(exception.CannotSwap, driver.check,
                                  self.vif('42'))
        driver.check(self.vif())

        self.assertIn('/proc/sys', driver.limit()[0])
        self.assertIsNone(macvtap.MacvtapStandby(PaperLinks(PF)).limit())
        self.assertIn('VLAN 42 of PF ens1f0', str(error))
        self.assertIn('/proc/sys', str(error))
        # One of an older release is no better.
        with driver.plugging(driver.describe(self.vif('42'))):
            self.assertRaises(exception.CannotSwap, driver.check,
                              self.vif('42'))
            host_links.known['ens1f0.42'] = dataclasses.replace(
                host_links.known['ens1f0.42'], alias=None)
            driver.check(self.vif('42'))

    def test_addresses_that_a_standby_does_not_reach(self):
        host_links = PaperLinks(
            PF, links.Link('mgmt', 8, True, True, 1500, kind='vlan',
                           lower='ens1f0', vlan=7),
            links.Link('other', 9, True, True, 1500, kind='vlan',
                       lower='ens1f1', vlan=7))
        driver = macvtap.MacvtapStandby(host_links)
        with driver.plugging(driver.describe(self.vif('42'))):
            self.assertIsNone(driver.out_of_reach(self.vif()))

            with mock.patch.object(host_links, 'addresses',
                                   lambda name: [f'address of {name}']):
                sentence, _ = driver.out_of_reach(self.vif())

        self.assertIn('has address of ens1f0 on ens1f0, address of mgmt on '
                      'mgmt:', sentence)

    @ddt.data('42', None)
    def test_macvtaps_that_are_just_being_plugged_stay(self, vlan):
        """libvirt has made it; QEMU takes longer than two looks are apart."""
        host_links = PaperLinks(PF)
        driver = macvtap.MacvtapStandby(host_links)
        standby = driver.describe(self.vif(vlan))

        with driver.plugging(standby):
            self.macvtap(host_links, 'macvtap0', standby['details'][
                'macvtap_source'], alias=macvtap.MARK)
            driver.sweep(set, nobody)
            driver.sweep(set, nobody)
            self.assertIn('macvtap0', host_links.known)
        driver.sweep(set, nobody)
        driver.sweep(set, nobody)

        self.assertNotIn('macvtap0', host_links.known)

    def test_macvtaps_of_domains_and_of_others_stay(self):
        host_links = PaperLinks(PF)
        driver, _ = self.plugged(host_links)
        self.macvtap(host_links, 'macvtap0', 'ens1f0.42')
        self.macvtap(host_links, 'macvtap1', 'ens1f0')
        self.macvtap(host_links, 'macvtap2', 'ens1f0', alias='theirs')

        for _look in range(3):
            driver.sweep(lambda: {'macvtap0'}, nobody)

        self.assertEqual({'ens1f0', 'ens1f0.42', 'macvtap0', 'macvtap1',
                          'macvtap2'}, set(host_links.known))

    def test_a_macvtap_that_comes_between_two_looks_is_not_an_orphan(self):
        host_links = PaperLinks(PF)
        driver, _ = self.plugged(host_links)
        self.macvtap(host_links, 'macvtap0', 'ens1f0.42')
        driver.sweep(set, nobody)
        host_links.remove('macvtap0')
        # The kernel has given the name once more, and not the index.
        self.macvtap(host_links, 'macvtap0', 'ens1f0.42')
        host_links.known['macvtap0'] = dataclasses.replace(
            host_links.known['macvtap0'], index=99)

        driver.sweep(set, nobody)

        self.assertIn('macvtap0', host_links.known)

    def test_a_device_of_a_plugging_that_failed_is_ours_too(self):
        host_links = PaperLinks(PF)
        driver = macvtap.MacvtapStandby(host_links)
        standby = driver.describe(self.vif('42'))

        def fail():
            with driver.plugging(standby):
                self.assertIn('ens1f0.42', host_links.known)
                raise RuntimeError()

        self.assertRaises(RuntimeError, fail)
        driver.release(standby)
        self.assertEqual({'ens1f0'}, set(host_links.known))

    def test_a_vlan_device_of_somebody_else_stays(self):
        host_links = PaperLinks(PF, links.Link(
            'ens1f0.42', 9, up=True, carrier=True, mtu=1500, kind='vlan'))
        driver, standby = self.plugged(host_links)

        driver.release(standby)

        self.assertIn('ens1f0.42', host_links.known)

    def test_the_pf_itself_is_never_removed(self):
        host_links = PaperLinks(dataclasses.replace(PF, alias=macvtap.MARK))
        driver, standby = self.plugged(host_links, vlan=None)

        driver.release(standby)

        self.assertIn('ens1f0', host_links.known)
