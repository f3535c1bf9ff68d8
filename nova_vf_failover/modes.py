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

"""What a server's flavor or image asks for: swap it, swap it or refuse, don't.

Nova's ``ImageMeta`` knows a fixed list of properties and drops the others
(nova/objects/image_meta.py); the server's ``system_metadata`` has all of them
as they were when it was built, with a prefix (nova/utils.py,
``get_system_metadata_from_image``).
"""

from __future__ import annotations

import enum

from nova import objects
from nova import utils
from oslo_config import cfg
from oslo_log import log as logging

LOG = logging.getLogger(__name__)
CONF = cfg.CONF

EXTRA_SPEC = 'vf_failover:mode'
IMAGE_PROPERTY = 'vf_failover_mode'


class Mode(enum.Enum):
    """How a server with VFs is live migrated."""

    #: with the VFs swapped, or not at all
    REQUIRED = 'required'
    #: with the VFs swapped if that can be done, else as Nova does by itself
    AUTO = 'auto'
    #: as Nova does by itself
    OFF = 'off'


# What [vf_failover] policy says of a server that asks for nothing.
_OF_POLICY = {'required': Mode.REQUIRED, 'native': Mode.AUTO}


def of(instance: objects.Instance) -> Mode:
    """The mode of a server: its flavor's, its image's or this host's."""
    return chosen(instance) or _OF_POLICY[CONF.vf_failover.policy]


def chosen(instance: objects.Instance) -> Mode | None:
    """What the flavor asks for, or else the image, or None.

    The operator makes flavors, and anybody may upload an image: so the flavor
    comes first. Nobody has looked at the value of an image's property before;
    one that is no mode is not there.
    """
    for place, value in (
            (f'flavor extra spec {EXTRA_SPEC}',
             instance.flavor.extra_specs.get(EXTRA_SPEC)),
            (f'image property {IMAGE_PROPERTY}',
             instance.system_metadata.get(
                 utils.SM_IMAGE_PROP_PREFIX + IMAGE_PROPERTY))):
        if value is None:
            continue
        try:
            return Mode(value.strip().lower())
        except ValueError:
            LOG.warning('The %(place)s of the server is %(value)r, which is '
                        'none of %(known)s; it does not count',
                        {'place': place, 'value': value,
                         'known': ', '.join(mode.value for mode in Mode)},
                        instance=instance)
    return None
