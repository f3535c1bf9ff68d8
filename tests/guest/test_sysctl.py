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

"""Sysctls whose order, or whose value for all NICs, counts."""


import ddt
from oslotest import base

from nova_vf_failover.guest import sysctl
from tests.guest import cables


@ddt.ddt
class SysctlTestCase(cables.LoneGuestTestCase):

    def snapshot(self):
        return self.guest.inside(lambda: sysctl.snapshot('eth0'))

    def test_a_secret_makes_no_address_of_the_kernels_own(self):
        """With it the kernel would make one from the secret."""
        wanted = {sysctl.ADDR_GEN_MODE: '1', sysctl.STABLE_SECRET: 'fd00::7'}

        self.guest.inside(lambda: sysctl.write_changed('eth0', wanted))

        self.assertEqual('1', self.snapshot()[sysctl.ADDR_GEN_MODE])
        self.assertIn(sysctl.STABLE_SECRET, self.snapshot())

    @ddt.unpack
    @ddt.named_data(
        ['nobody', '0', '0', '0'], ['this_nic', '0', '1', '2'],
        ['all_nics', '1', '0', '2'], ['loosely', '0', '2', '2'])
    def test_who_filters(self, of_all, own, expected):
        """Beside another NIC a strict filter would drop what comes in."""
        self.guest.run('sysctl', '-qw',
                       f'net.ipv4.conf.all.rp_filter={of_all}',
                       f'net.ipv4.conf.eth0.rp_filter={own}')

        found = self.snapshot()
        self.assertEqual(expected, self.guest.inside(
            lambda: sysctl.loose_filter(found)))


@ddt.ddt
class RouterTestCase(base.BaseTestCase):
    """Whether the kernel makes routes of what routers say."""

    @ddt.unpack
    @ddt.named_data(
        ['a_host', '1', '0', True], ['a_router', '1', '1', False],
        ['a_router_that_asks_others', '2', '1', True],
        ['nobody', '0', '0', False])
    def test_who_heeds_routers(self, accept_ra, forwarding, expected):
        self.assertIs(expected, sysctl.heeds_routers({
            sysctl.ACCEPT_RA: accept_ra, sysctl.FORWARDING: forwarding}))
