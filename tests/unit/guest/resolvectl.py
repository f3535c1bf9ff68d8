#!/usr/bin/env python3
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


"""Stands for resolvectl and busctl, with the words of those of systemd 252.

The folder $RESOLVECTL has ``links.json``, what systemd-resolved knows of each
link, as busctl shows it, and ``commands``, what resolvectl was told.
Where ``hangs`` is, a pipe, it waits for that.
"""

import json
import os
import sys

FOLDER = os.environ['RESOLVECTL']


def main(*words):
    path = os.path.join(FOLDER, 'hangs')
    if os.path.exists(path):
        with open(path) as pipe:
            pipe.read()
    with open(os.path.join(FOLDER, 'links.json')) as source:
        known = json.load(source)
    if words[0].startswith('--json'):
        show(known, words[3].rpartition('/_3')[2])
    else:
        change(known, *words)


def show(known, index):
    shown = [link for link in known.values() if link['index'] == int(index)]
    if not shown:
        fail('Call failed: Unknown interface org.freedesktop.resolve1.Link or '
             'property.')
    print(json.dumps({'type': 'a{sv}', 'data': [{
        key: {'type': '?', 'data': value}
        for key, value in shown[0]['properties'].items()}]}))


def change(known, setting, name, *words):
    if name not in known:
        fail(f'Failed to resolve interface "{name}": No such device')
    if setting in known[name].get('refuses', []):
        fail(f'Unknown command verb {setting}.')
    with open(os.path.join(FOLDER, 'commands'), 'a') as log:
        log.write(json.dumps([setting, name, *words]) + '\n')


def fail(message):
    print(message, file=sys.stderr)
    sys.exit(1)


if __name__ == '__main__':
    main(*sys.argv[1:])
