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

"""Commands, by an agent that runs in the locale of the system."""

import os
import subprocess
import sys

from oslotest import base

from nova_vf_failover.guest import commands

TOLD = """
import locale
from nova_vf_failover.guest import commands

print(locale.getpreferredencoding(False))
print(ascii(commands.run(('printf', '%s', 'B\\xfcro'), 60)))
"""


class CommandsTestCase(base.BaseTestCase):

    def test_words_and_what_is_printed_are_utf_8_in_every_locale(self):
        # As Python 3.6 does it by itself.
        environment = dict(os.environ, LC_ALL='C', PYTHONCOERCECLOCALE='0')

        printed = subprocess.check_output(
            [sys.executable, '-X', 'utf8=0', '-c', TOLD], env=environment)

        encoding, text = printed.decode().splitlines()
        self.assertNotEqual('UTF-8', encoding)
        self.assertEqual(ascii('Büro'), text)

    def test_what_is_not_utf_8_is_replaced(self):
        self.assertEqual(
            'B\ufffdro', commands.run(('printf', r'B\374ro'), 60))

    def test_a_program_that_fails_says_why(self):
        unwilling = self.assertRaises(
            commands.Unwilling, commands.run,
            ('sh', '-c', 'printf "B\\374ro\n" >&2; exit 3'), 60)

        self.assertEqual('B\ufffdro', str(unwilling))
