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

"""Checks whether the guest of each running server could be moved."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
import typing

from nova.virt.libvirt import guest as libvirt_guest
from oslo_config import cfg

from nova_vf_failover.channels import base as channels
from nova_vf_failover.channels import intent as intents
from nova_vf_failover.cmd import findings
from nova_vf_failover.cmd import servers
from nova_vf_failover import domain as vf_domain
from nova_vf_failover import exception

CONF = cfg.CONF

# What a guest is asked about is no intent, and changes nothing.
_QUESTION = 1


def check(listed: Iterable[typing.Any],
          channel: channels.Channel) -> Iterator[findings.Finding]:
    """Ask each running server with VFs what it would do.

    :param listed: the running ``virDomain`` of this host
    """
    domains = list(listed)
    known = {domain.UUIDString(): domain for domain in domains}
    found = servers.all_of(domains)
    if not found:
        yield findings.good('Servers', 'None with VFs runs on this host.')
    for server in found:
        subject = f'Server {server.name} ({server.uuid})'
        guest = vf_domain.Domain(
            libvirt_guest.Guest(known[server.uuid]), server.uuid, _never)
        try:
            finding = _check(subject, server, guest, channel)
            # What ends while its agent answers only looks like one without.
            runs = known[server.uuid].isActive()
        except servers.libvirt_errors() as error:
            if not servers.has_gone(error):
                raise
            # Since the domains were listed; guests answer one by one.
            continue
        if runs:
            yield finding


def _check(subject: str, server: servers.Server, guest: vf_domain.Domain,
           channel: channels.Channel) -> findings.Finding:
    if server.fault:
        return findings.broken(subject, server.fault)
    if server.state != servers.ON_VF:
        reasons = '; '.join(server.reasons.values())
        return _unfit(
            subject, f'It is {server.state}{": " if reasons else "."}'
            f'{reasons}', f'See "nova-vf-failover show {server.uuid}".')
    # A domain does not say which port a NIC is, and no id has colons.
    macs = {nic.mac.replace(':', ''): nic.mac for nic in server.nics}
    free = guest.free_slots()
    if free is not None and free < len(macs):
        return _unfit(
            subject, f'It has {free} free PCI slots and its standby NICs '
            f'need {len(macs)}.',
            'Raise [libvirt] num_pcie_ports and hard reboot the server.')
    if CONF.vf_failover.channel == 'metadata':
        # That channel writes through Nova's objects, and a guest cannot
        # answer it before it has a standby.
        return findings.good(subject, 'It cannot be asked beforehand with '
                             'channel = metadata.')
    return _ask(subject, macs, guest, channel)


def _ask(subject: str, macs: dict[str, str], guest: vf_domain.Domain,
         channel: channels.Channel) -> findings.Finding:
    intent = intents.Intent(_QUESTION, intents.Use.STANDBY,
                            CONF.vf_failover.failover_timeout, macs)
    try:
        report = channel.check(guest, intent)
    except exception.ChannelError as error:
        return _unfit(subject, 'Its guest cannot be told to change NICs: '
                      f'{error}.', channel.cure)
    if report.state is not intents.ReportState.READY:
        return _unfit(subject, 'Its guest will not change NICs: '
                      f'{report.message or report.state.value}',
                      'Mend that in the guest; "vf-failover-agent check '
                      '--all --text" there says more.')
    return findings.good(subject, f'Its agent could move {len(macs)} VF(s).')


def _unfit(subject: str, text: str, cure: str) -> findings.Finding:
    """A server that is not swapped for now."""
    if CONF.vf_failover.policy == 'required':
        return findings.broken(subject, text, cure)
    return findings.doubtful(subject, text, cure)


def _never(*arguments: typing.Any, **keywords: typing.Any) -> None:
    raise NotImplementedError('A check takes nothing out of a guest.')
