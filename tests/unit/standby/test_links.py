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

import nova.tests.functional  # noqa: F401 isort: skip

import os
import pathlib
import socket
import struct
import unittest

import fixtures
from oslotest import base
import pyroute2
from pyroute2 import netlink as protocol
from pyroute2.netlink import exceptions
from pyroute2.netlink.rtnl import ifinfmsg

from nova_vf_failover.standby import links
from tests.unit import green
from tests.unit import kernel


@unittest.skipUnless(os.geteuid() == 0, 'network namespaces need root')
class HostLinksTestCase(base.BaseTestCase):
    """Against the kernel, in a namespace of the test's own."""

    def setUp(self):
        super().setUp()
        self.pf = self.useFixture(kernel.OwnNetwork()).pf
        with pyroute2.IPRoute() as netlink:
            netlink.link('add', ifname='switch', kind='bridge')
            self.switch, = netlink.link_lookup(ifname='switch')
            netlink.link('set', index=self.pf, mtu=1400)
        self.links = links.HostLinks()

    def test_what_netlink_says(self):
        pf = self.links.find('pf0')

        self.assertEqual(('pf0', True, True, 1400, None, None), (
            pf.name, pf.up, pf.carrier, pf.mtu, pf.master, pf.alias))
        self.assertFalse(self.links.find('switch').up)
        self.assertIsNone(self.links.find('pf1'))

    def test_addresses_of_more_than_the_link(self):
        with pyroute2.IPRoute() as netlink:
            for address, prefix, scope in (
                    ('192.0.2.1', 24, 0), ('169.254.7.7', 16, 253),
                    ('2001:db8::1', 64, 0)):
                netlink.addr('add', index=self.pf, address=address,
                             prefixlen=prefix, scope=scope)

        self.assertEqual(['192.0.2.1/24', '2001:db8::1/64'],
                         self.links.addresses('pf0'))
        self.assertEqual([], self.links.addresses('switch'))
        self.assertEqual([], self.links.addresses('pf1'))

    def test_they_are_read_until_nothing_changes_meanwhile(self):
        # In the middle of the first answers a link goes, and hides another.
        answers = 2 * [self.dump_without('switch')]

        self.assertIsNotNone(self.told(answers).find('switch'))
        self.assertEqual([], answers)

    def test_a_host_that_never_rests_is_an_error(self):
        answers = 1000 * [self.dump_without('switch')]

        self.assertRaises(exceptions.NetlinkDumpInterrupted,
                          self.told(answers).find, 'pf0')

    def told(self, answers):
        """The links to one who is first given these answers."""
        def open_netlink():
            route = pyroute2.IPRoute()
            if answers:
                route.get_links = answers.pop
            return route

        return links.HostLinks(open_netlink)

    def dump_without(self, name):
        """What the kernel says of the links while one goes."""
        with pyroute2.IPRoute() as netlink:
            messages = [message for message in netlink.get_links()
                        if message.get_attr('IFLA_IFNAME') != name]
        for message in messages:
            message['header']['flags'] |= protocol.NLM_F_DUMP_INTR
        return messages

    def test_the_master_is_named_with_its_kind(self):
        with pyroute2.IPRoute() as netlink:
            netlink.link('set', index=self.pf, master=self.switch)

        pf = self.links.find('pf0')

        self.assertEqual(('switch', 'bridge'), (pf.master, pf.master_kind))

    def test_a_macvtap_is_seen_on_top(self):
        with pyroute2.IPRoute() as netlink:
            netlink.link('add', ifname='standby', kind='macvtap',
                         link=self.pf, macvtap_mode='bridge')

        # One end of a veth names the other as its link, which is not "on
        # top" of it.
        self.assertIn('standby', self.links.find('pf0').uppers)
        macvtap, = self.links.of_kind('macvtap')
        self.assertEqual(('standby', 'pf0'), (macvtap.name, macvtap.lower))
        self.assertEqual([], self.links.of_kind('vlan'))

    def test_all_groups_are_received(self):
        with pyroute2.IPRoute() as netlink:
            netlink.link('add', ifname='standby', kind='macvtap',
                         link=self.pf, macvtap_mode='bridge')
            standby, = netlink.link_lookup(ifname='standby')

            self.links.receive_all_groups('standby')

            link, = netlink.get_links(standby)
            self.assertTrue(link['flags'] & 0x200)
        self.links.receive_all_groups('one that has gone')

    def add(self, alias):
        # Where the kernel has no VLANs a macvlan is made by the same steps.
        links._add('pf0', 'pf0.42', alias, kind='macvlan')

    def test_a_link_that_is_made_is_marked(self):
        self.add('ours')

        made = self.links.find('pf0.42')
        self.assertEqual(('macvlan', 'pf0', 'ours', True), (
            made.kind, made.lower, made.alias, made.up))
        self.assertEqual([], self.unfinished())

    def test_the_host_has_no_ipv6_on_a_link_that_is_made(self):
        self.add('ours')

        self.assertEqual('1', self.sysctl('ipv6', 'pf0.42', 'disable_ipv6'))
        self.assertEqual([], self.addresses('pf0.42'))
        self.assertEqual('0', self.sysctl('ipv6', 'pf0', 'disable_ipv6'))

    def test_the_host_does_not_answer_on_a_link_that_is_made(self):
        self.add('ours')
        with pyroute2.IPRoute() as netlink:
            netlink.addr('add', index=self.pf, address='192.0.2.1',
                         prefixlen=24)
        wire = self.wire(0x0806)

        for name in ('pf0.42', 'pf0'):
            wire.send(self.arp_request(self.mac(name)))

        # The kernel takes them in this order, and the second is answered.
        self.assertEqual(self.mac('pf0'), self.answer(wire)[6:12])

    def test_the_host_hears_nothing_on_a_link_that_is_made(self):
        self.add('ours')
        with pyroute2.IPRoute() as netlink:
            netlink.addr('add', index=self.pf, address='192.0.2.1',
                         prefixlen=24)
        service = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(service.close)
        service.bind(('192.0.2.1', 4789))
        service.settimeout(10)
        wire = self.wire(0)

        for name in ('pf0.42', 'pf0'):
            wire.send(self.datagram(self.mac(name), name.encode()))

        self.assertEqual(b'pf0', service.recv(16))

    def test_the_host_leaves_a_standby_to_its_guest(self):
        with pyroute2.IPRoute() as netlink:
            netlink.link('add', ifname='standby', kind='macvtap',
                         link=self.pf, macvtap_mode='bridge', state='up')
        self.assertIn('fe80', ''.join(self.addresses('standby')))

        self.links.keep_host_off('standby')

        self.assertEqual([], self.addresses('standby'))
        self.links.keep_host_off('one that has gone')

    def test_a_host_without_ipv6_makes_links(self):
        root = self.useFixture(fixtures.TempDir()).join('net')
        self.useFixture(fixtures.MockPatchObject(
            links, '_SYSCTLS', pathlib.Path(root)))

        self.add('ours')

        self.assertTrue(self.links.find('pf0.42').up)

    def unfinished(self):
        return [link for link in self.links.all() if link.unfinished]

    def sysctl(self, family, name, key):
        return pathlib.Path(
            '/proc/sys/net', family, 'conf', name, key).read_text().strip()

    def addresses(self, name):
        with pyroute2.IPRoute() as netlink:
            index, = netlink.link_lookup(ifname=name)
            return [address.get_attr('IFA_ADDRESS')
                    for address in netlink.get_addr(index=index)]

    def mac(self, name):
        with pyroute2.IPRoute() as netlink:
            link, = netlink.link('get', ifname=name)
        return bytes.fromhex(link.get_attr('IFLA_ADDRESS').replace(':', ''))

    def wire(self, protocol):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.addCleanup(wire.close)
        wire.bind(('wire', protocol))
        wire.settimeout(10)
        return wire

    def answer(self, wire):
        """The first frame that has not been sent by the wire itself."""
        while True:
            frame, sender = wire.recvfrom(2048)
            if sender[2] != socket.PACKET_OUTGOING:
                return frame

    def arp_request(self, destination):
        sender = self.mac('wire')
        return (destination + sender + bytes.fromhex('08060001080006040001')
                + sender + socket.inet_aton('192.0.2.2') + bytes(6)
                + socket.inet_aton('192.0.2.1'))

    def datagram(self, destination, payload):
        udp = struct.pack('!HHHH', 4789, 4789, 8 + len(payload), 0) + payload
        header = struct.pack(
            '!BBHHHBBH4s4s', 0x45, 0, 20 + len(udp), 0, 0, 64,
            socket.IPPROTO_UDP, 0, socket.inet_aton('192.0.2.2'),
            socket.inet_aton('192.0.2.1'))
        total = sum(struct.unpack('!10H', header))
        checksum = 0xffff - (total + (total >> 16)) % 0x10000
        return (destination + self.mac('wire') + b'\x08\x00' + header[:10]
                + struct.pack('!H', checksum) + header[12:] + udp)

    def test_a_link_whose_making_was_cut_off_is_made_anew(self):
        # IFALIASZ, include/uapi/linux/if.h: the link is there by then.
        self.assertRaises(exceptions.NetlinkError, self.add, 'too long' * 32)
        # Nobody has to take it for an operator's.
        self.assertIsNone(self.links.find('pf0.42'))
        unfinished, = self.unfinished()
        self.assertEqual(('macvlan', None),
                         (unfinished.kind, unfinished.alias))

        self.add('ours')

        self.assertEqual('ours', self.links.find('pf0.42').alias)
        self.assertEqual([], self.unfinished())

    def test_a_vlan_device_is_marked(self):
        with pyroute2.IPRoute() as netlink:
            try:
                netlink.link('add', ifname='vlan7', kind='vlan', link=self.pf,
                             vlan_id=7)
            except exceptions.NetlinkError as error:
                self.skipTest(f'the kernel has no 8021q: {error}')

        self.links.add_vlan('pf0', 'pf0.42', 42, 'ours')

        made = self.links.find('pf0.42')
        self.assertEqual(('vlan', 'pf0', 42, 'ours', True), (
            made.kind, made.lower, made.vlan, made.alias, made.up))
        self.assertEqual((made.name, 'vlan7', None), (
            self.links.vlan_of('pf0', 42).name,
            self.links.vlan_of('pf0', 7).name, self.links.vlan_of('pf0', 8)))

    def test_marks_and_removes(self):
        self.links.mark('pf0', 'ours')
        self.assertEqual('ours', self.links.find('pf0').alias)

        self.links.remove('pf0')
        self.links.remove('pf0')
        self.assertIsNone(self.links.find('pf0'))


