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

"""The JSON schemas of the documentation."""

import functools
import json
import pathlib

import jsonschema

_FOLDER = pathlib.Path(__file__).parents[1] / 'doc' / 'source' / 'schemas'


@functools.cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    """Of an ``intent``, a ``report`` or a ``notification``."""
    schema = json.loads((_FOLDER / f'{name}.json').read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)
