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

"""Where each file of the agent belongs in an image."""

import csv
import fnmatch
import pathlib

from oslotest import base

FOLDER = pathlib.Path(__file__).parents[3] / 'etc' / 'vf-failover-agent'


class PlacesTestCase(base.BaseTestCase):

    def test_each_file_has_one(self):
        with open(FOLDER / 'places.csv', newline='') as table:
            rows = list(csv.reader(table))

        for path in FOLDER.iterdir():
            if path.name == 'places.csv':
                continue
            found = [place for pattern, place in rows
                     if fnmatch.fnmatch(path.name, pattern)]
            self.assertEqual(1, len(found), (path.name, found))
            self.assertTrue(found[0].startswith('/etc/'), found)
