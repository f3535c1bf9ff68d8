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

"""The page for troubleshooting quotes what the code says."""

import ast
import pathlib
import re

import ddt
from oslotest import base

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / 'doc' / 'source' / 'troubleshooting.rst'

# What stands for a value: in the page, and in a format of the code.
_PLACE = re.compile(r'<[^>]*>')
_CONVERSION = re.compile(r'%(?:\(\w+\))?[.\d]*[a-z]')


def quoted():
    """The sentences of the page, without what differs between hosts."""
    block = re.compile(r'\.\. code-block:: text\n\n((?: {3}.*\n)+)')
    for text in block.findall(PAGE.read_text()):
        yield from (line.strip() for line in text.splitlines())


def spoken():
    """Every text of the package, in the pieces between its values."""
    for file in ROOT.joinpath('nova_vf_failover').rglob('*.py'):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from _CONVERSION.split(node.value)


@ddt.ddt
class TroubleshootingTestCase(base.BaseTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.spoken = '\n'.join(spoken())

    @ddt.data(*quoted())
    def test_the_code_says(self, sentence):
        # A text that is said in two parts, one after the other, is quoted as
        # one: what was found, and the cure.
        for piece in _PLACE.split(sentence):
            for part in re.split(r'(?<=[.:;]) (?=[A-Z]|set |install |it )',
                                 piece):
                self.assertIn(part.strip(' :.'), self.spoken, sentence)

    def test_there_is_something_to_be_found(self):
        self.assertGreater(len(list(quoted())), 30)
        self.assertNotIn('is no sentence of the code', self.spoken)
