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

"""What libvirt writes into the XML of a domain, and how it finds a NIC there.

After libvirt 11.3: src/conf/domain_conf.c, src/qemu/qemu_domain_address.c and
src/qemu/qemu_alias.c.
"""

import copy

from lxml import etree

from tests.simulation import errors

# Root ports that libvirt adds on q35 beyond those of its own devices, where
# the XML asks for none: Nova's help of [libvirt] num_pcie_ports knows it as
# "1-2 free ports".
SPARE_ROOT_PORTS = 2


def controllers(tree: etree._Element) -> list[etree._Element]:
    """The PCI controllers of a domain."""
    return tree.findall("./devices/controller[@type='pci']")


def add_controllers(tree: etree._Element) -> None:
    """The PCI controllers that libvirt adds to a definition."""
    devices = tree.find('devices')
    machine = tree.find('./os/type').get('machine') or 'pc'
    present = controllers(tree)
    if 'q35' not in machine:
        if not present:
            devices.append(_controller('pci-root', 0))
        return
    models = {element.get('model') for element in present}
    if 'pcie-root' not in models:
        devices.append(_controller('pcie-root', 0))
    if 'pcie-root-port' not in models:
        wanted = len(devices.findall('interface')) + SPARE_ROOT_PORTS
        for index in range(1, wanted + 1):
            devices.append(_controller('pcie-root-port', index))
    for index, element in enumerate(controllers(tree)):
        if element.get('index') is None:
            element.set('index', str(index))


def add_address(tree: etree._Element, device: etree._Element) -> None:
    """Give a device a guest PCI address of its own, if it has none.

    :raises libvirtError: there is no slot left, with libvirt's text
    """
    if device.find('address') is not None:
        return
    used = {(int(address.get('bus'), 16), int(address.get('slot'), 16))
            for address in tree.iterfind("./devices/*/address[@type='pci']")}
    ports = [int(element.get('index')) for element in controllers(tree)
             if element.get('model') == 'pcie-root-port']
    if any(element.get('model') == 'pcie-root'
           for element in controllers(tree)):
        free = [(bus, 0) for bus in ports if (bus, 0) not in used]
    else:
        # 0 and 1 are the host and ISA bridges, 2 is the video device's.
        first = 2 if tree.find('./devices/video') is None else 3
        free = [(0, slot) for slot in range(first, 32)
                if (0, slot) not in used]
    if not free:
        raise errors.internal('No more available PCI slots')
    bus, slot = free[0]
    etree.SubElement(
        device, 'address', type='pci', domain='0x0000', bus=f'0x{bus:02x}',
        slot=f'0x{slot:02x}', function='0x0')


def add_alias(tree: etree._Element, device: etree._Element) -> None:
    """Give a device of the live domain its name; ``ua-`` ones are kept."""
    alias = device.find('alias')
    if alias is not None and alias.get('name').startswith('ua-'):
        return
    if alias is None:
        alias = etree.SubElement(device, 'alias')
    prefix = {'interface': 'net', 'disk': 'virtio-disk'}.get(
        device.tag, device.tag)
    if device.get('type') == 'hostdev':
        # A VF is a hostdev to QEMU (qemuAssignDeviceNetAlias).
        prefix = 'hostdev'
    taken = {element.get('name')
             for element in tree.iterfind('./devices/*/alias')}
    index = 0
    while f'{prefix}{index}' in taken:
        index += 1
    alias.set('name', f'{prefix}{index}')


def add_target(tree: etree._Element, device: etree._Element,
               taken: set[str]) -> None:
    """Name the host's end of a NIC; a VF has none."""
    if device.tag != 'interface' or device.get('type') == 'hostdev':
        return
    target = device.find('target')
    if target is not None and target.get('dev'):
        return
    prefix = 'macvtap' if device.get('type') == 'direct' else 'tap'
    index = 0
    while f'{prefix}{index}' in taken:
        index += 1
    if target is None:
        target = etree.SubElement(device, 'target')
    target.set('dev', f'{prefix}{index}')


