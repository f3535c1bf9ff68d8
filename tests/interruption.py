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

"""Ctrl-C and SIGTERM for what has something to clean up or to write."""

import os
import signal


def raise_once() -> None:
    """Have the first of them raise KeyboardInterrupt, and no other one.

    One does not come alone: Ctrl-C goes to all that the terminal runs, tox
    sends a SIGINT and a SIGTERM of its own after its timeouts, and people
    press again. None of these is to end the cleaning up, nor the programs
    that it runs.
    """
    own = os.getpid()
    came = False

    def end(number: int, _frame: object) -> None:
        nonlocal came
        if os.getpid() != own:
            # pyroute2 forks, and ends the child with SIGTERM; it is needed
            # to clean up after a Ctrl-C, which it gets as well.
            if number == signal.SIGTERM:
                os._exit(128 + number)
        elif not came:
            came = True
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
