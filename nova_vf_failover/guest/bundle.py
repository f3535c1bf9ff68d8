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
import pathlib
import typing
import zipfile

import nova_vf_failover
from nova_vf_failover.guest import version

# Python runs a zip file, also one with such a line before it, see zipapp:
# which takes the files in the order of their folder, another one each time.
_INTERPRETER = b'#!/usr/bin/env python3\n'
_MAIN = (b'from nova_vf_failover.guest import agent\n'
         b'agent.run()\n')
# The same sources make the same file: what a zip file can say first.
_WHEN = (1980, 1, 1, 0, 0, 0)


def write(target: str) -> int:
    """Write the file; made anew if it is there.

    :returns: its size in bytes
    """
    os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
    with open(target, 'wb') as file:
        file.write(_INTERPRETER)
        with zipfile.ZipFile(file, 'w') as archive:
            for name, content in sorted(_contents().items()):
                member = zipfile.ZipInfo(name, _WHEN)
                # For who unpacks it: the upper half is a mode of Unix.
                member.external_attr = 0o644 << 16
                archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    # A program for everybody.
    os.chmod(target, 0o755)  # nosec B103
    return os.path.getsize(target)


def _contents() -> typing.Dict[str, bytes]:
    """The files of the agent, by their names in it."""
    package = pathlib.Path(nova_vf_failover.__file__).parent
    files = [package / '__init__.py'] + [
        path for path in (package / 'guest').rglob('*')
        if path.is_file() and '__pycache__' not in path.parts]
    found = {path.relative_to(package.parent).as_posix(): path.read_bytes()
             for path in files}
    found['nova_vf_failover/guest/' + version.FILE] = (
        version.installed().encode())
    found['__main__.py'] = _MAIN
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        prog='python3 -m nova_vf_failover.guest.bundle',
        description='Writes vf-failover-agent as one file.')
    parser.add_argument('file')
    target = parser.parse_args().file
    print('%s: %d bytes' % (target, write(target)))


if __name__ == '__main__':
    main()
