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


"""What the guests are made of: one image, and what a guest has of its own.

A migrating guest needs one disk on both hosts. Here nobody writes to it: the
guest's root is a file system in memory over the image.
"""

import os
import sys
import tempfile

from nova_vf_failover.guest import bundle
from tests.lab import command
from tests.lab.compare import endpoint
from tests.lab.compare import fabric
from tests.lab import image as images
from tests.lab import seed as seeds

CACHE = os.path.join('.cache', 'lab')
ENDPOINT = '/usr/local/bin/endpoint'
AGENT = '/usr/local/bin/vf-failover-agent'

_OVERLAY = r"""#!/bin/sh
[ "$1" = prereqs ] && exit 0
mkdir -p /layers
mount -t tmpfs -o mode=755 tmpfs /layers
mkdir /layers/lower /layers/upper /layers/work
mount -o move "$rootmnt" /layers/lower
mount -t overlay -o \
lowerdir=/layers/lower,upperdir=/layers/upper,workdir=/layers/work \
overlay "$rootmnt"
"""
_SCRIPT = '/etc/initramfs-tools/scripts/init-bottom/overlay'

RECIPE = images.Recipe(
    release='trixie',
    packages=('python3',),
    masked=('apt-daily.timer', 'apt-daily-upgrade.timer',
            'dpkg-db-backup.timer', 'e2scrub_all.timer',
            'e2scrub_reap.service', 'fstrim.timer',
            'systemd-timesyncd.service', 'systemd-pstore.service',
            'systemd-networkd-wait-online.service', 'getty@tty1.service',
            'serial-getty@ttyS0.service', 'systemd-binfmt.service',
            'systemd-remount-fs.service',
            'systemd-networkd-persistent-storage.service'),
    commands=(
        'passwd -d root',
        'systemctl enable systemd-networkd',
        'echo overlay >> /etc/initramfs-tools/modules',
        # Before the script "seed", which writes.
        f"cat > {_SCRIPT} << 'EOF'\n{_OVERLAY}EOF\nchmod 755 {_SCRIPT}"),
    size=1536)
#: for the kernel's command line: the image itself stays as it is
WORDS = ('ro', 'rootfstype=ext4', 'systemd.mask=tmp.mount',
         'systemd.gpt_auto=0', 'random.trust_cpu=on',
         # A guest that the emulation has broken ends, with its machine.
         'oops=panic', 'panic=-1')

_SHIPPED = os.path.join(os.path.dirname(__file__), '..', '..', '..', 'etc',
                        'vf-failover-agent')
_UNIT = 'vf-failover-agent.service'
# Where the files of the agent go in a guest.
_FILES = {
    _UNIT: 'etc/systemd/system',
    '70-vf-failover.rules': 'etc/udev/rules.d',
    '00-vf-failover.network': 'etc/systemd/network',
    '00-vf-failover.link': 'etc/systemd/network',
    '00-vf-failover.conf': 'etc/systemd/networkd.conf.d',
}


def seed(nic: str) -> seeds.Seed:
    """What every guest has: its address, and its end of the traffic.

    :param nic: the name of the NIC that it configures
    """
    made = seeds.Seed()
    made.add('etc/machine-id', '7767' * 8 + '\n')
    made.add('etc/hostname', 'guest\n')
    made.add('etc/systemd/network/20-port.network',
             f'[Match]\nName={nic}\n\n[Network]\n'
             f'Address={fabric.GUEST}/24\nIPv6AcceptRA=no\n'
             'LinkLocalAddressing=no\n')
    with open(endpoint.__file__, 'rb') as file:
        made.add(ENDPOINT, file.read(), 0o755)
    return made


def add_agent(to: seeds.Seed) -> None:
    """Install the agent as the documentation says."""
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, 'vf-failover-agent')
        bundle.write(program)
        with open(program, 'rb') as file:
            to.add(AGENT, file.read(), 0o755)
    for name, folder in _FILES.items():
        with open(os.path.join(_SHIPPED, name), 'rb') as file:
            to.add(f'{folder}/{name}', file.read())
    to.link(f'etc/systemd/system/multi-user.target.wants/{_UNIT}',
            f'/etc/systemd/system/{_UNIT}')


if __name__ == '__main__':
    sys.exit(command.build(RECIPE, CACHE))
