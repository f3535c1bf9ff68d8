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

"""Checks of what is installed and configured on this host."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import difflib
import glob
import os
import typing

import nova.version
from nova.virt.libvirt import driver as libvirt_driver
from oslo_config import cfg
from oslo_utils import versionutils

from nova_vf_failover.cmd import findings
from nova_vf_failover.cmd import servers
from nova_vf_failover import conf
from nova_vf_failover import prerequisites

CONF = cfg.CONF

GROUP = 'vf_failover'


def nova_versions() -> Iterator[findings.Finding]:
    """The installed Nova, and those of its methods that matter here."""
    yield _asked('Nova', prerequisites.nova_fault,
                 f'{nova.version.version_string()} is one of '
                 f'{prerequisites.OLDEST_NOVA} to '
                 f'{prerequisites.NEWEST_NOVA}.')
    yield _asked("Nova's methods", prerequisites.signature_fault,
                 'All that are overridden or called are as they are known.')


def options() -> Iterator[findings.Finding]:
    """The values in nova.conf."""
    fault = prerequisites.option_fault()
    if fault:
        # The others cannot be asked about before this one can be read.
        yield findings.broken('Options', fault, 'Correct it.')
        return
    state = 'true' if CONF.vf_failover.enabled else (
        'false: nothing is swapped until it is true and nova-compute is '
        'started anew')
    yield findings.good('Options', f'[{GROUP}] enabled = {state}.')
    yield _asked('Drivers', prerequisites.driver_fault,
                 'standby = {standby}, channel = {channel}, steering = '
                 '{steering}.'.format(**CONF.vf_failover))
    yield _asked('Compute driver', prerequisites.compute_driver_fault,
                 f'{CONF.compute_driver}.')
    yield from _misspelt()
    yield from _slots()


def _misspelt() -> Iterator[findings.Finding]:
    """Options in nova.conf that nobody will ever read."""
    known = [option.dest for option in conf.ALL_OPTS]
    for path in _files():
        sections: dict[str, dict[str, typing.Any]] = {}
        cfg.ConfigParser(path, sections).parse()
        for name in sections.get(GROUP, {}):
            if name.replace('-', '_') in known:
                continue
            close = difflib.get_close_matches(name, known, 1)
            yield findings.doubtful(
                'Options', f'[{GROUP}] {name} in {path} is no option.',
                f'It may be meant to be {close[0]}.' if close
                else 'Take it out.')


def _files() -> list[str]:
    """What nova-compute reads its options from."""
    files = list(CONF.config_file or ())
    for folder in CONF.config_dir or ():
        files += sorted(glob.glob(os.path.join(folder, '*.conf')))
    return files


def _slots() -> Iterator[findings.Finding]:
    """Whether guests have a place for a standby."""
    libvirt = CONF.libvirt
    if libvirt.num_pcie_ports == 0 and any(
            'q35' in machine for machine in libvirt.hw_machine_type or ()):
        yield findings.doubtful(
            'PCI slots', 'Servers of machine type q35 get only the PCIe root '
            'ports that libvirt makes by itself, and each VF port needs a '
            'free one while its server moves.',
            'Set [libvirt] num_pcie_ports, to 16 for example; servers get '
            'them when they are hard rebooted.')


def libvirt(connect: Callable[[], typing.Any]) -> Iterator[findings.Finding]:
    """The hypervisor, as Nova would reach it.

    :param connect: opens a connection, which raises what libvirt raises
    """
    if CONF.libvirt.virt_type not in ('kvm', 'qemu'):
        yield findings.broken(
            'libvirt', f'[libvirt] virt_type is {CONF.libvirt.virt_type}, '
            'whose servers have no VFs.', 'Only kvm and qemu are supported.')
    try:
        connection = connect()
        found = connection.getLibVersion()
        qemu = connection.getVersion()
    except ImportError:
        yield findings.broken(
            'libvirt', 'The Python module libvirt is missing.',
            'Install libvirt-python (Debian: python3-libvirt) into the '
            'environment of nova-compute.')
        return
    except servers.libvirt_errors() as error:
        yield findings.broken(
            'libvirt', f'It cannot be reached: {error}.', servers.CURE)
        return
    for name, version, needed in (
            ('libvirt', found, libvirt_driver.MIN_LIBVIRT_VERSION),
            ('QEMU', qemu, libvirt_driver.MIN_QEMU_VERSION)):
        if version < versionutils.convert_version_to_int(needed):
            yield findings.broken(
                name, f'{_text(version)} is too old: Nova '
                f'{nova.version.version_string()} needs '
                f'{versionutils.convert_version_to_str(_int(needed))}.',
                'Upgrade it.')
        else:
            yield findings.good(name, f'{_text(version)}.')


def _asked(subject: str, fault: Callable[[], str | None],
           text: str) -> findings.Finding:
    found = fault()
    if found:
        return findings.broken(subject, findings.sentence(found))
    return findings.good(subject, text)


def _int(version: tuple[int, ...]) -> int:
    return versionutils.convert_version_to_int(version)


def _text(version: int) -> str:
    return versionutils.convert_version_to_str(version)
