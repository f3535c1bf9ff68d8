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

"""Guests that were not moved as they should have been, once."""

#: what was wrong, and the settings that have shown it
EXAMPLES = {
    'a gateway to which no route leads any more': [
        'ip route delete 192.168.1.0/24 dev eth0'],
    'main is not looked at': ['ip -4 rule delete priority 32766'],
    'a gateway that another rule hides': [
        'ip -6 nexthop add id 6 via fd00:1::7 dev eth0',
        'ip -6 rule add priority 1 blackhole'],
    'an object whose gateway "main" has on the primary': [
        'ip -6 nexthop add id 7 via fd00:1::1 dev eth0 onlink'],
    'a route on the link likewise': [
        'ip -6 route add fd20::/32 via fd00:1::1 dev eth0 onlink'],
    'a route over a gateway before an equal one without': [
        'ip -4 route append 10.6.0.0/16 via 192.168.1.1 dev eth0',
        'ip -4 route append 10.6.0.0/16 dev eth0'],
    'a route of an address of another NIC that comes first': [
        'ip address add 10.1.0.5 peer 10.3.0.9/32 dev eth0',
        'ip address add 10.2.0.5 peer 10.3.0.9/32 dev eth1'],
    'several ways of IPv6, that of another NIC first': [
        'ip -6 route add fd20::/32 nexthop via fd00:2::1 dev eth1 '
        'nexthop via fd00:1::1 dev eth0'],
    'an object of the table "local"': [
        'ip -4 nexthop add id 7 dev eth0',
        'ip -4 route add 10.7.0.0/16 table local nhid 7'],
    'sources without a way back, where nobody filters': [
        'ip -4 route add prohibit 10.6.6.6/32'],
    'a neighbour of a family that the NIC does not have': [
        'ip link set eth0 mtu 1000',
        'ip neighbour replace fd00:1::77 lladdr 02:00:00:00:00:97 dev eth0 '
        'nud permanent', 'ip -4 route add 10.6.0.0/16 dev eth0'],
    'a discipline that the kernel does not take back': [
        'tc qdisc replace dev eth0 root htb'],
    'objects with a tunnel': [
        'ip -4 nexthop add id 5 encap ip id 3 dst 10.99.0.1 '
        'via 192.168.1.1 dev eth0',
        'ip -6 nexthop add id 6 encap ip6 id 7 dst fd99::1 '
        'via fd00:1::1 dev eth0',
        'ip -4 route add 10.6.0.0/16 nhid 5',
        'ip -6 route add fd20::/32 nhid 6'],
}
