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

"""Guests are told by a program of the operator's."""

from collections.abc import Iterable
import os
import subprocess

from nova_vf_failover.channels import base
from nova_vf_failover.channels import intent as intents
from nova_vf_failover import domain
from nova_vf_failover import exception
from oslo_config import cfg

CONF = cfg.CONF

# Seconds that the way to the guest and back may take.
WAY_TIMEOUT = 10

GROUP = cfg.OptGroup('vf_failover_command')
OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        'program',
        help="""
A program that is called with the server's UUID and then with what
vf-failover-agent is to be called with in that guest. What it is given on its
standard input is for the agent, and it prints what the agent prints.
"""),
]


def list_opts() -> Iterable[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    return [(GROUP, OPTS)]


CONF.register_group(GROUP)
CONF.register_opts(OPTS, group=GROUP)


class CommandChannel(base.Channel):
    """Has a program of the operator's call the agent in a guest."""

    cure = ('The image needs vf-failover-agent, and [vf_failover_command] '
            'program a way to it.')

    @classmethod
    def missing_requirement(cls) -> str | None:
        program = CONF.vf_failover_command.program
        if not program:
            return '[vf_failover_command] program is not set.'
        if not os.access(program, os.X_OK):
            return f'{program} is no program that can be run.'
        return None

    def check(self, guest: domain.Domain,
              intent: intents.Intent) -> intents.Report:
        return self._call(guest, intent, CONF.vf_failover.check_timeout,
                          'check')

    def tell(self, guest: domain.Domain,
             intent: intents.Intent) -> intents.Report:
        return self._call(guest, intent, CONF.vf_failover.check_timeout,
                          'apply')

    def ask(self, guest: domain.Domain, intent: intents.Intent,
            timeout: float) -> intents.Report:
        return self._call(guest, intent, timeout + WAY_TIMEOUT,
                          'apply', '--wait', str(timeout))

    def _call(self, guest: domain.Domain, intent: intents.Intent,
              timeout: float, *arguments: str) -> intents.Report:
        program = CONF.vf_failover_command.program
        try:
            done = subprocess.run(
                [program, guest.uuid, *arguments], timeout=timeout,
                input=intent.to_json().encode(), capture_output=True)
        except subprocess.TimeoutExpired as error:
            raise exception.ChannelError(
                f'{program} has not answered within {timeout:g} s'
            ) from error
        except OSError as error:
            raise exception.ChannelError(
                f'{program} cannot be run: {error}') from error
        if not done.stdout:
            raise exception.ChannelError(
                f'{program} ended with exit code {done.returncode} and said '
                f'nothing; on its standard error: {done.stderr[-300:]!r}')
        report = intents.Report.parse(done.stdout)
        # Nothing that a guest says is taken for an answer to another question.
        if report.generation not in (0, intent.generation):
            raise exception.ChannelError(
                f'the agent answered to generation {report.generation} and '
                f'was asked about {intent.generation}')
        return report
