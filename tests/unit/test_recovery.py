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

from unittest import mock

import fixtures
from oslo_config import cfg
from oslo_config import fixture as config
from oslotest import base

from nova_vf_failover import attempt
from nova_vf_failover import claims
from nova_vf_failover import conf
from nova_vf_failover import recovery


class BoundsTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        conf.register_opts(cfg.CONF)
        self.conf = self.useFixture(config.Config(cfg.CONF))

    def set(self, **options):
        self.conf.config(group='vf_failover', **options)

    def test_pauses_double_up_to_the_longest(self):
        self.set(recovery_interval=60, recovery_longest_pause=500)

        self.assertEqual([60, 120, 240, 480, 500, 500],
                         [attempt.pause(number) for number in range(1, 7)])
        self.assertEqual(500, attempt.pause(100000))

    def test_the_longest_may_be_shorter_than_a_period(self):
        self.set(recovery_interval=60, recovery_longest_pause=10)

        self.assertEqual(10, attempt.pause(1))

    def test_limit(self):
        self.set(recovery_attempts=3)
        self.assertEqual([False, True, True], [
            attempt.exhausted(number) for number in (2, 3, 4)])

        self.set(recovery_attempts=0)
        self.assertFalse(attempt.exhausted(1000))


class Wake:
    """Ends a recovery at the end of its first period."""

    def __init__(self):
        self.waits = []
        self.its = recovery.Recovery(mock.Mock())
        self.its._wake = self
        self.its._run()

    def wait(self, timeout):
        self.waits.append(timeout)
        self.its._stopped = True

    def clear(self):
        pass


class PeriodTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        conf.register_opts(cfg.CONF)
        self.useFixture(config.Config(cfg.CONF)).config(
            group='vf_failover', recovery_interval=60)

    def test_hosts_do_not_stay_in_step(self):
        drawn = self.useFixture(fixtures.MockPatch(
            'random.uniform', side_effect=[0.9, 1.1])).mock

        self.assertEqual([54.0, 66.0], [
            round(wait, 6) for _host in range(2) for wait in Wake().waits])

        drawn.assert_called_with(0.9, 1.1)

    def test_each_look_is_the_nearest_one_of_a_pause(self):
        # What is due at the next look must not wait for the one after it.
        now = 1000.0
        for spread in (0.9, 1.1):
            self.assertGreater(
                recovery.Recovery._nearest(now + 60 * spread), now + 60)


class ProvidersTestCase(base.BaseTestCase):
    """Which provider of Placement serves a port, from its binding."""

    def test_both_forms_that_neutron_has_had(self):
        self.assertEqual(
            {'port-1': ['rp-1'], 'group-a': ['rp-2'], 'group-b': ['rp-3']},
            claims._providers([
                {'id': 'port-1', 'profile': {'allocation': 'rp-1'}},
                {'id': 'port-2', 'profile': {'allocation': {
                    'group-a': 'rp-2', 'group-b': 'rp-3'}}},
                {'id': 'port-3', 'profile': {'pci_slot': '0000:81:00.1'}},
                {'id': 'port-4', 'profile': None}]))
