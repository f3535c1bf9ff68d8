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

"""Guests that hypothesis thinks of are moved there and back.

Run with tox -e agent-property -- [--examples 500] [--seed N].
"""

import argparse
import random
import sys
import time

import hypothesis

from tests.guest.generated import campaign


def main():
    parser = argparse.ArgumentParser(prog='agent-property',
                                     description=__doc__)
    parser.add_argument('--examples', type=int, default=500)
    parser.add_argument('--seed', type=int,
                        help='of a run that is to be repeated')
    arguments = parser.parse_args()
    seed = arguments.seed
    if seed is None:
        seed = random.SystemRandom().randrange(2 ** 32)
    tried = campaign.Campaign()
    began = time.monotonic()
    try:
        # What is found is printed with a blob that reproduces it.
        tried.run(arguments.examples, hypothesis.settings(database=None),
                  seed)
    finally:
        tried.close()
        taken, refused = tried.lines[0] - tried.lines[1], tried.lines[1]
        print(f'seed {seed}: {tried.tried} examples in '
              f'{time.monotonic() - began:.0f} s; {tried.moved} were moved '
              f'there and back, {sum(tried.refusals.values())} were refused '
              f'as documented; of {tried.lines[0]} settings the kernel took '
              f'{taken} and refused {refused}; the guest was rebuilt '
              f'{tried.rebuilt} times')
        for words, times in tried.refusals.most_common():
            print(f'  refused {times} times: ... {words} ...')


if __name__ == '__main__':
    sys.exit(main())
