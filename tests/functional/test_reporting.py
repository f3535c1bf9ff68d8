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

"""What can be seen of a move: events, notifications, metrics, the domain."""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.functional import base  # isort: skip

import itertools
import os
import tempfile

import fixtures
from lxml import etree
from prometheus_client import parser

from nova_vf_failover import metrics
from nova_vf_failover import moves
from tests import schemas
from tests.simulation import errors
from tests.simulation import paper
from tests.simulation import paper_agent

FAILOVER_STEPS = ['standby attach', 'guest failover', 'vf detach']
FAILBACK_STEPS = ['vf attach', 'guest failback', 'standby detach']

EVENTS = (['compute_vf_check', 'compute_vf_failover', 'compute_vf_failback']
          + ['compute_vf_failover_' + name.replace(' ', '_')
             for name in FAILOVER_STEPS]
          + ['compute_vf_failback_' + name.replace(' ', '_')
             for name in FAILBACK_STEPS])


class ReportingTestCase(base.FailoverTestCase):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.metrics_file = os.path.join(folder.name, 'vf_failover.prom')
        self.flags(metrics_file=self.metrics_file, group='vf_failover')
        counted = metrics.Metrics()
        self.useFixture(fixtures.MockPatch(
            'nova_vf_failover.metrics.of_process', return_value=counted))
        self.start_hosts()

    def move(self, expected='completed'):
        self.server = self.boot(self.add_port(), self.add_port('43'))
        self.migrate(self.server, expected)

    def told(self):
        """The notifications of the plugin, checked against the schema."""
        told = [(notification['event_type'], notification['payload'])
                for notification in self.notifier.versioned_notifications
                if notification['event_type'].startswith('vf_failover.')]
        for _, payload in told:
            schemas.validator('notification').validate(payload)
        return [(kind, payload['nova_object.data'])
                for kind, payload in told]

    def last(self, host):
        return moves.find(etree.fromstring(
            self.domain(host, self.server).XMLDesc(0)))

    def samples(self):
        """What the metrics file says, by name and labels."""
        with open(self.metrics_file) as file:
            return {(sample.name, *sorted(sample.labels.values())):
                    sample.value
                    for family in parser.text_fd_to_metric_families(file)
                    for sample in family.samples}


class GoodMoveTestCase(ReportingTestCase):

    def test_each_step_is_an_instance_event_with_its_time(self):
        self.move()

        events = {event['event']: event for event
                  in self._events(self.server)}
        self.assertEqual({'Success'}, {
            events[name]['result'] for name in EVENTS})
        for kind, steps in (('failover', FAILOVER_STEPS),
                            ('failback', FAILBACK_STEPS)):
            whole = events[f'compute_vf_{kind}']
            times = [(events[name]['start_time'], events[name]['finish_time'])
                     for name in (f'compute_vf_{kind}_{step}'.replace(' ', '_')
                                  for step in steps)]
            flat = list(itertools.chain.from_iterable(times))
            self.assertEqual(sorted(flat), flat)
            # Nova writes when it has stored the beginning, in whole seconds.
            self.assertLessEqual(whole['start_time'], flat[-1])
            self.assertGreaterEqual(whole['finish_time'], flat[-1])
            self.assertEqual(
                {'failover': 'alpha', 'failback': 'beta'}[kind],
                events[f'compute_vf_{kind}_{steps[0]}'.replace(' ', '_')][
                    'host'])

    def test_notifications(self):
        self.move()

        told = self.told()
        self.assertEqual(
            ['check.start', 'check.end', 'failover.start']
            + [f'{step.replace(" ", "_")}.{phase}' for step in FAILOVER_STEPS
               for phase in ('start', 'end')]
            + ['failover.end', 'failback.start']
            + [f'{step.replace(" ", "_")}.{phase}' for step in FAILBACK_STEPS
               for phase in ('start', 'end')]
            + ['failback.end'],
            [kind.removeprefix('vf_failover.') for kind, _ in told])
        by_kind = dict(told)
        for kind, steps in (('failover', FAILOVER_STEPS),
                            ('failback', FAILBACK_STEPS)):
            end = by_kind[f'vf_failover.{kind}.end']
            self.assertEqual(steps, [step['name'] for step in end['steps']])
            self.assertEqual([port['id'] for port in self.ports],
                             end['ports'])
            self.assertEqual(self.server['id'], end['server_id'])
            self.assertLess(0, end['interruption_s'])
            self.assertLess(end['interruption_s'], end['duration_s'])
            self.assertIsNone(end['error'])

    def test_the_domain_keeps_both_halves(self):
        self.move()

        last = self.last('beta')
        self.assertEqual(('alpha', 'beta'),
                         (last.failover.host, last.failback.host))
        self.assertEqual(
            (FAILOVER_STEPS, FAILBACK_STEPS),
            tuple([step.name for step in move.steps]
                  for move in last.halves))
        self.assertEqual(tuple(port['id'] for port in self.ports),
                         last.failback.ports)
        self.assertLess(last.failover.finished, last.failback.finished)
        self.assertIsNotNone(last.failback.interruption)

        self.migrate(self.server)

        self.assertEqual('beta', self.last('alpha').failover.host)
        self.assertEqual('alpha', self.last('alpha').failback.host)

    def test_metrics_begin_with_zeros(self):
        samples = self.samples()

        for kind in ('failover', 'failback'):
            self.assertEqual(0, samples[
                'nova_vf_failover_moves_total', 'error', kind])
        for step in (*FAILOVER_STEPS, *FAILBACK_STEPS):
            self.assertEqual(0, samples[
                'nova_vf_failover_step_errors_total',
                step.replace(' ', '_')])

    def test_metrics(self):
        self.move()

        samples = self.samples()
        for kind in ('failover', 'failback'):
            self.assertEqual(1, samples[
                'nova_vf_failover_moves_total', kind, 'success'])
            self.assertEqual(0, samples[
                'nova_vf_failover_moves_total', 'error', kind])
            self.assertEqual(1, samples[
                'nova_vf_failover_interruption_seconds_count', kind])
        self.assertEqual(1, samples[
            'nova_vf_failover_step_duration_seconds_count', 'vf_attach'])
        self.assertEqual([os.path.basename(self.metrics_file)],
                         os.listdir(os.path.dirname(self.metrics_file)))

    def test_nothing_of_it_is_needed_for_a_move(self):
        self.flags(metrics_file='/nonexistent/vf.prom', group='vf_failover')
        self.useFixture(fixtures.MockPatch(
            'nova_vf_failover.moves.keep',
            side_effect=errors.system('no metadata')))
        self.useFixture(fixtures.MockPatch(
            'nova.objects.InstanceActionEvent.create',
            side_effect=TimeoutError('no conductor')))

        self.move()

        self.assertWorld(self.server, 'beta')
        for words in ('metrics_file /nonexistent/vf.prom cannot be written',
                      'does not keep its last move: ',
                      'compute_vf_failback_vf_attach cannot be stored'):
            self.assertIn(words, self.stdlog.logger.output)


