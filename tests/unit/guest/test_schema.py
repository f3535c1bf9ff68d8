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

"""The schemas say what the agent takes and gives, no more and no less."""

import copy
import json
import math
import uuid

import hypothesis
from hypothesis import strategies
import jsonschema
from oslotest import base

from nova_vf_failover.channels import intent as channel
from nova_vf_failover.guest import intent as intents
from tests import schemas

MAC = 'fa:16:3e:00:00:0%d'
GOOD = {'version': 1, 'generation': 7, 'use': 'standby', 'timeout': 10,
        'ports': [{'id': 'p', 'mac': MAC % 1}, {'id': 'q', 'mac': MAC % 2}]}

# At the edges of what is taken.
EDGES = [
    0, 1, 2, -1, 600, 600.5, 601, 2 ** 53 - 1, 2 ** 53, 0.1, True, False,
    None, [], {}, 'standby', 'primary', '', 'p' * 64, 'p' * 65, 'p\n',
    MAC % 3, MAC % 3 + '\n', (MAC % 3).upper(), (MAC % 3)[:-1], 'a.b-c_d',
    'é', '\u0661']
SCALARS = (strategies.sampled_from(EDGES) | strategies.integers()
           | strategies.floats() | strategies.text(max_size=20))
VALUES = SCALARS | strategies.lists(
    SCALARS | strategies.just(GOOD['ports'][0]).map(copy.deepcopy),
    max_size=3) | strategies.dictionaries(
        strategies.sampled_from(['id', 'mac', 'x']), SCALARS)


def near(draw):
    """An intent of which up to two things are changed."""
    document = copy.deepcopy(GOOD)
    for _ in range(draw(strategies.integers(0, 2))):
        ports = document.get('ports')
        its = ports if isinstance(ports, list) else []
        where = draw(strategies.sampled_from(
            [document] + [port for port in its if isinstance(port, dict)]))
        key = draw(strategies.sampled_from(sorted(where) + ['more']))
        if draw(strategies.booleans()):
            where[key] = draw(VALUES)
        else:
            where.pop(key, None)
    return document


def beyond_words(document):
    """Why a schema cannot say what the agent says of this; or None."""
    generation = document.get('generation')
    if isinstance(generation, float) and generation.is_integer():
        return 'to JSON 7.0 is a whole number; the agent takes 7'
    timeout = document.get('timeout')
    if isinstance(timeout, float) and not math.isfinite(timeout):
        return 'it is no JSON'
    ports = document.get('ports')
    if isinstance(ports, list):
        macs = [port.get('mac') for port in ports if isinstance(port, dict)]
        if len({str(mac) for mac in macs}) < len(macs):
            return 'two ports have one MAC'
    return None


def taken(document):
    try:
        return intents.parse(json.dumps(document))
    except intents.BadIntent:
        return None


class IntentSchemaTestCase(base.BaseTestCase):

    def assertAgree(self, document):
        self.assertEqual(
            schemas.validator('intent').is_valid(document),
            taken(document) is not None, document)

    def test_each_edge_in_each_place(self):
        for key in GOOD:
            for value in EDGES:
                self.assertAgree(dict(GOOD, **{key: value}))
        for key in ('id', 'mac'):
            for value in EDGES:
                self.assertAgree(dict(GOOD, ports=[
                    dict(GOOD['ports'][0], **{key: value})]))

    @hypothesis.settings(max_examples=500, deadline=None)
    @hypothesis.given(strategies.composite(near)())
    def test_it_says_what_the_agent_takes(self, document):
        hypothesis.assume(not beyond_words(document))
        self.assertAgree(document)

    @hypothesis.settings(deadline=None)
    @hypothesis.given(VALUES)
    def test_it_takes_objects_only(self, value):
        hypothesis.assume(value == value)
        self.assertAgree(value)

    def test_as_many_ports_as_the_agent_takes(self):
        for count in (0, 1, intents.MOST_PORTS, intents.MOST_PORTS + 1):
            self.assertAgree(dict(GOOD, ports=[
                {'id': 'p', 'mac': f'fa:16:3e:00:00:{number:02x}'}
                for number in range(count)]))

    def test_what_it_cannot_say_the_agent_refuses(self):
        for changed in ({'generation': 7.0},
                        {'ports': [GOOD['ports'][0]] * 2}):
            document = dict(GOOD, **changed)
            self.assertTrue(schemas.validator('intent').is_valid(document))
            self.assertIsNone(taken(document))

    def test_what_the_host_says(self):
        for use in channel.Use:
            text = channel.Intent(2 ** 53 - 1, use, 30.0, {
                str(uuid.uuid4()): MAC % number for number in (1, 2)},
            ).to_json()

            schemas.validator('intent').validate(json.loads(text))
            self.assertIsNotNone(taken(json.loads(text)))


class ReportSchemaTestCase(base.BaseTestCase):

    def assertValid(self, report):
        schemas.validator('report').validate(
            json.loads(json.dumps(report.to_document())))

    def test_without_an_intent(self):
        self.assertValid(intents.Report())

    def test_each_state_with_steps(self):
        for state in channel.ReportState:
            report = intents.Report(intents.from_document(GOOD))
            report.begin()
            self.assertValid(report)
            with report.step('dress'):
                pass
            report.end(state.value, 'a sentence')
            self.assertValid(report)

    def test_what_the_schema_does_not_know_is_no_report(self):
        document = intents.Report().to_document()
        for changed in ({'state': 'fine'}, {'version': 2}, {'more': 1},
                        {'ports': [{}]}):
            self.assertRaises(
                jsonschema.ValidationError,
                schemas.validator('report').validate,
                dict(document, **changed))
