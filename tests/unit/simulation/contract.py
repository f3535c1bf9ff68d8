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

"""What libvirt does, as tests that run on the simulated one and on a real one.

``test_hypervisor`` beside this module runs them on the simulation;
``tests/libvirt`` runs the same ones on libvirt and QEMU.
"""

import abc
from concurrent import futures
import contextlib
import typing

from lxml import etree
from nova.virt.libvirt import guest as libvirt_guest

from nova_vf_failover import domain as vf_domain

UUID = '7c1c6bb1-8d3f-4a0e-9f3e-0d3f6a3c1b11'
MAC = 'fa:16:3e:00:00:01'
OTHER_MAC = 'fa:16:3e:00:00:02'
NAMESPACE = 'urn:example:1'

# include/libvirt/libvirt-domain.h; the same numbers in every libvirt.
LIVE, CONFIG = 1, 2
INACTIVE = 2
ELEMENT = 2
JOB_NONE = 0

_DOMAIN = """
<domain type='qemu'>
  <name>contract</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='{machine}'>hvm</type></os>
  <features><acpi/></features>
  <devices>
    {controllers}
    {interfaces}
    <channel type='unix'>
      <target type='virtio' name='{channel}'/>
    </channel>
    <memballoon model='none'/>
  </devices>
</domain>
"""

GUEST_AGENT = 'org.qemu.guest_agent.0'


def nic(mac: str = MAC, alias: str = '') -> str:
    """An interface that needs nothing of its host."""
    named = f"<alias name='{alias}'/>" if alias else ''
    return (f"<interface type='user'><mac address='{mac}'/>"
            f"<model type='virtio'/>{named}</interface>")


def domain(*interfaces: str, ports: int = 8, machine: str = 'q35',
           channel: str = GUEST_AGENT) -> str:
    """A domain definition.

    :param ports: pcie-root-ports of a q35; some are taken by other devices
    """
    controllers = "<controller type='pci' model='pci-root'/>"
    if machine == 'q35':
        controllers = ("<controller type='pci' model='pcie-root'/>"
                       + "<controller type='pci' model='pcie-root-port'/>"
                       * ports)
    return _DOMAIN.format(
        uuid=UUID, interfaces=''.join(interfaces), channel=channel,
        machine=machine, controllers=controllers)


