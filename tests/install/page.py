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

"""The commands and the settings that a page of the documentation shows."""

from collections.abc import Iterator
import pathlib
import re

from docutils import core
from docutils import nodes

_PROMPTS = ('# ', '$ ')
_CONTINUED = re.compile(r'\\\n\s+')


class NotOnThePage(Exception):
    """The page has no such part."""


class Page:
    """A page in reStructuredText.

    :raises OSError: it cannot be read
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        # Sphinx' own roles are unknown here, and of no interest.
        self._tree = core.publish_doctree(
            path.read_text(encoding='utf-8'),
            settings_overrides={'report_level': 5})

    def commands(self, section: str) -> list[str]:
        """What is typed at the prompts of a section, from top to bottom.

        :raises NotOnThePage: there is nothing
        """
        found = [command for block in self._blocks(section, 'console')
                 for command in _typed(block)]
        return self._something(found, section)

    def settings(self, section: str) -> str:
        """The lines of a configuration file that a section shows.

        :raises NotOnThePage: there are none
        """
        return '\n\n'.join(self._something(
            list(self._blocks(section, 'ini')), section)) + '\n'

    def _blocks(self, section: str, language: str) -> Iterator[str]:
        for part in self._tree.findall(nodes.section):
            if part.next_node(nodes.title).astext() == section:
                for block in part.findall(nodes.literal_block):
                    if language in block['classes']:
                        yield block.astext()

    def _something(self, found: list[str], section: str) -> list[str]:
        if not found:
            raise NotOnThePage(
                f'{self._path} has no such block in "{section}".')
        return found


def _typed(block: str) -> Iterator[str]:
    for line in _CONTINUED.sub('', block).splitlines():
        for prompt in _PROMPTS:
            if line.startswith(prompt):
                yield line.removeprefix(prompt)
