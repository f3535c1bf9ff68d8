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

# What tox -e stateful has found once comes with another seed; these are few.
_SEQUENCES, _STEPS, _SEED = 2, 8, 5


class LifeTestCase(base.BaseTestCase):

    def test_all_is_as_it_must_be_after_each_step(self):
        results = campaign.Results(_SEED)
        campaign.run(results, _SEQUENCES, _STEPS, False, lambda: None)

        self.assertEqual('', results.violation)
        self.assertEqual(_SEQUENCES, results.sequences)

    def test_what_is_wrong_is_told(self):
        # A failback that leaves the standby where it is.
        self.useFixture(fixtures.MockPatch(
            'nova_vf_failover.domain.Domain.detach_standby'))

        results = campaign.Results(_SEED)
        campaign.run(results, _SEQUENCES, _STEPS, False, lambda: None)

        self.assertIn('is not in the journal', results.violation)
        self.assertIn('state.first(', results.violation)
