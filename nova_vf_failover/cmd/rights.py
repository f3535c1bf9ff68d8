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

"""Checks whether nova-compute may start what it needs privileges for."""

from __future__ import annotations

from collections.abc import Iterator
import configparser
import os
import shlex
import shutil

import nova.privsep
from nova import utils
from oslo_config import cfg
from oslo_privsep import priv_context
from oslo_rootwrap import wrapper

from nova_vf_failover.cmd import findings
from nova_vf_failover import privileges

CONF = cfg.CONF

_SUBJECT = 'Privileges'
# Where oslo.privsep would put its socket.
_SOCKET = '/tmp/tmpcheck/privsep.sock'  # nosec B108: nothing is made there


def check() -> Iterator[findings.Finding]:
    """Ask rootwrap's own rules about the helpers of our contexts."""
    needed = [('to tidy up links', nova.privsep.sys_admin_pctxt)]
    if CONF.vf_failover.channel == 'metadata':
        needed.append(('to hear guests on their standby NICs',
                       privileges.net_raw))
    priv_context.init(root_helper=shlex.split(utils.get_root_helper()))
    for purpose, context in needed:
        fault = _fault(context.helper_command(_SOCKET))
        if fault:
            yield findings.broken(
                _SUBJECT, f'nova-compute cannot get them {purpose}: '
                f'{fault[0]}', fault[1])
        else:
            yield findings.good(
                _SUBJECT, f'nova-compute can get them {purpose}.')


def _fault(command: list[str]) -> tuple[str, str] | None:
    """Why a helper cannot be started, and the cure."""
    words = list(command)
    if words[0] == 'sudo':
        if not shutil.which('sudo'):
            return ('there is no sudo.', 'Install sudo, or set '
                    'helper_command of the privsep contexts.')
        words = words[1:]
    program = os.path.basename(words[0])
    if program == 'nova-rootwrap' and len(words) > 2:
        return _rootwrap_fault(words[1], words[2:])
    if not shutil.which(words[0]):
        return (f'there is no program {words[0]}.', 'Install it, or correct '
                'helper_command of the privsep contexts in nova.conf.')
    return None


def _rootwrap_fault(path: str, words: list[str]) -> tuple[str, str] | None:
    parser = configparser.RawConfigParser()
    try:
        if not parser.read(path):
            return (f'{path} cannot be read.', 'Install it with Nova, or '
                    'correct rootwrap_config in nova.conf.')
        rules = wrapper.RootwrapConfig(parser)
        filters = wrapper.load_filters(rules.filters_path)
        wrapper.match_filter(filters, words, rules.exec_dirs)
    except (configparser.Error, ValueError) as error:
        return f'{path} is wrong: {error}.', 'Correct it.'
    except wrapper.NoFilterMatched:
        # Not privsep-helper, for which oslo.rootwrap has a filter of its own
        # since 5.0.0 (load_filters in wrapper.py): an operator's program.
        return (f'no filter in {", ".join(rules.filters_path)} lets it start '
                f'"{shlex.join(words)}".',
                'Write a filter for it, or have helper_command of this '
                'context start privsep-helper, which rootwrap lets in by '
                'itself.')
    except wrapper.FilterMatchNotExecutable:
        return (f'{words[0]} is in none of the exec_dirs of {path}: '
                f'{", ".join(rules.exec_dirs)}.',
                'Add the directory that it is installed in.')
    return None
