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

"""What Nova's API is to know about the extra specs of this package.

Found in the namespace ``nova.api.extra_spec_validators``, where nova-api runs.
Without it a flavor may say anything there; with it a wrong value is answered
with 400 (microversion 2.86).
"""

from nova.api.validation.extra_specs import base

# Written out here and not taken from the module with the modes, which
# nova-api does not need.
EXTRA_SPEC_VALIDATORS = [
    base.ExtraSpecValidator(
        name='vf_failover:mode',
        description=(
            'How servers with SR-IOV virtual functions are live migrated by '
            'nova_vf_failover: swapped for virtio NICs or refused '
            '(required), swapped if that can be done (auto), or as Nova does '
            'by itself (off).'
        ),
        value={
            'type': str,
            'enum': ['required', 'auto', 'off'],
        },
    ),
]


def register() -> list[base.ExtraSpecValidator]:
    """Called by Nova when its API loads the validators."""
    return EXTRA_SPEC_VALIDATORS
