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

"""What the element collects outside of the image, and by which Python.

The hook runs as diskimage-builder runs it; ``tests/element`` makes whole
images.
"""

import os
import pathlib
import shutil
import subprocess

import fixtures
from oslotest import base

ROOT = pathlib.Path(__file__).parents[3]
HOOK = 'extra-data.d/50-vf-failover-agent'


class CollectingTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path)
        self.python('path')

    def program(self, place, *lines):
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('\n'.join(['#!/bin/sh', *lines, '']))
        path.chmod(0o755)
        return str(path)

    def python(self, prefix):
        """A Python that writes down who it is, and where it would look.

        The last of its arguments is the file to write.
        """
        return self.program(
            f'{prefix}/bin/python3', 'for file; do :; done',
            f'echo "{prefix} $PYTHONPATH" >"$file"')

    def install(self, prefix):
        """Lay the element where pip lays it below a prefix."""
        below = self.folder / prefix
        shutil.copytree(ROOT / 'elements',
                        below / 'share' / 'nova-vf-failover' / 'elements')
        shutil.copytree(ROOT / 'etc' / 'vf-failover-agent',
                        below / 'etc' / 'vf-failover-agent')
        return below / 'share' / 'nova-vf-failover' / 'elements'

    def collect(self, elements, **variables):
        """Run the hook.

        :returns: the folder of what it has collected
        """
        element = elements / 'vf-failover-agent'
        self.program('path/bin/get_image_element_array',
                     f"echo '[base]=/base [vf-failover-agent]={element}'")
        subprocess.run([element / HOOK], check=True, env={
            'PATH': f'{self.folder}/path/bin:{os.environ["PATH"]}',
            'TMP_HOOKS_PATH': str(self.folder / 'hooks'), **variables})
        return self.folder / 'hooks' / 'vf-failover-agent'

    def built_by(self, elements, **variables):
        collected = self.collect(elements, **variables)
        self.assertTrue((collected / 'places.csv').is_file())
        return (collected / 'vf-failover-agent').read_text().split()

    def test_of_an_environment_its_own_python_has_the_package(self):
        elements = self.install('environment')
        self.python('environment')

        self.assertEqual('environment', self.built_by(elements)[0])

    def test_of_the_system_it_is_the_python_of_the_path(self):
        self.assertEqual('path', self.built_by(self.install('system'))[0])

    def test_in_a_clone_it_looks_into_the_clone(self):
        self.assertEqual(['path', str(ROOT)],
                         self.built_by(ROOT / 'elements'))

    def test_who_builds_the_image_chooses_another_one(self):
        elements = self.install('environment')
        self.python('environment')

        chosen = self.built_by(
            elements, DIB_VF_FAILOVER_PYTHON=self.python('chosen'))

        self.assertEqual('chosen', chosen[0])

    def test_an_agent_that_is_there_is_taken(self):
        agent = self.program('agent', 'echo there')

        collected = self.collect(self.install('system'),
                                 DIB_VF_FAILOVER_AGENT=agent)

        self.assertEqual(
            'there\n', subprocess.run([collected / 'vf-failover-agent'],
                                      check=True, stdout=subprocess.PIPE,
                                      text=True).stdout)
