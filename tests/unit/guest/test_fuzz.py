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

"""Whatever comes in as an intent: a sentence, and never a traceback."""

import json

import hypothesis
from hypothesis import strategies
from oslotest import base

from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import service

ANYTHING = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers()
    | strategies.floats() | strategies.text(),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(
        strategies.text(), inner), max_leaves=20)
GOOD = {'version': 1, 'generation': 7, 'use': 'standby', 'timeout': 10,
        'ports': [{'id': 'p', 'mac': 'fa:16:3e:00:00:01'}]}


def changed(draw):
    """An intent with something else in one of its places."""
    document = json.loads(json.dumps(GOOD))
    where = draw(strategies.sampled_from([document, document['ports'][0]]))
    where[draw(strategies.sampled_from(sorted(where)))] = draw(ANYTHING)
    return document


CHANGED = strategies.composite(changed)()


class Untouched(service.Service):
    """The service without NICs: nothing that is refused may get to them."""

    def __init__(self):
        # Nothing of what answer() must not reach.
        pass

    def _check(self, intent):
        return {'state': 'checked'}

    def _apply(self, intent, wait):
        assert 0 <= wait <= service.LONGEST_WAIT
        return {'state': 'applied'}


class FuzzTestCase(base.BaseTestCase):

    @hypothesis.settings(max_examples=300, deadline=None)
    @hypothesis.given(strategies.text() | ANYTHING.map(json.dumps)
                      | CHANGED.map(json.dumps))
    def test_intent(self, text):
        try:
            intent = intents.parse(text)
        except intents.BadIntent as error:
            self.assertTrue(str(error).endswith('.'), error)
        else:
            # What is taken is what was said.
            said = json.loads(text)
            self.assertEqual(said['generation'], intent.generation)
            self.assertEqual(said['use'], intent.use)
            self.assertLess(intent.timeout, intents.LONGEST_TIMEOUT + 1)

    @hypothesis.settings(max_examples=300, deadline=None)
    @hypothesis.given(
        strategies.binary() | ANYTHING.map(lambda it: json.dumps(it).encode())
        | strategies.fixed_dictionaries({
            'command': strategies.sampled_from(['apply', 'check']) | ANYTHING,
            'intent': CHANGED.map(json.dumps) | ANYTHING,
            'wait': strategies.just(1) | ANYTHING,
        }).map(lambda it: json.dumps(it).encode())
        | strategies.just(b'[' * 100000))
    def test_request(self, line):
        document = Untouched().answer(line)

        if document['state'] not in ('checked', 'applied'):
            self.assertEqual('refused', document['state'])
            self.assertTrue(document['message'])