class LibvirtContract(abc.ABC):
    """Mixed into a test case that says where its domains come from.

    :ivar libvirt: the module with libvirt's errors and their codes
    """

    libvirt: typing.Any

    @abc.abstractmethod
    def define(self, xml: str) -> typing.Any:
        """A defined domain; the test case removes it."""

    @abc.abstractmethod
    def look_up(self) -> typing.Any:
        """The domain, as libvirt has it now."""

    @abc.abstractmethod
    def let_go(self, domain: typing.Any) -> None:
        """The guest lets go of the devices that it is asked for."""

    @abc.abstractmethod
    def await_removal(self) -> str:
        """The alias of the device that the next event says has gone."""

    @abc.abstractmethod
    def ask_guest(self, domain: typing.Any, command: str) -> str:
        """``virDomainQemuAgentCommand``"""

    @abc.abstractmethod
    def job(self, domain: typing.Any) -> contextlib.AbstractContextManager:
        """A job goes on meanwhile, as long as a migration's may."""

    def start(self, *interfaces: str, **options: typing.Any) -> typing.Any:
        started = self.define(domain(*interfaces, **options))
        started.createWithFlags(0)
        return started

    def nics(self, domain: typing.Any,
             flags: int = 0) -> list[etree._Element]:
        return etree.fromstring(domain.XMLDesc(flags)).findall(
            './devices/interface')

    def assertFault(self, code: str, text: str,
                    function: typing.Callable[..., typing.Any],
                    *arguments: typing.Any) -> None:
        error = self.assertRaises(self.libvirt.libvirtError, function,
                                  *arguments)
        # A daemon says who has the lock, too.
        said = error.get_error_message().partition(' (held by')[0]
        self.assertEqual((code, text), (
            next((name for name in (code,) if getattr(self.libvirt, name)
                  == error.get_error_code()), error.get_error_code()), said))

    # -- two interfaces of one MAC -------------------------------------------

    AMBIGUOUS = ('VIR_ERR_OPERATION_FAILED', 'operation failed: multiple '
                 f'devices matching MAC address {MAC} found')

    def test_a_second_interface_of_a_mac_is_accepted(self):
        domain = self.start(nic())

        domain.attachDeviceFlags(nic(), LIVE | CONFIG)

        for flags in (0, INACTIVE):
            self.assertEqual([MAC, MAC], [
                found.find('mac').get('address')
                for found in self.nics(domain, flags)])

    def test_and_can_then_not_be_told_apart_by_the_mac(self):
        domain = self.start(nic(), nic())

        for flags in (LIVE, CONFIG):
            self.assertFault(*self.AMBIGUOUS, domain.detachDeviceFlags,
                             nic(), flags)
            self.assertEqual(2, len(self.nics(domain)))

    def test_an_alias_on_one_of_them_helps_in_the_live_domain_only(self):
        domain = self.start(nic(), nic(alias='ua-standby'))

        self.assertFault(*self.AMBIGUOUS, domain.detachDeviceFlags,
                         nic(alias='ua-standby'), CONFIG)
        domain.detachDeviceFlags(nic(alias='ua-standby'), LIVE)
        self.let_go(domain)

        self.assertEqual('ua-standby', self.await_removal())

    def test_the_whole_element_names_one_of_them(self):
        domain = self.start(nic(), nic())
        first, second = self.nics(domain, INACTIVE)

        domain.detachDeviceFlags(_text(second), CONFIG)

        left, = self.nics(domain, INACTIVE)
        self.assertEqual(_address(first), _address(left))
        self.assertEqual(2, len(self.nics(domain)))

    def test_a_mac_that_is_not_there(self):
        domain = self.start(nic())

        self.assertFault(
            'VIR_ERR_DEVICE_MISSING',
            "device not found: no device found at address '(<null>)' matching "
            f"MAC address '{OTHER_MAC}' and alias '(<null>)'",
            domain.detachDeviceFlags, nic(OTHER_MAC), LIVE)

    # -- live and persistent --------------------------------------------------

    def test_names_of_the_run_are_in_the_live_domain_only(self):
        domain = self.start(nic(), nic(OTHER_MAC))

        self.assertEqual(['net0', 'net1'], [
            found.find('alias').get('name') for found in self.nics(domain)])
        self.assertEqual([None, None], [
            found.find('alias') for found in self.nics(domain, INACTIVE)])

    def test_names_of_the_user_are_in_both(self):
        domain = self.start(nic(alias='ua-standby'))

        for flags in (0, INACTIVE):
            found, = self.nics(domain, flags)
            self.assertEqual('ua-standby', found.find('alias').get('name'))

    def test_every_interface_has_a_guest_address_of_its_own(self):
        domain = self.start(nic(), nic())
        domain.attachDeviceFlags(nic(), LIVE)
        domain.attachDeviceFlags(nic(), CONFIG)

        for flags in (0, INACTIVE):
            found = [_address(nic) for nic in self.nics(domain, flags)]
            self.assertEqual(3, len(set(found)))
            self.assertNotIn(None, found)

    def test_one_definition_does_not_touch_the_other(self):
        domain = self.start(nic())

        domain.attachDeviceFlags(nic(OTHER_MAC), LIVE)
        self.assertEqual((2, 1), (len(self.nics(domain)),
                                  len(self.nics(domain, INACTIVE))))
        domain.attachDeviceFlags(nic(OTHER_MAC), CONFIG)
        self.assertEqual((2, 2), (len(self.nics(domain)),
                                  len(self.nics(domain, INACTIVE))))

    def test_a_domain_that_does_not_run_has_no_live_definition(self):
        domain = self.define(_domain(nic()))

        self.assertFault(
            'VIR_ERR_OPERATION_INVALID',
            'Requested operation is not valid: domain is not running',
            domain.attachDeviceFlags, nic(OTHER_MAC), LIVE)

    def test_each_start_has_a_number_of_its_own(self):
        domain = self.start(nic())
        first = self.look_up().ID()
        self.assertGreater(first, 0)

        domain.destroy()
        self.assertEqual(-1, self.look_up().ID())

        domain.createWithFlags(0)
        self.assertGreater(self.look_up().ID(), first)

    def test_no_port_is_free(self):
        domain = self.start(nic(), ports=5)
        self.assertGreater(self.fill(domain), 0)

        self.assertFault(
            'VIR_ERR_INTERNAL_ERROR',
            'internal error: No more available PCI slots',
            domain.attachDeviceFlags, nic(OTHER_MAC), LIVE)

    def fill(self, domain: typing.Any) -> int:
        """Plug NICs until there is a refusal, and how many there were."""
        for number in range(40):
            try:
                domain.attachDeviceFlags(
                    nic(f'fa:16:3e:00:01:{number:02x}'), LIVE)
            except self.libvirt.libvirtError:
                return number
        self.fail('There is no end of free ports.')

    def assertSlotsAreCounted(self, machine: str) -> None:
        """The plugin says how many NICs can be plugged."""
        domain = self.start(nic(), machine=machine)
        counted = vf_domain.Domain(
            libvirt_guest.Guest(domain), UUID, None).free_slots()

        self.assertEqual(self.fill(domain), counted)

    def test_free_slots_of_a_q35(self):
        self.assertSlotsAreCounted('q35')

    def test_free_slots_of_a_pc(self):
        self.assertSlotsAreCounted('pc')

    # -- the guest lets go ----------------------------------------------------

    def test_a_device_stays_until_the_guest_lets_it_go(self):
        domain = self.start(nic(), nic())
        second = self.nics(domain)[1]

        domain.detachDeviceFlags(_text(second), LIVE)
        self.assertEqual(2, len(self.nics(domain)))
        self.let_go(domain)

        self.assertEqual('net1', self.await_removal())
        left, = self.nics(domain)
        self.assertEqual('net0', left.find('alias').get('name'))

    def test_a_device_that_was_kept_goes_with_a_reset(self):
        domain = self.start(nic(), nic())
        domain.detachDeviceFlags(_text(self.nics(domain)[0]), LIVE)

        domain.reset(0)

        self.assertEqual('net0', self.await_removal())
        left, = self.nics(domain)
        self.assertEqual('net1', left.find('alias').get('name'))
        self.assertEqual(2, len(self.nics(domain, INACTIVE)))

    # -- metadata -------------------------------------------------------------

    def metadata(self, domain: typing.Any,
                 flags: int = 0) -> list[etree._Element]:
        found = etree.fromstring(domain.XMLDesc(flags)).find('metadata')
        return [] if found is None else list(found)

    def test_metadata_gets_the_namespace(self):
        domain = self.start(nic())

        domain.setMetadata(ELEMENT, "<note at='1'><port id='x'/></note>",
                           'ex', NAMESPACE, LIVE | CONFIG)

        for flags in (0, INACTIVE):
            root, = self.metadata(domain, flags)
            self.assertEqual(
                (f'{{{NAMESPACE}}}note', {'at': '1'}, 'ex'),
                (root.tag, dict(root.attrib), root.prefix))
            self.assertEqual([(f'{{{NAMESPACE}}}port', {'id': 'x'})],
                             [(child.tag, dict(child.attrib))
                              for child in root])

    def test_metadata_of_others_stays(self):
        domain = self.start(nic())
        domain.setMetadata(ELEMENT, '<a/>', 'one', 'urn:one', LIVE)
        domain.setMetadata(ELEMENT, '<b/>', 'two', 'urn:two', LIVE)
        domain.setMetadata(ELEMENT, '<c/>', 'two', 'urn:two', LIVE)

        self.assertEqual(
            ['{urn:one}a', '{urn:two}c'],
            [element.tag for element in self.metadata(domain)])
        self.assertEqual([], self.metadata(domain, INACTIVE))

        domain.setMetadata(ELEMENT, None, 'two', 'urn:two', LIVE)

        self.assertEqual(
            ['{urn:one}a'],
            [element.tag for element in self.metadata(domain)])

    # -- jobs and the guest agent ---------------------------------------------

    def test_no_job(self):
        domain = self.start(nic())

        self.assertEqual(JOB_NONE, domain.jobStats(0)['type'])
        self.assertEqual(JOB_NONE, domain.jobInfo()[0])
        self.assertFault(
            'VIR_ERR_OPERATION_INVALID',
            'Requested operation is not valid: no job is active on the '
            'domain', domain.abortJob)

    def test_nothing_is_changed_while_a_job_goes_on(self):
        domain = self.start(nic())
        changes = (
            (domain.attachDeviceFlags, nic(OTHER_MAC), LIVE),
            (domain.detachDeviceFlags, nic(), LIVE),
            (domain.setMetadata, ELEMENT, '<a/>', 'ex', NAMESPACE, LIVE),
            (domain.setMetadata, ELEMENT, '<a/>', 'ex', NAMESPACE, CONFIG))

        # Each waits for the job in vain.
        with self.job(domain), futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda change: self.assertFault(
                'VIR_ERR_OPERATION_TIMEOUT', 'Timed out during operation: '
                'cannot acquire state change lock', *change), changes))
            self.assertEqual(1, len(self.nics(domain)))
            self.assertEqual([], self.metadata(domain))
            self.assertNotEqual(JOB_NONE, domain.jobInfo()[0])

    def test_guest_agent_that_does_not_run(self):
        domain = self.start(nic())

        self.assertFault(
            'VIR_ERR_AGENT_UNRESPONSIVE',
            'Guest agent is not responding: QEMU guest agent is not '
            'connected',
            self.ask_guest, domain, '{"execute": "guest-ping"}')

    def test_domain_without_a_channel(self):
        domain = self.start(nic(), channel='org.example.0')

        self.assertFault(
            'VIR_ERR_ARGUMENT_UNSUPPORTED',
            'argument unsupported: QEMU guest agent is not configured',
            self.ask_guest, domain, '{"execute": "guest-ping"}')


_domain = domain


def _text(element: etree._Element) -> str:
    return etree.tostring(element, encoding='unicode', with_tail=False)


def _address(element: etree._Element) -> tuple[str, str] | None:
    address = element.find('address')
    if address is None or address.get('type') != 'pci':
        return None
    return address.get('bus'), address.get('slot')
