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

"""What is made of the runs of a campaign; the runs are those of others."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.faults import trial as trials  # isort: skip

import json

from oslotest import base

from tests.faults import campaign
from tests.faults import faults
from tests.faults import points
from tests.faults import scenes
from tests.functional import invariants

Fault = faults.Fault
MOVE, DEGRADED = scenes.Scene.MOVE, scenes.Scene.DEGRADED
ATTACH = 'source:libvirt:attachDeviceFlags@attach_interface#1'
READ = 'source:libvirt:XMLDesc@_attach_standbys#2'
MIGRATE = 'source:libvirt:migrateToURI3@_live_migration_operation#1'


def point(name):
    return points.Point.parse(name)


def outcome(name=ATTACH, fault=Fault.ERROR, *violations, vfs=1, scene=MOVE,
            **keywords):
    keywords.setdefault('hit', True)
    keywords.setdefault('ended', trials.UNDONE)
    return trials.Outcome(
        trials.Trial(vfs, point(name), fault, scene), violations=[
            invariants.Violation(*violation) for violation in violations],
        **keywords)


NETWORK = (invariants.NETWORK, 'the server', 'MAC 1 is not reached')
ERROR = (invariants.TRUTH, 'the server', trials.IN_ERROR)
LOST = (invariants.AGREEMENT, 'the server',
        "its domain is on ['destination'] and Nova has it on source")
NOT_BACK = (invariants.AGREEMENT, 'the server', trials.NOT_BACK)


class PointTestCase(base.BaseTestCase):

    def test_name_can_be_read_back(self):
        for name in (ATTACH, READ,
                     'source:agent:apply --wait@_send_guest_to_standby#1'):
            self.assertEqual(name, str(point(name)))

    def test_faults_of_what_changes_something(self):
        self.assertEqual(list(Fault), point(ATTACH).faults())
        self.assertFalse(point(ATTACH).reads)

    def test_faults_of_what_only_reads(self):
        self.assertEqual([Fault.ERROR, Fault.HANG, Fault.LATE],
                         point(READ).faults())

    def test_conductor_is_not_killed(self):
        self.assertFalse(any(fault.kills for fault in point(
            'conductor:rpc:live_migration@_execute#1').faults()))


class CoversTestCase(base.BaseTestCase):
    """Whether plain Nova does the same is asked of every violation."""

    def test_all_of_them(self):
        self.assertTrue(campaign.covers(
            outcome(ATTACH, Fault.LOST, ERROR, NETWORK),
            outcome(ATTACH, Fault.LOST, ERROR)))

    def test_not_all_of_them(self):
        self.assertFalse(campaign.covers(
            outcome(ATTACH, Fault.LOST, ERROR),
            outcome(ATTACH, Fault.LOST, ERROR, NETWORK)))

    def test_never_that_the_network_is_gone(self):
        self.assertFalse(campaign.covers(
            outcome(ATTACH, Fault.LOST, NETWORK),
            outcome(ATTACH, Fault.LOST, NETWORK)))

    def test_not_where_plain_nova_did_not_come_by(self):
        self.assertFalse(campaign.covers(
            outcome(ATTACH, Fault.LOST, ERROR, hit=False),
            outcome(ATTACH, Fault.LOST, ERROR)))

    def test_a_server_that_is_lost_cannot_be_brought_back(self):
        ours = outcome(MIGRATE, Fault.KILLED_AFTER, LOST, NOT_BACK)

        self.assertTrue(campaign.covers(
            outcome(MIGRATE, Fault.KILLED_AFTER, LOST), ours))
        self.assertFalse(campaign.covers(
            outcome(MIGRATE, Fault.KILLED_AFTER, ERROR),
            outcome(MIGRATE, Fault.KILLED_AFTER, ERROR, NOT_BACK)))


class EquivalentTestCase(base.BaseTestCase):

    RECORDED = [point(name) for name in (ATTACH, READ, MIGRATE)]

    def equivalent(self, fault, plain, recorded=RECORDED):
        return campaign.equivalent(
            trials.Trial(1, point(ATTACH), fault), recorded,
            {point(name) for name in plain})

    def test_the_same_call(self):
        self.assertEqual((1, 'move', ATTACH, 'lost'), self.equivalent(
            Fault.LOST, [ATTACH, MIGRATE]))

    def test_the_next_call_of_one_that_is_killed(self):
        self.assertEqual(
            (1, 'move', MIGRATE, 'killed-before'),
            self.equivalent(Fault.KILLED_AFTER, [MIGRATE]))

    def test_a_call_that_is_no_longer_recorded(self):
        self.assertIsNone(self.equivalent(
            Fault.KILLED_AFTER, [MIGRATE], self.RECORDED[1:]))

    def test_plain_nova_has_one_cloud(self):
        for scene in (scenes.Scene.STEERED, scenes.Scene.METADATA):
            self.assertEqual((1, 'move', ATTACH, 'lost'), campaign.equivalent(
                trials.Trial(1, point(ATTACH), Fault.LOST, scene),
                self.RECORDED, {point(ATTACH)}))

    def test_an_error_of_ours_is_ours(self):
        self.assertIsNone(self.equivalent(Fault.ERROR, [MIGRATE]))


class ResultsTestCase(base.BaseTestCase):

    def test_document(self):
        results = campaign.Results()
        results.recorded = {(1, MOVE): [point(ATTACH), point(READ)],
                            (1, DEGRADED): [point(ATTACH)],
                            (3, MOVE): [point(ATTACH)]}
        lost = outcome(MIGRATE, Fault.KILLED_AFTER, LOST,
                       ended=trials.STANDBY)
        results.outcomes = [
            outcome(), outcome(fault=Fault.HANG, ended=trials.PRIMARY),
            outcome(ATTACH, Fault.LOST, NETWORK, hit=False),
            outcome(fault=Fault.KILLED_AFTER, ended=trials.STANDBY,
                    recovery_s=60.5),
            outcome(fault=Fault.KILLED_BEFORE, ended=trials.STANDBY,
                    recovery_s=120.5), lost]
        results.nova = [lost]

        document = results.document()

        self.assertEqual((3, 5, 6, 1, 2), tuple(document[name] for name in (
            'points', 'faults', 'runs', 'no_network', 'recovered')))
        self.assertEqual({'primary': 1, 'standby': 3, 'undone': 2},
                         document['ended'])
        self.assertEqual({'median': 90.5, 'max': 120.5},
                         document['recovery_s'])
        violated, = document['violations']
        self.assertEqual(['network: the server: MAC 1 is not reached'],
                         violated['violations'])
        self.assertEqual(1, len(document['nova']))
        self.assertEqual(1, len(document['missed']))

    def test_outcome_comes_through_a_pipe(self):
        told = outcome(ATTACH, Fault.LOST, NETWORK, recovery_s=3.5,
                       seconds=1.25, scene=DEGRADED)

        self.assertEqual(told, trials.from_document(
            trials.as_document(told)))


class Workers:
    """Give the answers that are known, and note what they were asked."""

    def __init__(self, recorded, answers=()):
        self._recorded = recorded
        self._answers = {each.trial.key: each for each in answers}
        self.asked = []

    def work(self, pile, done):
        for piece in pile:
            if 'point' not in piece:
                done(piece, {'points': self._recorded})
                continue
            key = (piece['vfs'], piece['scene'], piece['point'],
                   piece['fault'])
            self.asked.append((piece['plugin'], *key[2:]))
            answer = self._answers.get(key)
            done(piece, answer and trials.as_document(answer))


class ResumeTestCase(base.BaseTestCase):

    TRIED = [(True, READ, fault.value) for fault in point(READ).faults()]

    def setUp(self):
        super().setUp()
        self.told = []

    def run_campaign(self, workers, results=None, vfs=1, acted=(MOVE,),
                     tried=Fault):
        return campaign.Campaign(
            workers, [vfs], acted, [], tried,
            lambda results, what, *numbers: self.told.append(
                (what, *numbers)),
            results=results).run()

    def test_goes_on_where_it_was_ended(self):
        done = [outcome(READ, Fault.ERROR, ERROR), outcome(READ, Fault.HANG),
                outcome(READ, Fault.LATE)]
        whole = Workers([READ], done)
        first = self.run_campaign(whole)
        # It has been ended ahead of the second run.
        document = json.loads(json.dumps(first.document()))
        del document['outcomes'][1:]
        second = Workers([READ], done)

        again = self.run_campaign(second, campaign.Results.of(document))

        self.assertEqual([*self.TRIED, (False, READ, 'error')], whole.asked)
        self.assertEqual(self.TRIED[1:], second.asked)
        self.assertEqual(
            [('run', 1, 3), ('run', 2, 3), ('run', 3, 3),
             ('compared with plain Nova', 1, 1),
             ('run', 2, 3), ('run', 3, 3)], self.told)
        self.assertEqual(first.document(), again.document())
        self.assertEqual(1, len(again.nova))

    def test_goes_on_with_another_number_of_vfs(self):
        nova = outcome(READ, Fault.ERROR, ERROR)
        ours = outcome(READ, Fault.ERROR, ERROR, vfs=3)
        first = self.run_campaign(Workers([READ], [nova]))
        second = Workers([READ], [ours])

        again = self.run_campaign(
            second, campaign.Results.of(first.document()), vfs=3)

        self.assertEqual([nova, ours], again.nova)
        self.assertEqual({(1, MOVE), (3, MOVE)}, set(again.recorded))
        self.assertEqual([*self.TRIED, (False, READ, 'error')], second.asked)

    def test_recovery_is_not_compared_with_plain_nova(self):
        known = [outcome(READ, Fault.ERROR, ERROR, scene=DEGRADED),
                 outcome(READ, Fault.HANG, scene=DEGRADED),
                 outcome(READ, Fault.LATE, scene=DEGRADED)]
        workers = Workers([READ], known)

        results = self.run_campaign(workers, acted=[DEGRADED])

        self.assertEqual(self.TRIED, workers.asked)
        self.assertEqual(known[:1], results.violated)
        self.assertEqual(
            {'runs': 3, 'undone': 3, 'recovered': 0, 'violations': 1,
             'nova': 0}, results.document()['by_kind'][
                 'degraded: source libvirt'])

    def test_one_fault_only(self):
        workers = Workers([READ], [outcome(READ, Fault.LATE)])

        results = self.run_campaign(workers, tried=[Fault.LATE])

        self.assertEqual([(True, READ, 'late')], workers.asked)
        self.assertEqual(
            {'move: late'}, set(results.document()['by_fault']))

    def test_results_without_runs_are_refused(self):
        self.assertRaises(KeyError, campaign.Results.of, {'runs': 480})


class ReducedTestCase(base.BaseTestCase):

    def test_takes_no_part_that_nova_loses(self):
        found = [point(name) for name in (ATTACH, READ, MIGRATE)] * 8

        chosen = campaign.reduced({
            (1, MOVE): found, (1, DEGRADED): found, (3, MOVE): found})

        self.assertNotIn(READ, {str(trial.point) for trial in chosen})
        self.assertFalse(any(
            trial.fault.kills for trial in chosen
            if str(trial.point) == MIGRATE))
        self.assertEqual({(1, MOVE), (1, DEGRADED), (3, MOVE)}, {
            (trial.vfs, trial.scene) for trial in chosen})
