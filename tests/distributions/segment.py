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

"""The network that the guest is on: the NIC's switch, and a peer.

The switch replicates, as igb does: what comes for the guest's MAC goes to the
VF and to what stands on the PF for the standby.
"""

import os
import subprocess

import fixtures

from tests.simulation.fabric import namespace
from tests.simulation.fabric import tap

MAC = '52:54:00:77:00:11'
OTHER_MAC = '52:54:00:78:00:11'
V4, V6 = '10.77.0.11', 'fd77::11'
GATEWAY_V4, GATEWAY_V6 = '10.77.0.1', 'fd77::1'
OTHER_V4, OTHER_PEER = '10.78.0.11', '10.78.0.1'
# Seconds: the fewest that dnsmasq knows, enough for a reboot, and when they
# are asked for anew.
# Nobody answers there: that they are known is what counts.
DOMAIN = 'example.org'
LEASE, RENEWAL = 120, 20
# The host's side of a tap, which says nothing.
_TAP_MAC = 'fe:00:00:00:00:%02x'


class Segment(fixtures.Fixture):
    """Namespaces and taps.

    :ivar vf: the tap of the VF, and so on

    :param leases: whether the peer hands out addresses (DHCP, SLAAC)
    """

    def __init__(self, leases: bool) -> None:
        self._leases = leases

    def _setUp(self) -> None:
        namespace.sweep()
        self.switch = self._namespace('segment')
        self.peer = self._namespace('peer')
        self.switch.netlink.link('add', ifname='switch', kind='bridge')
        self.switch.set('switch', state='up')
        self.switch.add_veth('peer', self.peer, 'eth0')
        self._plug('peer')
        self.vf = self._tap(self.switch, 'vf')
        self.standby = self._tap(self.switch, 'standby')
        for function in ('vf', 'standby'):
            self._plug(function)
            # No function hears what the other one sends.
            self.switch.run('bridge', 'link', 'set', 'dev', function,
                            'learning', 'off', 'isolated', 'on')
        self.other = self._tap(self.peer, 'other')
        for address, link in ((f'{GATEWAY_V4}/24', 'eth0'),
                              (f'{GATEWAY_V6}/64', 'eth0'),
                              (f'{OTHER_PEER}/24', 'other')):
            self.peer.run('ip', 'address', 'add', address, 'dev', link,
                          *['nodad'] * (':' in address))
        # What advertises itself as a router and is none is dropped by
        # systemd-networkd (RFC 4861, 7.3.3).
        self.peer.run('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1')
        if self._leases:
            self._serve()

    def _namespace(self, role: str) -> namespace.Namespace:
        made = namespace.Namespace(role)
        self.addCleanup(made.close)
        return made

    def _tap(self, where: namespace.Namespace, name: str) -> int:
        descriptor = tap.add_tap(where, name, _TAP_MAC % len(name))
        self.addCleanup(os.close, descriptor)
        where.set(name, state='up')
        return descriptor

    def _plug(self, port: str) -> None:
        self.switch.set(port, master=self.switch.index('switch'))

    def _serve(self) -> None:
        """DHCP for IPv4, router advertisements for IPv6."""
        folder = self.useFixture(fixtures.TempDir()).path
        log = self.useFixture(fixtures.TempDir()).join('log')
        os.chmod(folder, 0o777)
        with open(log, 'wb') as output:
            server = subprocess.Popen(
                ['setpriv', '--pdeathsig', 'KILL', *self.peer.command(
                    'dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null',
                    '--port=0', '--interface=eth0', '--bind-interfaces',
                    '--log-facility=-', '--log-dhcp', '--user=root',
                    f'--pid-file={folder}/pid',
                    f'--dhcp-leasefile={folder}/leases',
                    f'--dhcp-range=10.77.0.0,static,{LEASE}',
                    f'--dhcp-host={MAC},{V4}',
                    f'--dhcp-option=option:T1,{RENEWAL}',
                    f'--dhcp-option=option:dns-server,{GATEWAY_V4}',
                    f'--dhcp-option=option:domain-name,{DOMAIN}',
                    f'--dhcp-option=option6:dns-server,[{GATEWAY_V6}]',
                    '--dhcp-authoritative', '--enable-ra',
                    f'--dhcp-range=::,constructor:eth0,ra-only,64,{LEASE}')],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
