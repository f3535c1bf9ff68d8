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

"""What the nested hosts are made of: an image, and what is in a guest.

The image also holds the QEMU that runs the hosts themselves, for igb needs a
newer one than most machines have (8.0), and the initramfs of the guests.
"""

import os
import sys

from tests.lab import command
from tests.lab.compare import recipe as compare
from tests.lab import image as images

_FOLDER = os.path.join(os.path.dirname(__file__), 'guest')
#: in a nested host: where the guests' kernel and initramfs are
GUESTS = '/srv/guests'
INITRAMFS = f'{GUESTS}/initramfs'
KERNEL = f'{GUESTS}/kernel'


def script(name: str) -> str:
    """A script of the guests."""
    with open(os.path.join(_FOLDER, name)) as file:
        return file.read()


RECIPE = images.Recipe(
    release='trixie',
    packages=(
        'python3', 'libvirt-daemon-system', 'libvirt-daemon-driver-qemu',
        'libvirt-clients', 'qemu-system-x86', 'qemu-utils', 'pciutils',
        'procps',
        # What nova-compute is made of, and what this project needs besides.
        'python3-libvirt', 'python3-nova', 'python3-pyroute2',
        'python3-prometheus-client', 'python3-lxml', 'python3-tenacity',
        'python3-prettytable',
        # For the guests' initramfs.
        'zstd', 'xz-utils', 'cpio'),
    masked=(
        *compare.RECIPE.masked, 'libvirt-guests.service',
        'lvm2-monitor.service',
        'libvirtd-tls.socket', 'open-iscsi.service', 'iscsid.socket',
        'multipathd.service', 'nova-compute.service', 'cryptdisks.target',
        'ebtables.service', 'dnsmasq.service',
        'keyboard-setup.service', 'console-setup.service'),
    commands=(
        *compare.RECIPE.commands,
        'rm -f /etc/libvirt/qemu/networks/autostart/*',
        # libvirt would have each guest registered there, and then wants the
        # cgroups that it is told to leave alone.
        'rm /usr/share/dbus-1/system-services/org.freedesktop.machine1.'
        'service',
        'systemctl enable libvirtd.service libvirtd-tcp.socket',
        f"cat > /tmp/initramfs.sh << 'EOF'\n{script('initramfs.sh')}EOF\n"
        f'sh /tmp/initramfs.sh {INITRAMFS} && rm /tmp/initramfs.sh',
        f'cp /boot/vmlinuz-* {KERNEL}',
        'apt-get clean; rm -rf /var/lib/apt/lists/* /var/cache/apt/*'),
    size=3072)


if __name__ == '__main__':
    sys.exit(command.build(RECIPE, compare.CACHE))
