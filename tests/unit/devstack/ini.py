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

"""What devstack's iniset, iniget and iniadd do to a file, a line at a time.

A stand-in for inc/ini-config; a value given as several words is several.
"""

import pathlib
import sys

Lines = list[str]


def _section(lines: Lines, name: str) -> slice:
    """Where the lines of a section are; one that is missing is added."""
    header = f'[{name}]'
    if header not in lines:
        lines.append(header)
    first = lines.index(header) + 1
    length = next((number for number, line in enumerate(lines[first:])
                   if line.startswith('[')), len(lines) - first)
    return slice(first, first + length)


def _is(line: str, option: str) -> bool:
    return line.partition('=')[0].strip() == option


def get(lines: Lines, section: str, option: str) -> str:
    return '\n'.join(line.partition('=')[2].strip()
                     for line in lines[_section(lines, section)]
                     if _is(line, option))


def put(lines: Lines, section: str, option: str, *values: str) -> None:
    where = _section(lines, section)
    lines[where] = [
        *(line for line in lines[where] if not _is(line, option)),
        *(f'{option} = {value}' for value in values)]


def add(lines: Lines, section: str, option: str, *values: str) -> None:
    put(lines, section, option, *get(lines, section, option).split(), *values)


def main(command: str, name: str, *arguments: str) -> None:
    file = pathlib.Path(name)
    lines = file.read_text().splitlines()
    if command == 'iniget':
        print(get(lines, *arguments))
        return
    {'iniset': put, 'iniadd': add}[command](lines, *arguments)
    file.write_text('\n'.join([*lines, '']))


if __name__ == '__main__':
    main(*sys.argv[1:])
