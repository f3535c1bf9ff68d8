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

"""The element opens two commands of the QEMU guest agent, and no other one.

What the hook does about that is run on the forms that its file has.
"""

import pathlib
import re
import subprocess

import ddt
import fixtures
from oslotest import base

ROOT = pathlib.Path(__file__).parents[3]
HOOK = (ROOT / 'elements' / 'vf-failover-agent' / 'install.d'
        / '75-vf-failover-agent')
FILES = 'guest-file-open,guest-file-close,guest-file-read'
# What RHEL's package has beside the list of commands.
HOOKS = 'FSFREEZE_HOOK_PATHNAME=/etc/qemu-ga/fsfreeze-hook\n'
# RHEL 9.4 and 10 have one of them in use, and the other one as an example.
EXAMPLE = ('# Guest agent command with comma-separated blocked RPCs to '
           'disable.\n'
           f'# FILTER_RPC_ARGS="--block-rpcs={FILES},guest-exec,'
           'guest-exec-status"\n')


@ddt.ddt
class GuestAgentTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.file = folder / 'qemu-ga'

    def run_hook(self, channel='qga'):
        """Run the part of the hook that is about the file."""
        part = re.search(r'^if [^\n]*/etc/sysconfig/qemu-ga.*?^fi$',
                         HOOK.read_text(), re.MULTILINE | re.DOTALL)
        subprocess.run(
            ['bash', '-euo', 'pipefail', '-c', part.group().replace(
                '/etc/sysconfig/qemu-ga', str(self.file))],
            check=True, env={'PATH': '/usr/bin:/bin',
                             'DIB_VF_FAILOVER_CHANNEL': channel})

    def made_of(self, text, channel='qga'):
        self.file.write_text(text)
        self.run_hook(channel)
        return self.file.read_text()

    @ddt.data(
        # RHEL 7, 8, and 9 before 9.2
        (f'BLACKLIST_RPC={FILES},guest-exec,guest-exec-status',
         f'BLACKLIST_RPC={FILES}'),
        # RHEL 9.2 and 9.3
        (f'BLOCK_RPCS={FILES},guest-exec,guest-exec-status',
         f'BLOCK_RPCS={FILES}'),
        # RHEL 9.4 and 10
        ('FILTER_RPC_ARGS="--allow-rpcs=guest-ping,guest-info"',
         'FILTER_RPC_ARGS="--allow-rpcs=guest-ping,guest-info,guest-exec,'
         'guest-exec-status"'),
        # the example of the same, in use
        (f'FILTER_RPC_ARGS="--block-rpcs={FILES},guest-exec,'
         'guest-exec-status"', f'FILTER_RPC_ARGS="--block-rpcs={FILES}"'))
    @ddt.unpack
    def test_as_packaged(self, packaged, opened):
        self.assertEqual(f'{EXAMPLE}{opened}\n{HOOKS}',
                         self.made_of(f'{EXAMPLE}{packaged}\n{HOOKS}'))
        # Who builds an image from one that has been opened opens it anew.
        self.run_hook()
        self.assertEqual(f'{EXAMPLE}{opened}\n{HOOKS}',
                         self.file.read_text())

    @ddt.data(
        ('BLACKLIST_RPC="guest-exec-status,guest-file-open,guest-exec"',
         'BLACKLIST_RPC="guest-file-open"'),
        ('BLOCK_RPCS=guest-exec,guest-exec-status', 'BLOCK_RPCS='),
        ('FILTER_RPC_ARGS="--allow-rpcs=guest-ping,guest-exec"',
         'FILTER_RPC_ARGS="--allow-rpcs=guest-ping,guest-exec,'
         'guest-exec-status"'),
        ('FILTER_RPC_ARGS="--allow-rpcs="',
         'FILTER_RPC_ARGS="--allow-rpcs=guest-exec,guest-exec-status"'),
        ('FILTER_RPC_ARGS="--allow-rpcs=guest-ping '
         '--block-rpcs=guest-exec,guest-info"',
         'FILTER_RPC_ARGS="--allow-rpcs=guest-ping,guest-exec,'
         'guest-exec-status --block-rpcs=guest-info"'))
    @ddt.unpack
    def test_as_somebody_has_changed_it(self, changed, opened):
        self.assertEqual(f'{opened}\n{HOOKS}',
                         self.made_of(f'{changed}\n{HOOKS}'))

    @ddt.data(f'{EXAMPLE}{HOOKS}', 'FILTER_RPC_ARGS=""\n',
              'FILTER_RPC_ARGS="-a guest-ping,guest-exec"\n',
              'BLOCK_RPCS=guest-exec-later,my-guest-exec\n',
              'VERBOSE="guest-exec,guest-exec-status"\n')
    def test_what_blocks_neither_is_left(self, text):
        self.assertEqual(text, self.made_of(text))

    def test_of_another_channel_it_is_left(self):
        text = 'BLOCK_RPCS=guest-exec,guest-exec-status\n'

        self.assertEqual(text, self.made_of(text, 'metadata'))

    def test_where_there_is_none_none_is_made(self):
        self.run_hook()

        self.assertFalse(self.file.exists())
