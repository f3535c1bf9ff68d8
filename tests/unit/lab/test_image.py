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


"""Where an image's packages come from; nothing is built."""

import os
from unittest import mock

import fixtures
from oslotest import base

from tests.lab import errors
from tests.lab import image

_MIRROR = 'https://mirror.example.org/debian'


class MirrorTestCase(base.BaseTestCase):

    def mirror(self, *sources):
        with mock.patch.object(image, '_sources', autospec=True,
                               return_value=sources):
            return image._mirror()

    def listed(self, text):
        folder = self.useFixture(fixtures.TempDir()).path
        path = os.path.join(folder, 'debian.list')
        with open(path, 'w') as file:
            file.write(text)
        return {'URIs': f'mirror+file://{path}',
                'Components': 'main non-free-firmware'}

    def test_an_address(self):
        self.assertEqual((_MIRROR, ['/a.gpg']), self.mirror(
            {'URIs': 'https://example.org/tools', 'Components': 'main'},
            {'URIs': f'{_MIRROR}-security', 'Components': 'main'},
            {'URIs': _MIRROR, 'Components': 'main contrib',
             'Signed-By': '/a.gpg'}))

    def test_a_list_of_mirrors(self):
        self.assertEqual((_MIRROR, []), self.mirror(
            self.listed('https://mirror.example.org/debian-security\n'),
            self.listed('# the mirrors\n\n'
                        'https://example.org/other\tpriority:1\n'
                        f'{_MIRROR}\tpriority:2\n')))

    def test_a_list_that_is_not_there_is_no_source(self):
        self.assertRaises(errors.LabError, self.mirror, {
            'URIs': 'mirror+file:///nowhere', 'Components': 'main'})
