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

"""Which of its NICs each port stands on."""

import typing

from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import snapshot


def of(kept: snapshot.Snapshot, nics: links.Links,
       report: intents.Report) -> typing.List[intents.Document]:
    """Of each port that the agent has heard of.

    :param report: about the last intent
    """
    found = []
    for mac in sorted(kept.macs):
        primary, standby = nics.pair(mac)
        on = None
        if mac in kept.away | kept.alone or standby and not primary:
            on = intents.STANDBY
        elif primary:
            on = intents.PRIMARY
        found.append({
            'mac': mac, 'on': on, 'since': kept.since.get(mac),
            'armed': report.state == intents.ARMED and mac in report.ports,
            'primary': primary.name if primary else None,
            'standby': standby.name if standby else None})
    return found
