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

"""Write the agent into one file that needs nothing but a python3.

``python3 -m nova_vf_failover.guest.bundle FILE``
"""

import argparse
import os
import shutil
import tempfile
import zipapp

import nova_vf_failover
from nova_vf_failover.guest import version

_INTERPRETER = '/usr/bin/env python3'
_MAIN = ('from nova_vf_failover.guest import agent\n'
         'agent.run()\n')
# The same sources make the same file: what a zip file can say first.
_WHEN = 315532800


def write(target: str) -> int:
    """Write the file; made anew if it is there.

    :returns: its size in bytes
    """
    package = os.path.dirname(nova_vf_failover.__file__)
    os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        inside = os.path.join(folder, 'nova_vf_failover')
        os.mkdir(inside)
        shutil.copy(os.path.join(package, '__init__.py'), inside)
        shutil.copytree(os.path.join(package, 'guest'),
                        os.path.join(inside, 'guest'),
                        ignore=shutil.ignore_patterns('__pycache__'))
        with open(os.path.join(inside, 'guest', version.FILE), 'w') as file:
            file.write(version.installed())
        with open(os.path.join(folder, '__main__.py'), 'w') as file:
            file.write(_MAIN)
        for where, folders, names in os.walk(folder):
            for name in folders + names:
                os.utime(os.path.join(where, name), (_WHEN, _WHEN))
        zipapp.create_archive(
            folder, target, interpreter=_INTERPRETER, compressed=True)
    # A program for everybody.
    os.chmod(target, 0o755)  # nosec B103
    return os.path.getsize(target)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog='python3 -m nova_vf_failover.guest.bundle',
        description='Writes vf-failover-agent as one file.')
    parser.add_argument('file')
    target = parser.parse_args().file
    print('%s: %d bytes' % (target, write(target)))


if __name__ == '__main__':
    main()
