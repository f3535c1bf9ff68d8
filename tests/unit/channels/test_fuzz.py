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

"""Whatever a guest answers: a report or one kind of error."""

import base64
import json
import struct
from unittest import mock

import hypothesis
from hypothesis import strategies
from oslotest import base

from nova_vf_failover.channels import frames
from nova_vf_failover.channels import intent as intents
from nova_vf_failover.channels import qga
from nova_vf_failover import exception
from tests.unit.channels import guest_agent

ANYTHING = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers()
    | strategies.floats() | strategies.text(),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(
        strategies.text(), inner), max_leaves=20)
INTENT = intents.Intent(5, intents.Use.STANDBY, 30.0,
                        {'port': 'fa:16:3e:00:00:01'})
REPORT = {'version': 1, 'generation': 5, 'state': 'done', 'message': '',
          'ports': [{'id': 'port', 'proven': True}]}


def changed(draw):
    """A report with something else in one of its places."""
    document = json.loads(json.dumps(REPORT))
    where = draw(strategies.sampled_from([document, document['ports'][0]]))
    where[draw(strategies.sampled_from(sorted(where)))] = draw(ANYTHING)
    return document


PRINTED = (strategies.binary() | (
    ANYTHING | strategies.composite(changed)()).map(
        lambda its: json.dumps(its).encode()) | strategies.sampled_from(
            [b'[' * 100000, b'x' * 2000000, b'{"version": 1}']))
EXITED = strategies.builds(
    lambda printed, error, code: {
        'exited': True, 'exitcode': code, 'err-data': error,
        'out-data': base64.b64encode(printed).decode()},
    PRINTED, ANYTHING | strategies.just(''), ANYTHING)
STATUS = EXITED | ANYTHING | strategies.dictionaries(
    strategies.sampled_from(['exited', 'exitcode', 'out-data', 'err-data']),
    ANYTHING | strategies.just(True))
# The pid, what is said of the program, and that it has ended where that
# was not said before.
ANSWERS = strategies.tuples(
    strategies.just({'return': {'pid': 7}}) | ANYTHING,
    STATUS.map(lambda its: {'return': its}) | ANYTHING,
    EXITED.map(lambda its: {'return': its}))


class ChannelFuzzTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.answers = self.useFixture(guest_agent.Answers())

    @hypothesis.settings(max_examples=300, deadline=None)
    @hypothesis.given(ANSWERS)
    def test_guest_agent(self, said):
        self.answers.said[:] = map(json.dumps, said)
        try:
            report = qga.QemuGuestAgentChannel().check(mock.Mock(), INTENT)
        except exception.ChannelError as error:
            self.assertLess(len(str(error)), 5000)
        else:
            self.assertIn(report.generation, (0, INTENT.generation))

    @hypothesis.settings(max_examples=500, deadline=None)
    @hypothesis.given(strategies.binary(max_size=100) | strategies.builds(
        lambda before, magic, rest: before + magic + rest,
        strategies.binary(min_size=frames._OFFSET, max_size=frames._OFFSET),
        strategies.just(frames.MAGIC + bytes([frames.VERSION])),
        strategies.binary(max_size=40)))
    def test_frame(self, frame):
        report = frames.parse(frame)

        if report:
            self.assertEqual(frames.MAGIC, frame[
                frames._OFFSET:frames._OFFSET + len(frames.MAGIC)])
            self.assertEqual(
                (report.generation,), struct.unpack_from(
                    '!Q', frame, frames._OFFSET + len(frames.MAGIC) + 1))
