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

"""Servers to which anything happens, in any order."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.stateful import campaign  # isort: skip

import fixtures
from oslotest import base

from tests.simulation import paper_agent
from tests.stateful import machine
from tests.stateful import results

# What tox -e stateful has found once comes with another seed; these are few.
_SHARE = results.Share(seed=5, sequences=2, steps=8)


class LifeTestCase(base.BaseTestCase):

    def test_all_is_as_it_must_be_after_each_step(self):
        outcome = campaign.run(_SHARE, lambda step: None)

        self.assertEqual(results.Outcome(_SHARE.sequences), outcome)

    def test_what_is_wrong_is_told(self):
        # A failback that leaves the standby where it is.
        self.useFixture(fixtures.MockPatch(
            'nova_vf_failover.domain.Domain.detach_standby'))

        outcome = campaign.run(_SHARE, lambda step: None)

        self.assertIn('is not in the journal', outcome.violation)
        self.assertIn('state.first(', outcome.violation)

    def test_what_is_wrong_once_is_told_as_well(self):
        lives = set()

        def check(life, *_arguments):
            if life not in lives and len(lives) == 1:
                raise machine.Violated('the cloud is slow')
            lives.add(life)

        self.useFixture(fixtures.MonkeyPatch(
            'tests.stateful.machine.Life.check_invariants', check))

        outcome = campaign.run(
            results.Share(seed=5, sequences=2, steps=2), lambda step: None)

        self.assertEqual(1, outcome.sequences)
        self.assertIn('After no step:', outcome.violation)
        self.assertIn('Violated: the cloud is slow', outcome.violation)


class DegradedTestCase(base.BaseTestCase):
    """Somebody is degraded whose agent works again, and nobody has looked."""

    def setUp(self):
        super().setUp()
        self.life = machine.Life()
        self.addCleanup(self.life._end.close)
        self.life.first(0)
        self.server, = self.life.model.servers
        self.life._set_mood(self.server, paper_agent.Mood.STUCK)
        self.life.live_migrate(0)
        self.life.pause(0)
        self.life.agent_works(0)
        self.assertTrue(self.life.cloud.degraded(self.server))

    def break_recovery(self):
        self.useFixture(fixtures.MockPatch(
            'tests.stateful.cloud.StatefulCloud.recover'))

    def test_recovery_mends_it_when_it_runs_again(self):
        self.life.unpause(0)

        self.assertFalse(self.life.cloud.degraded(self.server))

    def test_what_stays_degraded_when_it_runs_again_is_wrong(self):
        self.break_recovery()

        error = self.assertRaises(machine.Violated, self.life.unpause, 0)

        self.assertIn('recovery leaves', str(error))

    def test_what_is_degraded_at_the_end_is_wrong(self):
        self.break_recovery()
        # However that has come.
        self.life._operate(self.server, 'unpause', self.life.cloud.unpause,
                           'ACTIVE', see=False)

        error = self.assertRaises(machine.Violated, self.life.teardown)

        self.assertIn('recovery leaves', str(error))
