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

import time

import ddt
from oslotest import base

from nova_vf_failover.channels import intent as intents
from nova_vf_failover.channels import items
from nova_vf_failover import exception
from nova_vf_failover.guest import intent as guest_intents
from nova_vf_failover.guest import metadata as guest_metadata

NOW = 1764000000000


def intent(ports, timeout=30):
    return intents.Intent(NOW, intents.Use.PRIMARY, timeout, {
        f'port-{number}': f'FA:16:3e:00:00:{number:02X}'
        for number in range(ports)})


@ddt.ddt
class BuildTestCase(base.BaseTestCase):

    def test_text(self):
        self.assertEqual(
            {'vf_failover':
             f'1 {NOW} 1/1 primary 30 fa163e000000 fa163e000001'},
            items.build(intent(2)))

    @ddt.data(1, 16, 17, 18, 35, 64)
    def test_the_agent_reads_what_was_built(self, ports):
        built = items.build(intent(ports, 60.5))

        self.assertLessEqual(max(map(len, built.values())),
                             items.LONGEST_VALUE)
        read = guest_metadata.read(built)
        self.assertEqual((NOW, 'primary', 60.5), (
            read.generation, read.use, read.timeout))
        self.assertEqual([f'fa:16:3e:00:00:{number:02x}'
                          for number in range(ports)],
                         [port.mac for port in read.ports])

    def test_too_many_ports(self):
        error = self.assertRaises(
            exception.ChannelError, items.build, intent(65))

        self.assertIn('65 VF ports', str(error))

    def test_only_our_items_are_replaced(self):
        metadata = {'owner': 'me', 'vf_failover': 'old',
                    'vf_failover_3': 'old', 'vf_failover_x': 'not ours'}

        merged = items.merged(metadata, {'vf_failover': 'new'})

        self.assertEqual({'owner': 'me', 'vf_failover': 'new',
                          'vf_failover_x': 'not ours'}, merged)

    def test_an_item_of_somebody_else(self):
        built = items.build(intent(40))

        self.assertEqual([], items.foreign(built))
        self.assertEqual(['vf_failover'], items.foreign(
            dict(built, vf_failover='yes')))


@ddt.ddt
class ReadTestCase(base.BaseTestCase):

    def test_nothing_there(self):
        self.assertIsNone(guest_metadata.read({'owner': 'me'}))

    def test_parts_of_two_intents(self):
        built = items.build(intent(40))
        newer = {name: value.replace(str(NOW), str(NOW + 1))
                 for name, value in built.items()}
        for name in built:
            self.assertRaises(guest_intents.BadIntent, guest_metadata.read,
                              dict(built, **{name: newer[name]}))

    def test_a_part_is_missing(self):
        built = items.build(intent(40))
        for name in set(built) - {items.NAME}:
            self.assertRaises(
                guest_intents.BadIntent, guest_metadata.read,
                {key: value for key, value in built.items() if key != name})

    @ddt.data(5, None, '', 'x' * 100000, '1 5 0/0 standby 30 fa163e000001',
              '1 5 1/99 standby 30 fa163e000001',
              '1 5 1/1 standby 1.2.3 fa163e000001',
              '1 0 1/1 standby 30 fa163e000001',
              '1 9999999999999999 1/1 standby 30 fa163e000001',
              '1 5 1/1 standby 30', '1 5 1/1 standby 30 fa163e00000',
              '1 5 1/1 standby 30 fa163e000001 fa163e000001',
              '1 5 1/1 standby 30 fa163e000001\n',
              '1 \u0665 1/1 standby 30 fa163e000001')
    def test_no_intent(self, value):
        self.assertRaises(guest_intents.BadIntent, guest_metadata.read,
                          {items.NAME: value})


@ddt.ddt
class AgeTestCase(base.BaseTestCase):

    def read(self):
        return guest_metadata.read(items.build(intent(1)))

    @ddt.data(-86400, 0, 86400)
    def test_of_these_days(self, off):
        guest_metadata.check_age(self.read(), NOW / 1000 + off)

    @ddt.data(-86401, 86401)
    def test_not_of_these_days(self, off):
        self.assertRaises(guest_intents.BadIntent, guest_metadata.check_age,
                          self.read(), NOW / 1000 + off)

    def test_a_clock_that_was_never_set_cannot_tell(self):
        guest_metadata.check_age(self.read(), 3600.0)
        self.assertGreater(time.time(), guest_metadata._SANE)
