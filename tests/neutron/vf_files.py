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

"""What a kernel knows of a PF and its VFs, in files.

They lie below one folder as in ``/sys/class/net``, as far as Neutron's SR-IOV
agent looks there; what it would ask netlink is in files of its own beside:

``PF/device/virtfnN``
    a link to the folder of the PCI address of VF N, which has a folder ``net``
    as long as the VF is the host's.
``PF/device/sriov_numvfs``
    how many there are.
``PF/vf/N/ATTRIBUTE``
    what ``ip link show PF`` prints of VF N: ``mac``, ``link_state``, ...
"""

import os
import pathlib

NO_MAC = '00:00:00:00:00:00'

# Of include/uapi/linux/if_link.h: it follows the PF.
_LINK_STATE_AUTO = '0'


class VfFiles:
    """All PFs of a cloud, whose names differ from host to host."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    # -- the kernel's part -------------------------------------------------

    def add_pf(self, pf: str, addresses: list[str]) -> None:
        """A PF whose VFs have these PCI addresses; they are the host's."""
        device = self.folder / pf / 'device'
        device.mkdir(parents=True)
        for number, address in enumerate(addresses):
            (self.folder / pf / address / 'net').mkdir(parents=True)
            (device / f'virtfn{number}').symlink_to(
                pathlib.Path('..', address))
            (self.folder / pf / 'vf' / str(number)).mkdir(parents=True)
            self.write(pf, number, 'mac', NO_MAC)
            self.write(pf, number, 'link_state', _LINK_STATE_AUTO)
        (device / 'sriov_numvfs').write_text(f'{len(addresses)}\n')

    def give(self, pf: str, address: str, mac: str) -> None:
        """A VF gets a MAC and goes to a guest."""
        self.write(pf, self._number(pf, address), 'mac', mac)
        (self.folder / pf / address / 'net').rmdir()

    def take_back(self, pf: str, address: str) -> None:
        """A VF of a guest is the host's again."""
        (self.folder / pf / address / 'net').mkdir()
        self.write(pf, self._number(pf, address), 'mac', NO_MAC)

    def read(self, pf: str, address: str) -> dict[str, str]:
        """What is set on a VF."""
        return self._attributes(
            self.folder / pf / 'vf' / str(self._number(pf, address)))

    def _number(self, pf: str, address: str) -> int:
        device = self.folder / pf / 'device'
        return next(int(link.name.removeprefix('virtfn'))
                    for link in device.glob('virtfn*')
                    if os.path.basename(os.readlink(link)) == address)

    # -- the agent's part --------------------------------------------------

    def read_all(self, pf: str) -> dict[int, dict[str, str]]:
        """What is set on the VFs of a PF, by their numbers."""
        return {int(folder.name): self._attributes(folder)
                for folder in (self.folder / pf / 'vf').iterdir()}

    def write(self, pf: str, number: int, attribute: str,
              value: str) -> None:
        """Set an attribute of a VF, in one step for those who read it."""
        path = self.folder / pf / 'vf' / str(number) / attribute
        # Not in the folder of the attributes, which somebody may be reading.
        fresh = self.folder / pf / f'{number}.{os.getpid()}.{attribute}'
        fresh.write_text(value)
        fresh.rename(path)

    @staticmethod
    def _attributes(folder: pathlib.Path) -> dict[str, str]:
        return {file.name: file.read_text() for file in folder.iterdir()}
