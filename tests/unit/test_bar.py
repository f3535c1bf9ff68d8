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

import io

from oslotest import base
from rich import console

from tests import bar


class BarTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.now = 0.0
        self.written = io.StringIO()

    def show(self, terminal):
        """Ten of hundred, one each ten seconds."""
        with bar.Bar(console.Console(
                file=self.written, force_terminal=terminal, width=100),
                lambda: self.now) as shown:
            task = shown.add_task('steps', total=100)
            for _ in range(5):
                self.now += 10
                shown.advance(task)
            early = self.written.getvalue()
            for number in range(6, 11):
                self.now += 10
                shown.update(task, completed=number)
            return early, self.written.getvalue()

    def test_a_line_each_minute_where_there_is_no_terminal(self):
        early, late = self.show(terminal=False)

        self.assertEqual('', early)
        line, = late.splitlines()
        self.assertIn('steps', line)
        self.assertIn('6/100 0:01:00', line)

    def test_no_lines_beside_the_bar_of_a_terminal(self):
        self.show(terminal=True)

        # It is drawn over itself.
        self.assertEqual(1, self.written.getvalue().count('\n'))
