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

"""``python -m tests.lab.sriov.contract``: the simulated libvirt compared with
that of a nested host.

The tests are those of ``tests/libvirt``, and speak with it over the network.
"""

import contextlib
import os
import subprocess
import sys

from tests import interruption
from tests.lab.compare import recipe as compare
from tests.lab import errors
from tests.lab import image as images
from tests.lab.sriov import fabric
from tests.lab.sriov import pair
from tests.lab.sriov import recipe
from tests.lab.sriov import schemes
from tests.libvirt import test_contract
from tests.simulation.fabric import namespace


def main() -> int:
    """The exit code: that of the tests, 2 (it cannot be run here) or 130."""
    interruption.raise_once()
    try:
        pair.check()
        image = images.get(recipe.RECIPE, compare.CACHE, print)
        namespace.sweep()
        with contextlib.ExitStack() as stack:
            net = stack.enter_context(fabric.Fabric())
            host, _ = pair.start(stack, net, image, schemes.seed(), print)
            print(f'libvirt {host.call("greet")} on host {host.name}')
            return subprocess.run(
                net.command(sys.executable, '-m', 'stestr', '--test-path',
                            './tests/libvirt', 'run', '--serial',
                            *sys.argv[1:]),
                env={**os.environ, test_contract.ELSEWHERE:
                     f'qemu+tcp://{host.address}/system'}).returncode
    except errors.LabError as error:
        print(error)
        return 2
    except KeyboardInterrupt:
        print('Interrupted; what was there is removed.')
        return 130


if __name__ == '__main__':
    sys.exit(main())
