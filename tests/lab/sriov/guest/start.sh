#!/bin/sh
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

# The first process of a guest: what systemd, udev and a network manager do
# elsewhere.
hostname guest
ip link set lo up
# What the kernel loads by itself: nf_tables, for one, wants a checksum.
echo /usr/bin/modprobe > /proc/sys/kernel/modprobe
for module in virtio_pci virtio_console virtio_rng failover net_failover \
        virtio_net igbvf nf_tables; do
    modprobe -q "$module"
done
mkdir -p /dev/virtio-ports /run/vf-failover-agent /var/lib/vf-failover-agent
for port in /sys/class/virtio-ports/*; do
    [ -r "$port/name" ] && ln -s "../$(basename "$port")" \
        "/dev/virtio-ports/$(cat "$port/name")"
done
qemu-ga -d -m virtio-serial -p /dev/virtio-ports/org.qemu.guest_agent.0 \
    -f /run/qga.pid -t /run -l /run/qga.log
if [ -e /etc/agent ]; then
    setsid vf-failover-agent run > /var/log/agent.log 2>&1 &
fi
network > /var/log/network.log 2>&1 &
echo "GUEST-READY $(cut -d' ' -f1 /proc/uptime)"
while :; do
    wait
    sleep 3600
done