class BadMoveTestCase(ReportingTestCase):

    def test_failover_that_is_undone(self):
        self.server = self.boot(self.add_port())
        self.agent.mood = paper_agent.Mood.FAILING

        self.migrate(self.server, 'failed')

        told = dict(self.told())
        error = told['vf_failover.failover.error']
        self.assertIn('nobody answers over eth1', error['error'])
        self.assertEqual(['standby attach', 'guest failover'],
                         [step['name'] for step in error['steps']])
        self.assertEqual([None, error['error']],
                         [step['error'] for step in error['steps']])
        self.assertNotIn('vf_failover.failover.end', told)
        self.assertIn('vf_failover.failback.end', told)
        last = self.last('alpha')
        self.assertIn('nobody answers over eth1', last.failover.error)
        self.assertEqual('', last.failback.error)
        events = self.events(self.server)
        self.assertEqual('Error',
                         events['compute_vf_failover_guest_failover'])
        samples = self.samples()
        self.assertEqual(1, samples[
            'nova_vf_failover_moves_total', 'error', 'failover'])
        self.assertEqual(1, samples[
            'nova_vf_failover_step_errors_total', 'guest_failover'])

    def test_server_that_stays_degraded(self):
        self.server = self.boot(self.add_port())
        self.plane('beta').fail_next('assign_vf', errors.system('no VF'))

        self.migrate(self.server)

        told = dict(self.told())
        for said in (told['vf_failover.failback.error']['error'],
                     told['vf_failover.failback.degraded']['error'],
                     self.last('beta').failback.error):
            self.assertIn('Its VF cannot be attached', said)
        self.assertIsNone(self.last('beta').failback.interruption)

    def test_two_steps_of_one_name_are_one_event(self):
        self.server = self.boot(self.add_port(), self.add_port('43'))
        self.flags(steering='placeholder', group='vf_failover')
        for name in ('alpha', 'beta'):
            self.restart_host(name)
        for plane in self.hosts.planes.values():
            plane.mode, plane.driver = paper.EXCLUSIVE, 'i40e'

        self.migrate(self.server)

        names = [event['event'] for event in self._events(self.server)]
        self.assertEqual(1, names.count('compute_vf_failover_steering'))
        self.assertEqual(2, [kind for kind, _ in self.told()].count(
            'vf_failover.steering.end'))
