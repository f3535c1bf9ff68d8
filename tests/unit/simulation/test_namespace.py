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


import fcntl
import os
import subprocess
import sys
import textwrap
import unittest

from oslotest import base
from pyroute2 import netns

from tests.simulation.fabric import namespace


def _gone() -> int:
    """The number of a process that was here, and is not any more."""
    ended = subprocess.Popen(['true'])
    ended.wait()
    return ended.pid


@unittest.skipUnless(os.geteuid() == 0, 'network namespaces need root')
class SweepTestCase(base.BaseTestCase):

    def _create(self, name: str) -> str:
        netns.create(name)
        self.addCleanup(self._remove, name)
        return name

    @staticmethod
    def _remove(name: str) -> None:
        if name in netns.listnetns():
            netns.remove(name)

    def _is_swept(self, name: str) -> bool:
        namespace.sweep()
        return name not in netns.listnetns()

    def test_what_was_left_behind_goes(self):
        self.assertTrue(self._is_swept(
            self._create(f'vff-{_gone()}-guest-0123ab')))

    def test_what_is_in_use_stays(self):
        made = namespace.Namespace('guest')
        self.addCleanup(made.close)

        self.assertFalse(self._is_swept(made.name))

    def test_what_somebody_holds_stays(self):
        # Its owner has another number here than where it counts processes.
        name = self._create(f'vff-{_gone()}-guest-0123ac')
        descriptor = os.open(f'/var/run/netns/{name}', os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_SH)

        self.assertFalse(self._is_swept(name))

    def test_a_number_that_is_no_process_says_nothing(self):
        # A name made of random digits, some of which are decimal only.
        self.assertFalse(self._is_swept(self._create('vff-99999999')))


@unittest.skipUnless(os.geteuid() == 0, 'network namespaces need root')
class HandlerTestCase(base.BaseTestCase):
    """In a process that cleans up when it is told to end."""

    def test_only_the_process_itself_cleans_up(self):
        told = textwrap.dedent("""
            import os
            import signal
            import sys

            from tests.simulation.fabric import namespace

            signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
            try:
                for _ in range(10):
                    namespace.Namespace('guest').close()
            finally:
                os.write(1, b'%d ' % os.getpid())
        """)

        process = subprocess.Popen([sys.executable, '-c', told],
                                   stdout=subprocess.PIPE, text=True)
        cleaned, _ = process.communicate()

        self.assertEqual([process.pid], [int(pid) for pid in cleaned.split()])