def make_live(definition: etree._Element) -> etree._Element:
    """The live XML of a domain that starts with this definition."""
    live = copy.deepcopy(definition)
    add_controllers(live)
    for device in live.find('devices'):
        if device.tag in ('interface', 'hostdev'):
            add_address(live, device)
        if device.tag in ('interface', 'hostdev', 'disk'):
            add_alias(live, device)
    return live


def find_interface(tree: etree._Element,
                   wanted: etree._Element) -> etree._Element:
    """The one interface that an element for a detach means.

    virDomainNetFindIdx: the MAC, the guest PCI address and the alias are
    compared as far as both sides have them.

    :raises libvirtError: there is none, or more than one
    """
    mac = wanted.find('mac').get('address').lower()
    address = _pci_address(wanted)
    alias = _alias(wanted)
    found = [
        candidate for candidate in tree.findall('./devices/interface')
        if candidate.find('mac').get('address').lower() == mac
        and (address is None or _pci_address(candidate) == address)
        and (alias is None or _alias(candidate) in (None, alias))]
    if not found:
        raise errors.missing(
            f"no device found at address '{address or '(<null>)'}' matching "
            f"MAC address '{mac}' and alias '{alias or '(<null>)'}'")
    if len(found) > 1:
        raise errors.failed(
            f'multiple devices matching MAC address {mac} found')
    return found[0]


def check_same_mtus(source: etree._Element,
                    destination: etree._Element) -> None:
    """A guest must find its NICs as they were.

    virDomainNetDefCheckABIStability, as far as Nova could break it.

    :raises libvirtError: one has another MTU
    """
    for old, new in zip(source.findall('./devices/interface'),
                        destination.findall('./devices/interface'),
                        strict=True):
        before, after = _mtu(old), _mtu(new)
        if before != after:
            raise errors.unsupported(f'Target network card MTU {after} does '
                                     f'not match source {before}')


def _mtu(interface: etree._Element) -> int:
    mtu = interface.find('mtu')
    return 0 if mtu is None else int(mtu.get('size'))


def _controller(model: str, index: int) -> etree._Element:
    return etree.Element('controller', type='pci', model=model,
                         index=str(index))


def _pci_address(device: etree._Element) -> str | None:
    address = device.find('address')
    if address is None or address.get('type') != 'pci':
        return None
    return '{:04x}:{:02x}:{:02x}.{:x}'.format(*(
        int(address.get(key), 16)
        for key in ('domain', 'bus', 'slot', 'function')))


def _alias(device: etree._Element) -> str | None:
    alias = device.find('alias')
    return None if alias is None else alias.get('name')


def definition(tree: etree._Element) -> etree._Element:
    """What is stored of XML that is to be defined: no names of a run."""
    stored = copy.deepcopy(tree)
    add_controllers(stored)
    for device in stored.find('devices'):
        alias = device.find('alias')
        if alias is not None and not alias.get('name').startswith('ua-'):
            device.remove(alias)
        if device.tag == 'interface':
            add_address(stored, device)
            target = device.find('target')
            if target is not None:
                device.remove(target)
    return stored


def set_metadata(tree: etree._Element, metadata: str | None, key: str,
                 uri: str) -> None:
    """virDomainDefSetMetadata: one element a namespace, replaced whole."""
    holder = tree.find('metadata')
    if holder is None:
        holder = etree.SubElement(tree, 'metadata')
    for child in holder:
        if etree.QName(child).namespace == uri:
            holder.remove(child)
    if metadata is None:
        return
    given = etree.fromstring(metadata)
    name = etree.QName(given).localname
    stored = etree.SubElement(holder, f'{{{uri}}}{name}', nsmap={key: uri})
    stored.attrib.update(given.attrib)
    stored.text = given.text
    for child in given:
        _store(child, stored, uri)


def _store(given: etree._Element, parent: etree._Element, uri: str) -> None:
    """libvirt puts elements without a namespace into the one of the key."""
    name = etree.QName(given)
    namespace = name.namespace or uri
    stored = etree.SubElement(parent, f'{{{namespace}}}{name.localname}')
    stored.attrib.update(given.attrib)
    stored.text = given.text
    for child in given:
        _store(child, stored, uri)
