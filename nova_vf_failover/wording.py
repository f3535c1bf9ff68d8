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

"""What others say, as it can be passed on: errors, and words of a guest."""


def legible(text: str, longest: int) -> str:
    """The beginning of a text, in one line.

    Neither a log nor XML is to have control characters; and errors may quote
    whole documents.
    """
    return ''.join(char if char.isprintable() else ' '
                   for char in text[:longest])
