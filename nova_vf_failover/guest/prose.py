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

"""Reports for those who read them themselves."""

import time
import typing

from nova_vf_failover.guest import intent as intents


def of(report: intents.Document) -> str:
    """A report as some lines of text."""
    lines = [report['state'] + (
        ' (generation %d, to %s)' % (report['generation'], report['use'])
        if report['use'] else '')]
    if report['message'] and not any(
            port.get('obstacles') for port in report['ports']):
        lines.append('  ' + report['message'])
    for port in report['ports']:
        lines += _port(port)
    if 'agent' in report:
        lines.append('agent %s, hears %s' % (
            report['agent'], ' and '.join(report['channels'])))
    return '\n'.join(lines + [
        _place(place) for place in report.get('places', [])])


def _port(port: intents.Document) -> typing.List[str]:
    return ['%s %s: primary %s%s, standby %s' % (
        port['id'], port['mac'], port['primary'] or 'missing',
        ' (%s)' % port['driver'] if port.get('driver') else '',
        port['standby'] or 'missing')] + ['  ' + line for line in (
            _numbers(port)
            + ['in the way: ' + sentence
               for sentence in port.get('obstacles', [])]
            + ['note: ' + sentence for sentence in port.get('warnings', [])]
            + ['%s: %.1f ms' % (step['name'],
                                (step['end'] - step['start']) * 1e3)
               for step in port.get('steps', [])])]


def _numbers(port: intents.Document) -> typing.List[str]:
    if 'routes' not in port:
        return []
    tables = ', '.join('%d in table %s' % (count, table) for table, count
                       in sorted(port['routes']['tables'].items(),
                                 key=lambda item: int(item[0])))
    return ['%d IPv4 and %d IPv6 addresses, %d neighbours, %d groups, %d '
            'rules' % (port['addresses']['ipv4'], port['addresses']['ipv6'],
                       port['neighbours'], port['groups'], port['rules']),
            '%d routes%s' % (port['routes']['total'],
                             ' (%s)' % tables if tables else '')]


def _place(place: intents.Document) -> str:
    since = ' since ' + time.strftime(
        '%Y-%m-%dT%H:%M:%SZ', time.gmtime(place['since'])) if (
            place['since']) else ''
    return '%s is on %s%s%s' % (
        place['mac'], 'its ' + place['on'] if place['on'] else 'no NIC', since,
        ', waits for its VF' if place['armed'] else '')
