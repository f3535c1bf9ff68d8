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

"""How the image and the network of a guest are made, for each manager.

The NIC that moves is matched in the ways that images do it: by its name where
addresses are static, by its MAC where they are leased, as far as the manager
can.
"""

import dataclasses
import json

from tests.distributions import segment
from tests.lab import image
from tests.lab import seed as seeds

RELEASES = ('bookworm', 'trixie')
MANAGERS = ('networkd', 'cloud-init', 'networkmanager', 'ifupdown')
ADDRESSINGS = ('static', 'dhcp')

#: the root port of each NIC at the first boot, and its name there
PRIMARY_PORT, STANDBY_PORT, RETURN_PORT, OTHER_PORT = 1, 3, 4, 2
PRIMARY_NAME, OTHER_NAME = 'enp1s0', 'enp2s0'

_OTHERS = {'networkd': 'systemd-networkd.service',
           'networkmanager': 'NetworkManager.service',
           'ifupdown': 'networking.service'}
_STATIC_V4, _STATIC_V6 = f'{segment.V4}/24', f'{segment.V6}/64'


def recipe(release: str) -> image.Recipe:
    """One image with all of the managers; which one works is said at boot."""
    return image.Recipe(
        release=release,
        packages=('python3', 'network-manager', 'ifupdown', 'isc-dhcp-client',
                  'netplan.io', 'cloud-init', 'procps'),
        masked=('apt-daily.timer', 'apt-daily-upgrade.timer',
                'dpkg-db-backup.timer', 'e2scrub_all.timer',
                'e2scrub_reap.service', 'fstrim.timer',
                'systemd-timesyncd.service', 'systemd-pstore.service',
                'NetworkManager-wait-online.service',
                'systemd-networkd-wait-online.service',
                'NetworkManager-dispatcher.service', 'ModemManager.service',
                'wpa_supplicant.service', 'getty@tty1.service',
                'serial-getty@ttyS0.service', 'systemd-binfmt.service',
                'systemd-logind.service', 'systemd-hostnamed.service',
                'systemd-user-sessions.service', 'ldconfig.service',
                'systemd-journal-catalog-update.service',
                'systemd-hwdb-update.service', 'systemd-update-done.service',
                'systemd-random-seed.service', 'systemd-rfkill.socket'),
        commands=('passwd -d root', 'rm -f /etc/network/interfaces',
                  'mkdir -p /etc/systemd/journald.conf.d',
                  'printf "[Journal]\\nStorage=volatile\\n"'
                  ' > /etc/systemd/journald.conf.d/lab.conf'))


