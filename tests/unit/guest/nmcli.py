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

"""Stands for nmcli, with the answers of that of NetworkManager 1.52.1.

The folder $NMCLI has ``profiles.json``, a file of each device, as in
/run/NetworkManager/devices, and ``commands``, what it was asked.
"""

import json
import os
import sys

FOLDER = os.environ['NMCLI']


def main(arguments):
    with open(os.path.join(FOLDER, 'commands'), 'a') as log:
        log.write(json.dumps(arguments) + '\n')
    with open(os.path.join(FOLDER, 'profiles.json')) as source:
        known = json.load(source)
    if 'add' in arguments:
        add(known, arguments[arguments.index('add') + 1:])
        return
    if 'id' in arguments:
        of_name(known, arguments[1], arguments[-1])
        return
    if 'device' in arguments and 'show' in arguments:
        fail_unless(arguments[-1] in known['devices'], 10,
                    f"Error: Device '{arguments[-1]}' not found.")
        print('\n'.join(known['shown'][arguments[-1]]))
        return
    if arguments[:1] == ['device']:
        fail_unless(arguments[2] in known['devices'], 10,
                    f"Error: Device '{arguments[2]}' not found.")
        return
    uuid = arguments[arguments.index('uuid') + 1]
    fail_unless(uuid in known['profiles'], 10,
                f'Error: {uuid} - no such connection profile.'
                if 'show' in arguments else
                f"Error: unknown connection '{uuid}'.")
    profile = known['profiles'][uuid]
    if 'show' in arguments:
        keys = arguments[arguments.index('--get-values') + 1]
        for key in keys.split(','):
            fail_unless(key in profile, 2,
                        f"Error: 'connection show': invalid field '{key}'; "
                        f'allowed fields: {",".join(profile)}')
            print(profile[key])
    elif 'modify' in arguments:
        settings = arguments[arguments.index('uuid') + 2:]
        profile.update(zip(settings[::2], settings[1::2]))
        # As it is shown afterwards.
        if profile['connection.multi-connect'] == 'manual-multiple':
            profile['connection.multi-connect'] = '2'
        write(known)
    else:
        bring_up(known, uuid, profile, arguments[-1])


def add(known, words):
    profile = dict(zip(words[::2], words[1::2], strict=True))
    known['profiles'][profile.pop('con-name')] = profile
    write(known)


def of_name(known, what, name):
    """What the agent does with a profile that it has added.

    The kernel of the guest may have no such device.
    """
    fail_unless(name in known['profiles'], 10,
                f"Error: unknown connection '{name}'." + (
                    '\nError: cannot delete unknown connection(s): id '
                    f"'{name}'." if what == 'delete' else ''))
    if what == 'delete':
        del known['profiles'][name]
    else:
        profile = known['profiles'][name]
        fail_unless(not known.get('kernel_without'), 4,
                    'Error: Connection activation failed: '
                    f"{profile['ifname']} failed to create resources: Failed "
                    f"to create dummy interface '{profile['ifname']}' for "
                    f"'{name}': Operation not supported")
        profile['up'] = True
    write(known)


def write(known):
    with open(os.path.join(FOLDER, 'profiles.json'), 'w') as target:
        json.dump(known, target)


def bring_up(known, uuid, profile, name):
    fail_unless(
        profile['connection.interface-name'] in ('', name), 4,
        f"Error: device '{name}' not compatible with connection 'port': The "
        "interface names of the device and the connection didn't match.")
    for used, index in known['devices'].items():
        path = os.path.join(FOLDER, str(index))
        with open(path) as source:
            text = source.read()
        if used == name:
            with open(path, 'w') as target:
                target.write(f'[device]\nmanaged=true\n'
                             f'connection-uuid={uuid}\n')
        elif f'={uuid}' in text and profile[
                'connection.multi-connect'] != '2':
            # It is taken away from who had it.
            with open(path, 'w') as target:
                target.write('[device]\nmanaged=true\n')


def fail_unless(condition, code, message):
    if not condition:
        print(message, file=sys.stderr)
        sys.exit(code)


if __name__ == '__main__':
    main(sys.argv[1:])
