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

"""Checks of the PFs and VFs that [pci] device_spec gives to servers."""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
import pathlib
import platform
import re
import typing

from nova import exception as nova_exception
from nova.pci import request
from nova.pci import whitelist
from oslo_config import cfg

from nova_vf_failover.cmd import findings
from nova_vf_failover import exception
from nova_vf_failover.standby import base as standbys

CONF = cfg.CONF

# The drivers of which doc/source/receive-filters.rst says what they do with
# a MAC on the PF and on a VF.
_READ = frozenset({'bnxt_en', 'i40e', 'ice', 'igb', 'ixgbe', 'mlx5_core'})
# Before commit 5c8e3c7ff3e7 ice refuses a MAC that another function has. It
# is in Linux 5.19, and of what was maintained then in 5.18.16 alone.
_ICE_SHARES_SINCE = (5, 18, 16)
# The same of Intel's own driver, which is built for whatever kernel. Its
# versions are of numbers alone; those of distributions' drivers are not.
_INTELS_ICE_SHARES_SINCE = (1, 6, 7)
_INTELS = re.compile(r'(\d+)\.(\d+)\.(\d+)[\d.]*(_probes)?')
# RHEL and what is made of it: old by the number, with drivers of newer ones.
_BACKPORTS = re.compile(r'\.el\d')
# The name that a port has on its switch, and that of the port of a VF
# (net/devlink/port.c, __devlink_port_phys_port_name_get).
_PORT = 'phys_port_name'
_REPRESENTOR = re.compile(r'([cp]\d+)?pf\d+vf\d+')
_TRY = ('Live migrate a test server both ways, and look at what "show" says '
        'of it.')


@dataclasses.dataclass(frozen=True)
class VirtualFunction:
    """A VF as sysfs has it.

    :ivar pf: the name of the PF's interface; empty where it has none
    :ivar isolated: whether the IOMMU keeps it apart, so that it can be a
        guest's
    """

    address: str
    parent: str
    vendor: str
    product: str
    pf: str
    driver: str
    isolated: bool


class Sysfs:
    """The PCI functions of this host.

    :param root: where sysfs is mounted
    :param modules: where the modules of the kernels are
    """

    def __init__(self, root: str | pathlib.Path = '/sys',
                 modules: str | pathlib.Path = '/lib/modules') -> None:
        self._root = pathlib.Path(root)
        self._modules = pathlib.Path(modules)

    def vfs(self) -> list[VirtualFunction]:
        """All VFs, in the order of their addresses."""
        devices = self._root / 'bus' / 'pci' / 'devices'
        return [self._vf(path) for path in sorted(devices.glob('*'))
                if (path / 'physfn').exists()]

    def switched(self, pf: str) -> bool:
        """Whether the NIC switches by itself, with a port for each VF.

        phys_switch_id alone does not tell: ice, i40e and mlx5 answer it in
        the mode without such ports as well (``ice_devlink_create_pf_port``).
        The mode itself is only told to who may change it (net/devlink,
        ``GENL_ADMIN_PERM``).
        """
        switch = self._attribute(pf, 'phys_switch_id')
        return bool(switch) and any(
            _REPRESENTOR.fullmatch(self._attribute(path.name, _PORT))
            and self._attribute(path.name, 'phys_switch_id') == switch
            for path in (self._root / 'class' / 'net').glob('*'))

    def _attribute(self, link: str, name: str) -> str:
        """What a link says of itself; empty if its driver says nothing."""
        try:
            return (self._root / 'class' / 'net' / link / name
                    ).read_text().strip()
        except OSError:
            return ''

    def module_version(self, name: str) -> str:
        """What a loaded module calls its version; empty without one."""
        try:
            return (self._root / 'module' / name / 'version'
                    ).read_text().strip()
        except OSError:
            return ''

    def has_driver(self, name: str) -> bool:
        """Whether this kernel has a driver for PCI, loaded or not."""
        return ((self._root / 'bus' / 'pci' / 'drivers' / name).exists()
                or self._has_module(name))

    def has_vhost_net(self) -> bool:
        """Whether this kernel has it, loaded or not."""
        return ((self._root / 'class' / 'misc' / 'vhost-net').exists()
                or self._has_module('vhost_net'))

    def _has_module(self, name: str) -> bool:
        for listing in ('modules.dep', 'modules.builtin'):
            path = self._modules / platform.release() / listing
            if path.exists() and f'/{name}.ko' in path.read_text():
                return True
        return False

    def _vf(self, path: pathlib.Path) -> VirtualFunction:
        parent = (path / 'physfn').resolve()
        names = sorted(entry.name for entry in (parent / 'net').glob('*'))
        driver = parent / 'driver'
        return VirtualFunction(
            address=path.name, parent=parent.name,
            vendor=_id(path / 'vendor'), product=_id(path / 'device'),
            pf=names[0] if names else '',
            driver=driver.resolve().name if driver.exists() else '',
            isolated=(path / 'iommu_group').exists())


def _id(path: pathlib.Path) -> str:
    return path.read_text().strip().removeprefix('0x')


def check(standby: standbys.Standby,
          sysfs: Sysfs | None = None) -> Iterator[findings.Finding]:
    """Look at every PF with VFs that Nova may give to Neutron's ports."""
    sysfs = sysfs or Sysfs()
    try:
        offered = _offered(sysfs.vfs())
    except nova_exception.NovaException as error:
        yield findings.broken(
            'VFs', f'[pci] device_spec cannot be understood: {error}',
            'Correct it.')
        return
    if not offered:
        yield findings.doubtful(
            'VFs', 'No VF of this host is in [pci] device_spec with a '
            'physical_network, so there is nothing to swap.',
            'Make VFs (sriov_numvfs) and name them there, or do without this '
            'plugin on this host.')
        return
    by_parent: dict[str, list[VirtualFunction]] = {}
    for vf in offered:
        by_parent.setdefault(vf.parent, []).append(vf)
    for vfs in by_parent.values():
        yield from _check_pf(vfs, standby, sysfs)
    limit = standby.limit()
    if limit:
        yield findings.doubtful('VLANs', *limit)
    yield from _check_vfio(sysfs)
    yield from _check_vhost(sysfs)