@dataclasses.dataclass(frozen=True)
class Variant:
    """A manager and where its addresses come from."""

    manager: str
    addressing: str

    @property
    def leased(self) -> bool:
        return self.addressing == 'dhcp'

    @property
    def by_mac(self) -> bool:
        """Whether the NIC is the manager's whatever its name is."""
        return self.leased and self.manager in ('networkd', 'networkmanager')

    @property
    def renamed_in_use(self) -> bool:
        """Whether a VF in use gets its name, if the kernel is able to.

        systemd-networkd that knows it by that would configure it anew.
        """
        return self.by_mac or self.manager in ('networkmanager', 'ifupdown')

    @property
    def service(self) -> str:
        """The unit of the manager."""
        return _OTHERS['networkd' if self.manager == 'cloud-init'
                       else self.manager]

    @property
    def name(self) -> str:
        """Of the NIC that moves."""
        return 'eth0' if self.manager == 'cloud-init' else PRIMARY_NAME

    @property
    def words(self) -> list[str]:
        """For the kernel's command line."""
        words = [f'systemd.mask={unit}' for unit in _OTHERS.values()
                 if unit != self.service]
        words.append(f'systemd.wants={self.service}')
        words.append('ds=nocloud' if self.manager == 'cloud-init'
                     else 'cloud-init=disabled')
        return words

    def add_to(self, seed: seeds.Seed) -> None:
        """The manager's configuration."""
        seed.add('etc/machine-id', '7766' * 8 + '\n')
        seed.add('etc/hostname', 'guest\n')
        {'networkd': self._networkd, 'cloud-init': self._cloud_init,
         'networkmanager': self._networkmanager,
         'ifupdown': self._ifupdown}[self.manager](seed)

    def _networkd(self, seed: seeds.Seed) -> None:
        match = (f'MACAddress={segment.MAC}' if self.leased
                 else f'Name={self.name}')
        network = ('DHCP=ipv4\nIPv6AcceptRA=yes\n' if self.leased else
                   f'Address={_STATIC_V4}\nAddress={_STATIC_V6}\n'
                   f'Gateway={segment.GATEWAY_V4}\n'
                   f'Gateway={segment.GATEWAY_V6}\nIPv6AcceptRA=no\n')
        seed.add('etc/systemd/network/20-port.network',
                 f'[Match]\n{match}\n\n[Network]\n{network}')
        seed.add('etc/systemd/network/30-other.network',
                 f'[Match]\nMACAddress={segment.OTHER_MAC}\n\n'
                 f'[Network]\nAddress={segment.OTHER_V4}/24\n')

    def _cloud_init(self, seed: seeds.Seed) -> None:
        port: dict[str, object] = {
            'match': {'macaddress': segment.MAC}, 'set-name': self.name}
        if self.leased:
            port.update({'dhcp4': True, 'accept-ra': True})
        else:
            port.update({'addresses': [_STATIC_V4, _STATIC_V6], 'routes': [
                {'to': 'default', 'via': segment.GATEWAY_V4},
                {'to': '::/0', 'via': segment.GATEWAY_V6}]})
        other = {'match': {'macaddress': segment.OTHER_MAC},
                 'set-name': 'eth1',
                 'addresses': [f'{segment.OTHER_V4}/24']}
        folder = 'var/lib/cloud/seed/nocloud'
        # JSON is YAML.
        seed.add(f'{folder}/network-config', json.dumps(
            {'version': 2, 'ethernets': {'port': port, 'other': other}}))
        seed.add(f'{folder}/meta-data', json.dumps(
            {'instance-id': 'lab', 'local-hostname': 'guest'}))
        seed.add(f'{folder}/user-data', '#cloud-config\n{}\n')
        seed.add('etc/cloud/cloud.cfg.d/99-lab.cfg', json.dumps({
            'datasource_list': ['NoCloud'], 'cloud_init_modules': [],
            'cloud_config_modules': [], 'cloud_final_modules': [],
            'system_info': {'network': {
                'renderers': ['netplan', 'networkd']}}}))

    def _networkmanager(self, seed: seeds.Seed) -> None:
        match = (f'[ethernet]\nmac-address={segment.MAC}\n' if self.leased
                 else '')
        name = '' if self.leased else f'interface-name={self.name}\n'
        addresses = (
            '[ipv4]\nmethod=auto\n[ipv6]\nmethod=auto\naddr-gen-mode=0\n'
            if self.leased else
            f'[ipv4]\nmethod=manual\naddress1={_STATIC_V4},'
            f'{segment.GATEWAY_V4}\ndns={segment.GATEWAY_V4}\n'
            f'dns-search={segment.DOMAIN}\n[ipv6]\nmethod=manual\n'
            f'address1={_STATIC_V6},{segment.GATEWAY_V6}\n'
            f'dns={segment.GATEWAY_V6}\n')
        folder = 'etc/NetworkManager/system-connections'
        seed.add(f'{folder}/port.nmconnection',
                 f'[connection]\nid=port\ntype=ethernet\n{name}{match}'
                 f'{addresses}', 0o600)
        seed.add(f'{folder}/other.nmconnection',
                 '[connection]\nid=other\ntype=ethernet\n'
                 f'[ethernet]\nmac-address={segment.OTHER_MAC}\n'
                 f'[ipv4]\nmethod=manual\naddress1={segment.OTHER_V4}/24\n'
                 '[ipv6]\nmethod=disabled\n', 0o600)

    def _ifupdown(self, seed: seeds.Seed) -> None:
        name = self.name
        if self.leased:
            port = (f'allow-hotplug {name}\niface {name} inet dhcp\n'
                    f'iface {name} inet6 auto\n')
        else:
            port = (f'auto {name}\niface {name} inet static\n'
                    f'  address {_STATIC_V4}\n'
                    f'  gateway {segment.GATEWAY_V4}\n'
                    f'iface {name} inet6 static\n  address {_STATIC_V6}\n'
                    f'  gateway {segment.GATEWAY_V6}\n')
        seed.add('etc/network/interfaces',
                 f'auto lo\niface lo inet loopback\n\n{port}\n'
                 f'auto {OTHER_NAME}\niface {OTHER_NAME} inet static\n'
                 f'  address {segment.OTHER_V4}/24\n')