class PaperRoute:
    """A netlink socket that tells of links of a kernel with VLANs."""

    def __init__(self, *messages):
        self.messages = messages

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def get_links(self):
        return self.messages


def message(index, name, *attributes):
    """What the kernel says of a link, as pyroute2 reads it."""
    written = ifinfmsg.ifinfmsg()
    written['index'] = index
    written['attrs'] = [
        ('IFLA_IFNAME', name), ('IFLA_MTU', 1500), *attributes]
    written.encode()
    read = ifinfmsg.ifinfmsg(written.data)
    read.decode()
    return read


def vlan_device(index, name, vlan, *protocols):
    data = [('IFLA_VLAN_ID', vlan),
            *(('IFLA_VLAN_PROTOCOL', each) for each in protocols)]
    return message(
        index, name, ('IFLA_LINK', 1), ('IFLA_LINKINFO', {'attrs': [
            ('IFLA_INFO_KIND', 'vlan'), ('IFLA_INFO_DATA', {'attrs': data})]}))


class Attributes(list):
    """The attributes of a message, and how often one went through them."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        return super().__iter__()


class DumpTestCase(base.BaseTestCase):
    """One dump of the links of a host that has many."""

    def dump(self, number):
        pf = message(1, 'pf0', ('IFLA_MASTER', 2))
        bridge = message(2, 'bridge', ('IFLA_LINKINFO', {
            'attrs': [('IFLA_INFO_KIND', 'bridge')]}))
        # Link 1 is another one where the other end is.
        veth = message(3, 'veth0', ('IFLA_LINK', 1), ('IFLA_LINK_NETNSID', 0))
        messages = [pf, bridge, veth, *(
            vlan_device(index, f'pf0.{index}', index, 0x8100)
            for index in range(4, number + 1))]
        for told in messages:
            told['attrs'] = Attributes(told['attrs'])
        return messages

    def passes(self, number):
        messages = self.dump(number)
        links.HostLinks(lambda: PaperRoute(*messages)).of_kind('vlan')
        return sum(told['attrs'].passes for told in messages)

    def test_a_message_is_gone_through_as_often_on_a_host_with_many(self):
        few, more, many = (self.passes(number) for number in (100, 200, 300))

        self.assertEqual(more - few, many - more)

    def test_what_lies_on_what(self):
        host_links = links.HostLinks(lambda: PaperRoute(*self.dump(300)))

        pf = host_links.find('pf0')
        last = host_links.find('pf0.300')

        self.assertEqual(
            tuple(f'pf0.{index}' for index in range(4, 301)), pf.uppers)
        self.assertEqual(('bridge', 'bridge'), (pf.master, pf.master_kind))
        self.assertEqual(('pf0', 300, ()), (last.lower, last.vlan,
                                            last.uppers))
        self.assertIsNone(host_links.find('veth0').lower)


class VlanTestCase(base.BaseTestCase):

    def test_a_vlan_of_a_provider_is_none_of_a_port(self):
        pf = message(1, 'pf0')
        provider = vlan_device(2, 'pf0.42', 42, 0x88a8)
        port = vlan_device(3, 'vlan42', 42, 0x8100)

        both = links.HostLinks(lambda: PaperRoute(pf, provider, port))
        one = links.HostLinks(lambda: PaperRoute(pf, provider))

        self.assertEqual('vlan42', both.vlan_of('pf0', 42).name)
        self.assertIsNone(one.vlan_of('pf0', 42))
        self.assertEqual('vlan', one.find('pf0.42').kind)


class GreenThreadsTestCase(base.BaseTestCase):

    def test_migrations_that_look_at_once(self):
        self.assertEqual('[20, 20, 20, 20]', green.said(
            'tests.unit.standby.green_threads'))
