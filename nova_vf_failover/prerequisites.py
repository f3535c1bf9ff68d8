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

"""What has to be true before this package may take part in a move.

nova-compute asks when it starts and refuses to go on; an operator asks
beforehand with ``nova-vf-failover check``. Each answer is a sentence that
names what is wrong and what to do, or None.
"""

from __future__ import annotations

import nova.version
from oslo_config import cfg

from nova_vf_failover import conf
from nova_vf_failover import registry

CONF = cfg.CONF

# The releases whose live migration was read and whose functional tests ran
# with this plugin: 2024.1 to 2026.2.
OLDEST_NOVA = 29
NEWEST_NOVA = 34


def option_fault() -> str | None:
    """The first option with a value that it cannot have."""
    for option in conf.ALL_OPTS:
        try:
            getattr(CONF.vf_failover, option.dest)
        except ValueError as error:
            return (f'[vf_failover] {option.name} in nova.conf has a wrong '
                    f'value: {error}')
    return None


def nova_fault() -> str | None:
    """A Nova that nobody has tried."""
    version = nova.version.version_string()
    if OLDEST_NOVA <= int(version.split('.')[0]) <= NEWEST_NOVA:
        return None
    return (f'works with Nova {OLDEST_NOVA} to {NEWEST_NOVA} and this is Nova '
            f'{version}; install a release of the plugin that knows it, or '
            'set [vf_failover] enabled = false.')


def signature_fault() -> str | None:
    """A Nova of which something that this package extends has changed."""
    # Not at the top: a host on which the plugin is off must not depend on any
    # of this.
    from nova.virt.libvirt import driver as libvirt_driver

    from nova_vf_failover import driver
    from nova_vf_failover import signatures

    version = nova.version.version_string()
    strangers = signatures.changed(driver.FailoverLibvirtDriver,
                                   libvirt_driver.LibvirtDriver)
    if strangers:
        return (f'Nova {version} has changed {", ".join(strangers)} of its '
                'libvirt driver, which this plugin overrides; set '
                '[vf_failover] enabled = false.')
    strangers = signatures.unknown()
    if strangers:
        return (f'Nova {version} has changed {", ".join(strangers)}, which '
                'this plugin calls; set [vf_failover] enabled = false.')
    return None


def driver_fault() -> str | None:
    """The first driver of ours that cannot be used."""
    for kind in registry.KINDS:
        fault = kind.fault()
        if fault:
            return fault
    return None


def compute_driver_fault() -> str | None:
    """A compute driver that is not the one that this package extends."""
    if CONF.compute_driver == 'libvirt.LibvirtDriver':
        return None
    return ('needs compute_driver = libvirt.LibvirtDriver and it is '
            f'{CONF.compute_driver}; set that, or [vf_failover] enabled = '
            'false.')
