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

"""``libvirtError`` with the codes of libvirt's virterror.h.

Nova's fixture has some codes of its own invention (VIR_ERR_INTERNAL_ERROR is
950 there and 1 in libvirt); where Nova compares codes the fixture's value is
the one that counts, since Nova sees the fixture as its libvirt module.
"""

from nova.tests.fixtures import libvirt as fakelibvirt

libvirtError = fakelibvirt.libvirtError

# include/libvirt/virterror.h; the fixture does not have them.
VIR_ERR_OPERATION_ABORTED = 78
VIR_ERR_AGENT_UNSYNCED = 97
VIR_ERR_AGENT_COMMAND_TIMEOUT = 112
VIR_ERR_AGENT_COMMAND_FAILED = 113


def error(code: int, text: str) -> Exception:
    """An error with the text that libvirt gives."""
    return fakelibvirt.make_libvirtError(
        libvirtError, text, error_code=code, error_message=text,
        error_domain=fakelibvirt.VIR_FROM_QEMU)


def internal(text: str) -> Exception:
    return error(fakelibvirt.VIR_ERR_INTERNAL_ERROR,
                 f'internal error: {text}')


def invalid(text: str) -> Exception:
    return error(fakelibvirt.VIR_ERR_OPERATION_INVALID,
                 f'Requested operation is not valid: {text}')


def unsupported(text: str) -> Exception:
    return error(fakelibvirt.VIR_ERR_CONFIG_UNSUPPORTED,
                 f'unsupported configuration: {text}')


def failed(text: str) -> Exception:
    return error(fakelibvirt.VIR_ERR_OPERATION_FAILED,
                 f'operation failed: {text}')


def missing(text: str) -> Exception:
    return error(fakelibvirt.VIR_ERR_DEVICE_MISSING,
                 f'device not found: {text}')


def system(text: str) -> Exception:
    return error(fakelibvirt.VIR_ERR_SYSTEM_ERROR, text)


def no_device(address: str) -> Exception:
    """virPCIDeviceNew: the PCI device is not on this host."""
    return internal(
        f'Device {address} not found: could not access '
        f'/sys/bus/pci/devices/{address}/config: No such file or directory')


def in_use(address: str, guest: str) -> Exception:
    """virHostdevPreparePCIDevices: another domain has the PCI device."""
    return invalid(f'PCI device {address} is in use by driver QEMU, domain '
                   f'{guest}')


def busy() -> Exception:
    """virDomainObjBeginJobInternal: a job such as a migration goes on.

    libvirt says so once it has waited for half a minute.
    """
    return error(fakelibvirt.VIR_ERR_OPERATION_TIMEOUT,
                 'Timed out during operation: cannot acquire state change '
                 'lock')


def aborted(text: str) -> Exception:
    return error(VIR_ERR_OPERATION_ABORTED, f'operation aborted: {text}')
