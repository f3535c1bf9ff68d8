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

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401 isort: skip

import datetime
import json
import pathlib

from lxml import etree
from oslotest import base

from nova_vf_failover.channels import intent as intents
from nova_vf_failover import journal
from nova_vf_failover import moves
from nova_vf_failover import notifications
from tests import schemas
from tests.unit.simulation import contract
from tests.unit.simulation import test_hypervisor

PORT = '5b0e3d0e-5d5c-4a3f-9c55-d7a4f04d6f5d'


def report(steps, overlap=False):
    return intents.Report.parse(json.dumps({
        'version': 1, 'generation': 1, 'state': 'done', 'message': '',
        'ports': [{'id': PORT, 'overlap': overlap, 'steps': steps}]}))


def recorded(kind=moves.FAILOVER, heard=None, error=''):
    recorder = moves.Recorder(kind, 'alpha', [PORT], 1764000000.25)
    recorder.steps.append(moves.Step('standby attach', 1764000000.5, 0.125))
    recorder.steps.append(
        moves.Step('guest failover', 1764000001, 2.5, 'it says <no> & "why"'))
    if heard:
        recorder.heard(heard)
    return recorder.move(4.5, error)


class MoveTestCase(base.BaseTestCase):

    def read(self, xml):
        return moves.find(etree.fromstring(
            '<domain><metadata>' + xml.replace(
                '<last', f'<last xmlns="{moves.NAMESPACE}"', 1)
            + '</metadata></domain>'))

    def test_survives_the_domain_xml(self):
        move = recorded(heard=report(
            [{'name': 'switch', 'start': 10.5, 'end': 10.625}]), error='no')

        last = self.read(moves.Last(failover=move).to_xml())

        self.assertEqual(moves.Last(failover=move), last)
        self.assertEqual(0.125, last.failover.interruption)

    def test_a_new_failover_begins_a_new_move(self):
        failover, failback = recorded(), recorded(moves.FAILBACK)

        last = moves.Last().after(failover).after(failback)

        self.assertEqual([failover, failback], last.halves)
        self.assertEqual([failover], last.after(failover).halves)
        self.assertEqual([failback], moves.Last().after(failback).halves)

    def test_a_failback_that_is_repeated_is_of_one_move(self):
        failover, failback = recorded(), recorded(moves.FAILBACK)
        failed = recorded(moves.FAILBACK, error='no VF')

        last = moves.Last().after(failover).after(failed).after(failback)

        self.assertEqual([failover, failback], last.halves)

    def test_a_failback_of_its_own_has_no_failover(self):
        failover, failback = recorded(), recorded(moves.FAILBACK)
        later = recorded(moves.FAILBACK)

        last = moves.Last().after(failover).after(failback).after(later)

        self.assertEqual([later], last.halves)

    def test_who_hears_nothing_does_not_know_how_long(self):
        steps = [{'name': 'switch', 'start': 1.0, 'end': 2.0}]

        self.assertEqual(1.0, recorded(heard=report(steps)).interruption)
        self.assertIsNone(recorded(heard=report(steps, True)).interruption)
        self.assertIsNone(recorded(heard=report([])).interruption)
        self.assertIsNone(recorded().interruption)

    def test_is_bounded_whatever_the_guest_says(self):
        steps = [{'name': 's\0<' * 20, 'start': number, 'end': number + 1}
                 for number in range(1000)]
        move = recorded(heard=report(steps), error='\ud800' * 5000)
        many = moves.Move(**{**vars(move), 'steps': move.steps * 100,
                             'ports': (PORT,) * 500})

        text = moves.Last(many, moves.Move(**{
            **vars(many), 'kind': moves.FAILBACK})).to_xml()

        self.assertLess(len(text), 40000)
        self.assertEqual(64, len(self.read(text).failback.ports))

    def test_what_cannot_be_read_is_left_out(self):
        good = moves.Last(recorded(), recorded(moves.FAILBACK)).to_xml()
        for bad in (good.replace('failover', 'elsewhere'),
                    good.replace('started="1764000000.250000"',
                                 'started="soon"', 1),
                    good.replace('duration="4.500000"', 'duration="nan"', 1),
                    good.replace(' host="alpha"', '', 1)):
            last = self.read(bad)
            self.assertIsNone(last.failover, bad)
            self.assertIsNotNone(last.failback)