def _offered(vfs: list[VirtualFunction]) -> list[VirtualFunction]:
    """Those that ports of Neutron's networks may get."""
    specs = whitelist.Whitelist(CONF.pci.device_spec).specs
    offered = []
    for vf in vfs:
        device = {'address': vf.address, 'parent_addr': vf.parent,
                  'vendor_id': vf.vendor, 'product_id': vf.product}
        # The first that matches, which Whitelist.device_assignable() does not
        # tell before Nova 31.
        spec = next((each for each in specs if each.match(device)), None)
        if spec and request.PCI_NET_TAG in spec.get_tags():
            offered.append(vf)
    return offered


def _check_pf(vfs: list[VirtualFunction], standby: standbys.Standby,
              sysfs: Sysfs) -> Iterator[findings.Finding]:
    first = vfs[0]
    subject = f'PF {first.pf or first.parent}'
    try:
        standby.check(_vif(first))
    except exception.CannotSwap as refusal:
        yield findings.broken(subject, findings.sentence(refusal.reason),
                              refusal.cure)
    else:
        yield findings.good(subject, 'It is up and free for standby NICs; '
                            f'{len(vfs)} of its VFs are for servers.')
        missed = standby.out_of_reach(_vif(first))
        if missed:
            yield findings.doubtful(subject, *missed)
    if sysfs.switched(first.pf):
        yield findings.doubtful(
            subject, 'It is in switchdev mode: its ports are left to Nova.',
            f'For a swap: devlink dev eswitch set pci/{first.parent} mode '
            'legacy.')
    if first.driver == 'ice':
        yield _check_ice(subject, sysfs.module_version('ice'))
    else:
        yield _check_driver(subject, first.driver)
    yield from _check_isolation(subject, vfs)


def _check_driver(subject: str, driver: str) -> findings.Finding:
    if driver in _READ:
        return findings.good(subject, f'Its driver {driver} is known.')
    return findings.doubtful(
        subject, f'Nobody has read what {driver or "its driver"} does '
        'with one MAC on the PF and on a VF.', _TRY)


def _check_ice(subject: str, version: str) -> findings.Finding:
    """The one driver of which it depends on its age.

    :param version: of the module; the one of a newer Linux has none
    """
    release = platform.release()
    intels = _INTELS.fullmatch(version)
    if intels:
        name = f"Intel's own ice {version}"
        shares = _numbers(intels) >= _INTELS_ICE_SHARES_SINCE
    else:
        name = f'ice of Linux {release}'
        shares = _kernel() >= _ICE_SHARES_SINCE
    if shares:
        return findings.good(subject, 'Its driver ice is known.')
    if not intels and _BACKPORTS.search(release):
        return findings.doubtful(
            subject, f'{name} may give a MAC to one function only, so that a '
            'failback could not attach the VF: that depends on what its '
            'distribution has taken over from Linux 5.19.', _TRY)
    return findings.broken(
        subject, f'{name} gives a MAC to one function only: a failback could '
        'not attach the VF.',
        "Use Linux 5.19 or newer, or Intel's own driver from 1.6.7 on.")


def _check_isolation(subject: str, vfs: list[VirtualFunction],
                     ) -> Iterator[findings.Finding]:
    without = [vf.address for vf in vfs if not vf.isolated]
    if without:
        yield findings.broken(
            subject, f'VF {without[0]}'
            + (f' and {len(without) - 1} more have' if without[1:] else ' has')
            + ' no IOMMU group, so no guest can have it.',
            'Turn the IOMMU on in the firmware (VT-d, AMD-Vi) and on the '
            'command line of the kernel (intel_iommu=on).')


def _check_vfio(sysfs: Sysfs) -> Iterator[findings.Finding]:
    """libvirt gives a VF to vfio-pci before QEMU gets it."""
    if sysfs.has_driver('vfio-pci'):
        yield findings.good('vfio-pci', 'This kernel has it.')
    else:
        yield findings.broken(
            'vfio-pci', f'Linux {platform.release()} has no driver vfio-pci, '
            'so no guest can have a VF.',
            "Install the kernel's package with all modules.")


def _check_vhost(sysfs: Sysfs) -> Iterator[findings.Finding]:
    """Without it QEMU carries frames itself, but none while it pins memory."""
    if sysfs.has_vhost_net():
        yield findings.good('vhost-net', 'This kernel has it.')
    else:
        yield findings.doubtful(
            'vhost-net', f'Linux {platform.release()} has no vhost_net: while '
            'a VF is attached, for as long as the memory of its server is '
            'pinned, a standby carries nothing.',
            "Install the kernel's package with all modules.")


def _vif(vf: VirtualFunction) -> dict[str, typing.Any]:
    """A port on this VF, as far as a standby driver asks for it."""
    return {'id': vf.address, 'profile': {'pci_slot': vf.address},
            'details': {}}


def _kernel() -> tuple[int, ...]:
    numbers = re.match(r'(\d+)\.(\d+)(?:\.(\d+))?', platform.release())
    return _numbers(numbers) if numbers else (0,)


def _numbers(version: re.Match[str]) -> tuple[int, ...]:
    """The first three groups; one that is not there is zero."""
    return tuple(int(number or 0) for number in version.groups()[:3])
