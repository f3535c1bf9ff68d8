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

# The network manager of a guest: gives its address to the NIC of the kind
# that /etc/network.conf names, at the start and whenever one comes.
. /etc/network.conf # KIND=vf|virtio|failover and ADDRESS=

is_wanted() { # NIC
    driver=$(basename "$(readlink "/sys/class/net/$1/device/driver")")
    case $KIND in
        vf) [ "$driver" = igbvf ] ;;
        virtio) [ "$driver" = virtio_net ] ;;
        # The upper one of three.
        failover) set -- "/sys/class/net/$1"/lower_*; [ -e "$1" ] ;;
    esac
}

configure() {
    for path in /sys/class/net/*; do
        nic=${path##*/}
        mark=/run/has-$nic-$(cat "$path/ifindex")
        [ -e "$path/device/driver" ] && [ ! -e "$mark" ] || continue
        if is_wanted "$nic"; then
            : > "$mark"
            ip link set "$nic" up
            ip address add "$ADDRESS" dev "$nic"
            echo "$nic has $ADDRESS"
        fi
    done
}

# It is listened for what comes before it is looked at what is there.
ip monitor link | {
    configure
    while read -r _; do
        configure
    done
}