class GuestStepsTestCase(base.BaseTestCase):

    def test_steps_that_are_none_are_left_out(self):
        good = {'name': 'prove', 'start': 1, 'end': 2}
        for bad in (7, None, {}, [], {'name': 'x', 'start': 'y', 'end': 1},
                    {'name': 'x', 'start': 2, 'end': 1},
                    {'name': 'x', 'start': 0, 'end': float('inf')},
                    {'name': 'x', 'start': 0, 'end': 10 ** 400}):
            self.assertEqual(
                (intents.GuestStep('prove', 1.0, 2.0),),
                report([bad, good]).steps)

    def test_ports_without_steps(self):
        for steps in (None, 'steps', {}, 7):
            self.assertEqual((), report(steps).steps)


class KeepTestCase(test_hypervisor.HypervisorTestCase):

    def test_it_is_kept_beside_the_journal_and_leaves_with_the_guest(self):
        domain = self.define(contract.domain())
        domain.createWithFlags(0)
        domain.setMetadata(
            contract.ELEMENT, journal.Journal(7).moved(
                'port', contract.MAC, journal.State.ATTACHING).to_xml(),
            journal.PREFIX, journal.NAMESPACE, contract.LIVE)

        moves.keep(domain, recorded())
        moves.keep(domain, recorded(moves.FAILBACK))

        tree = etree.fromstring(domain.XMLDesc(0))
        self.assertEqual(moves.Last(recorded(), recorded(moves.FAILBACK)),
                         moves.find(tree))
        self.assertIn('vff:journal', domain.XMLDesc(0))


class NotificationSampleTestCase(base.BaseTestCase):

    SAMPLES = pathlib.Path(__file__).parents[2].joinpath(
        'doc', 'source', 'samples')

    def test_each_sample_is_what_the_schema_says(self):
        paths = sorted(self.SAMPLES.glob('vf_failover.*.json'))
        self.assertNotEqual([], paths)
        for path in paths:
            sample = json.loads(path.read_text())
            schemas.validator('notification').validate(sample['payload'])
            self.assertEqual(path.stem, sample['event_type'])
            self.assert_sent_at_the_end(sample)

    def assert_sent_at_the_end(self, sample):
        data = sample['payload']['nova_object.data']
        sent = datetime.datetime.fromisoformat(sample['timestamp'])
        late = (sent.replace(tzinfo=datetime.timezone.utc).timestamp()
                - data['started_at'] - data['duration_s'])
        self.assertTrue(0 <= late < 1, sample['event_type'])

    def test_the_schema_knows_every_key_and_no_other(self):
        schema = schemas.validator('notification').schema
        payload = notifications.Notifier(
            type('Context', (), {'request_id': 'req-1'}),
            PORT, 'alpha')._payload('failover', {})

        data = schema['$defs']['data']
        self.assertEqual(sorted(payload), sorted(data['properties']))
        self.assertEqual(sorted(payload), sorted(data['required']))
        properties = schema['properties']
        self.assertEqual(
            (notifications.NAME, notifications.NAMESPACE,
             notifications.VERSION),
            tuple(properties[f'nova_object.{key}']['const']
                  for key in ('name', 'namespace', 'version')))

    def test_a_key_that_nobody_has_documented_is_an_error(self):
        notifier = notifications.Notifier(
            type('Context', (), {'request_id': 'req-1'}), PORT, 'alpha')

        self.assertRaises(KeyError, notifier.send, 'failover', 'end',
                          {'colour': 'blue'})
