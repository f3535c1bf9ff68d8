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

"""``nova-vf-failover check``: everything that has to be true on this host.

Built on oslo.upgradecheck, so its codes and its JSON are those of
``nova-status upgrade check``: 0 where all is well, 1 for warnings, 2 for
errors, 255 where the command itself failed.
"""

from __future__ import annotations

from collections.abc import Iterator
import textwrap
import typing

from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from nova_vf_failover.channels import base as channels
from nova_vf_failover.cmd import findings
from nova_vf_failover.cmd import guests
from nova_vf_failover.cmd import hardware
from nova_vf_failover.cmd import rights
from nova_vf_failover.cmd import servers
from nova_vf_failover.cmd import software
from nova_vf_failover import prerequisites
from nova_vf_failover import registry

CONF = cfg.CONF

_WORDS = {findings.Code.SUCCESS: 'OK', findings.Code.WARNING: 'warning',
          findings.Code.FAILURE: 'error'}


class HostChecks(upgradecheck.UpgradeCommands):
    """Looks at this host, and prints a line for each thing that it saw.

    :param ask_guests: whether the guests of running servers are asked
    """

    display_title = 'nova-vf-failover check'

    def __init__(self, sysfs: hardware.Sysfs | None = None,
                 ask_guests: bool = True) -> None:
        super().__init__()
        self._sysfs = sysfs
        self._ask_guests = ask_guests

    def check(self) -> upgradecheck.Code:
        """Look and print.

        :returns: the worst that was seen, which is the exit code
        """
        found = list(self._find())
        self._upgrade_checks = tuple(
            (subject, (_known, {'result': result}))
            for subject, result in found)
        if CONF.command.json:
            upgradecheck.CONF = CONF
            return super().check()
        width = max(len(subject) for subject, _ in found)
        for subject, result in found:
            print(f'{_WORDS[result.code]:8} {subject:{width}}  '
                  + textwrap.shorten(result.details or '', 10000))
        return max(result.code for _, result in found)

    def _find(self) -> Iterator[findings.Finding]:
        yield from software.nova_versions()
        yield from software.options()
        yield from software.libvirt(servers.connect)
        if prerequisites.option_fault():
            # The rest goes by options that cannot be read.
            return
        yield from rights.check()
        # A driver that cannot be used has been told of with the options.
        if not registry.STANDBY.fault():
            yield from hardware.check(registry.STANDBY.make(), self._sysfs)
        if self._ask_guests and not registry.CHANNEL.fault():
            yield from self._find_guests(registry.CHANNEL.make())

    def _find_guests(
        self, channel: channels.Channel,
    ) -> Iterator[findings.Finding]:
        try:
            domains = servers.domains()
        except servers.Unreachable:
            # The check of libvirt has said so.
            return
        yield from guests.check(domains, channel)


def _known(_checks: typing.Any,
           result: upgradecheck.Result) -> upgradecheck.Result:
    return result
