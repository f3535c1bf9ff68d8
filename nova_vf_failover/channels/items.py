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

"""An intent as items of an instance's metadata.

Nova keeps at most 255 characters in an item. The text is therefore words and
not JSON, and a port is named by its MAC alone::

    1 1764000000000 1/2 standby 30 fa163e000001 fa163e000002 ...

The words are the version of this form, the generation, which part this is of
how many, the NIC to use, the seconds that the guest may take, and the MACs
without colons. The first part is the item ``vf_failover``, the others are
``vf_failover_1``, ``vf_failover_2`` and so on. Every part has all the words
before the MACs, so that an agent that finds parts of two intents, as Nova
stores or caches them, sees it and waits for the next look.
"""

import re

from nova_vf_failover.channels import intent as intents
from nova_vf_failover import exception

VERSION = 1
NAME = 'vf_failover'

# Of a value: nova/compute/api.py, _check_metadata_properties_quota.
LONGEST_VALUE = 255

# The agent reads as many ports as that (guest/intent.py).
MOST_PORTS = 64

_NAMES = re.compile(NAME + r'(_[1-9][0-9]?)?\Z')
_OURS = re.compile(r'[0-9]+ [0-9]+ [0-9]+/[0-9]+ ')


def build(intent: intents.Intent) -> dict[str, str]:
    """The items that carry an intent.

    :raises exception.ChannelError: it has more ports than an agent reads
    """
    macs = [mac.replace(':', '').lower() for mac in intent.macs.values()]
    if len(macs) > MOST_PORTS:
        raise exception.ChannelError(
            f'the server has {len(macs)} VF ports, and an intent in its '
            f'metadata can name {MOST_PORTS}')
    groups = _groups(macs, LONGEST_VALUE - len(_head(intent, 10, 10)))
    return {
        NAME if number == 0 else f'{NAME}_{number}':
        ' '.join([_head(intent, number + 1, len(groups)), *group])
        for number, group in enumerate(groups)}


def ours(metadata: dict[str, str]) -> dict[str, str]:
    """The items of this channel in an instance's metadata."""
    return {name: value for name, value in metadata.items()
            if _NAMES.match(name)}


def foreign(metadata: dict[str, str]) -> list[str]:
    """The items that have our names and that we have not written."""
    return sorted(name for name, value in ours(metadata).items()
                  if not _OURS.match(value))


def merged(metadata: dict[str, str],
           items: dict[str, str]) -> dict[str, str]:
    """An instance's metadata with these items of ours and no other."""
    old = ours(metadata)
    return {name: value for name, value in metadata.items()
            if name not in old} | items


def _head(intent: intents.Intent, part: int, parts: int) -> str:
    return (f'{VERSION} {intent.generation} {part}/{parts} '
            f'{intent.use.value} {intent.timeout:g}')


def _groups(macs: list[str], room: int) -> list[list[str]]:
    size = room // (len(macs[0]) + 1)
    return [macs[start:start + size] for start in range(0, len(macs), size)]
